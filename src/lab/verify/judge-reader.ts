// Claims of captions in any words, split and compared by a language model. The wording of the questions is ours.
import { hash } from 'node:crypto';
import { sentencesOf } from '../curate/rules.ts';
import { isRow, textField } from '../evaluate/benchmark.ts';
import { numberOf, recoverJson } from '../rewards/json-recovery.ts';
import { askUntilReadable, type AskedEndpoint } from '../rewards/judges/endpoint-judge.ts';
import { DATA, fillPrompt } from '../rewards/judges/prompts.ts';
import { parseSpeakerVerdicts } from '../rewards/judges/replies.ts';
import { Unscored } from '../rewards/types.ts';
import { SENSES, type Claim, type ClaimReader, type Sense } from './claims.ts';
import { withoutSentences } from './words-reader.ts';

const SPLIT = `Below are the numbered sentences of a video caption. Split them into claims. A claim is one short \
statement about the video that can be checked by itself; all claims of a sentence together say what it says. For each \
claim tell what it rests on: sight, sound (music, noises, how a voice sounds), speech (words that are said or sung), \
absence (that something is not there, such as silence), or other (both senses, or neither).
Answer with a JSON array and nothing else: [{"sentence": NUMBER, "claim": "TEXT", "sense": "SENSE", "words": "THE WORDS \
THAT ARE SAID, COPIED, ONLY FOR speech"}]. ${DATA}

<<<{{mark}}
{{sentences}}
{{mark}}>>>`;

const STATED = `Below are {{count}} claims about a video, one a line, and a description of that video. For each claim, \
in order, decide whether the description states it or it follows from the description. Other wording is fine; a claim \
that the description does not mention, or that it contradicts, does not count. Answer with {{count}} words, each Yes or \
No, with spaces between, and nothing else. ${DATA}

<<<{{mark}}
{{claims}}

Description:
{{caption}}
{{mark}}>>>`;

const REWRITE = `Below are {{count}} sentences of a video caption, each with claims that it must no longer make. \
Rewrite each sentence so that it does not make them, and change nothing else. Write an empty string where nothing would \
be left. Answer with a JSON array of {{count}} strings and nothing else. ${DATA}

<<<{{mark}}
{{sentences}}
{{mark}}>>>`;

const PROMPT_HASH = hash('sha256', JSON.stringify([SPLIT, STATED, REWRITE]));

export function judgeReader(endpoint: AskedEndpoint): ClaimReader {
  return {
    describe: () => ({ kind: 'judge', model: endpoint.model, promptHash: PROMPT_HASH }),
    claims: async (caption, signal) => {
      const sentences = sentencesOf(caption);
      if (sentences.length === 0) return [];
      const numbered = sentences.map((text, index) => `${index + 1}. ${text}`).join('\n');
      const question = fillPrompt(SPLIT, { sentences: numbered });
      return askUntilReadable(endpoint, question, (reply) => parseClaims(reply, sentences.length), signal);
    },
    stated: async (claims, other, signal) => {
      if (other.trim() === '') return claims.map(() => false);
      const groups = Array.from({ length: Math.ceil(claims.length / AT_ONCE) }, (_, group) =>
        claims.slice(group * AT_ONCE, (group + 1) * AT_ONCE),
      );
      return (await Promise.all(groups.map((group) => areStated(endpoint, group, other, signal)))).flat();
    },
    without: (caption, claims, dropped, signal) => cleaned(endpoint, caption, claims, dropped, signal),
  };
}

/** A judge miscounts long lists. */
const AT_ONCE = 20;

function areStated(
  endpoint: AskedEndpoint,
  claims: readonly Claim[],
  other: string,
  signal: AbortSignal,
): Promise<readonly boolean[]> {
  const listed = claims.map(({ text }, index) => `${index + 1}. ${text}`).join('\n');
  const question = fillPrompt(STATED, { count: String(claims.length), claims: listed, caption: other });
  const read = (reply: string): boolean[] | undefined => parseSpeakerVerdicts(reply, claims.length);
  return askUntilReadable(endpoint, question, read, signal);
}

/**
 * The claims in a judge's reply.
 * @param sentences how many the caption has; they are numbered from 1 in the question and the reply
 * @returns undefined when an entry is not in the requested form
 */
export function parseClaims(reply: string, sentences: number): Claim[] | undefined {
  const value = recoverJson(reply)?.value;
  if (!Array.isArray(value)) return undefined;
  const claims = (value as unknown[]).map((entry) => claimOf(entry, sentences));
  const read = claims.filter((claim) => claim !== undefined);
  return read.length === claims.length ? read : undefined;
}

function claimOf(entry: unknown, sentences: number): Claim | undefined {
  if (!isRow(entry)) return undefined;
  const text = textField(entry, 'claim')?.trim() ?? '';
  const sentence = numberOf(entry['sentence']) - 1;
  const sense = SENSES.find((name) => name === textField(entry, 'sense')?.toLowerCase());
  if (text === '' || sense === undefined || !(Number.isInteger(sentence) && sentence >= 0 && sentence < sentences))
    return undefined;
  return { text, sentence, sense, ...lineOf(sense, textField(entry, 'words')) };
}

function lineOf(sense: Sense, words: string | undefined): Pick<Claim, 'line'> {
  const line = words?.trim().replace(/^["“]|["”]$/g, '') ?? '';
  return sense === 'speech' && line !== '' ? { line } : {};
}

/** A sentence that loses all its claims goes; one that loses some is rewritten, or goes where that fails. */
async function cleaned(
  endpoint: AskedEndpoint,
  caption: string,
  claims: readonly Claim[],
  dropped: readonly boolean[],
  signal: AbortSignal,
): Promise<string> {
  const sentences = sentencesOf(caption);
  const of = (sentence: number, isDropped: boolean): Claim[] =>
    claims.filter((claim, index) => claim.sentence === sentence && (dropped[index] === true) === isDropped);
  const partly = [...sentences.keys()].filter((index) => of(index, true).length > 0 && of(index, false).length > 0);
  if (partly.length === 0) return withoutSentences(caption, claims, dropped);
  const listed = partly.map((index, place) => {
    const lost = of(index, true).map(({ text }) => `   must not say: ${text}`);
    return [`${place + 1}. ${sentences[index] ?? ''}`, ...lost].join('\n');
  });
  const question = fillPrompt(REWRITE, { count: String(partly.length), sentences: listed.join('\n') });
  const read = (reply: string): string[] | undefined => parseTexts(reply, partly.length);
  const texts = await askUntilReadable(endpoint, question, read, signal).catch((thrown: unknown) => {
    if (thrown instanceof Unscored && thrown.code === 'parse_failed') return [];
    throw thrown;
  });
  return sentences
    .map((text, index) => {
      if (of(index, true).length === 0) return text;
      const place = partly.indexOf(index);
      return place === -1 ? '' : (texts[place] ?? '').trim();
    })
    .filter((text) => text !== '')
    .join(' ');
}

function parseTexts(reply: string, count: number): string[] | undefined {
  const value = recoverJson(reply)?.value;
  if (!Array.isArray(value)) return undefined;
  const texts = (value as unknown[]).filter((text) => typeof text === 'string');
  return texts.length === count && value.length === count ? texts : undefined;
}
