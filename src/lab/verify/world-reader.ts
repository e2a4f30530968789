// Claims of captions of the synthetic world: its wording is closed, so they are read and compared exactly.
import { isSame, type Claim as WorldClaim } from '../synthetic/score-caption.ts';
import { readCaption } from '../synthetic/read-caption.ts';
import { WORLD } from '../synthetic/vocabulary.ts';
import type { Claim, ClaimReader, Sense } from './claims.ts';

/** A sentence as its opening and its parts, each of which makes one claim. */
interface WorldSentence {
  readonly text: string;
  readonly parts: readonly { readonly text: string; readonly claim: WorldClaim }[];
}

/** `At first, A while B and C.`, where each may quote anything. */
const WHILE = / (?:while|and) (?=(?:[^"]*"[^"]*")*[^"]*$)/;
const BACKGROUND = /^On (an? \S+ \S+ background) there is /;
/** Between the objects of a scene. */
const AND = /, | and (?=a )/;

function claimIn(text: string): WorldClaim | undefined {
  const { facts, beats } = readCaption(text);
  return beats[0]?.[0] ?? facts[0];
}

function withClaims(texts: readonly string[]): WorldSentence['parts'] {
  return texts.flatMap((text) => {
    const claim = claimIn(text);
    return claim === undefined ? [] : [{ text, claim }];
  });
}

/** A sentence from a place on, without its full stop, which a caption that was cut off lacks. */
function body(sentence: string, from: number): string {
  return sentence.slice(from).replace(/\.$/, '');
}

/** The sentences of a caption with what each claims; words that claim nothing of the world are not looked at. */
function sentencesOf(caption: string): readonly WorldSentence[] {
  return caption
    .trim()
    .split(/(?<=\.)\s+/)
    .map((text) => {
      const opening = WORLD.openings.find((words) => text.startsWith(`${words}, `));
      if (opening !== undefined) return { text, parts: withClaims(body(text, opening.length + 2).split(WHILE)) };
      const background = BACKGROUND.exec(text);
      if (background === null) return { text, parts: withClaims([text]) };
      const [whole, words = ''] = background;
      return { text, parts: withClaims([words, ...body(text, whole.length).split(AND)]) };
    });
}

/** True where most sentences have the wording of the world; the last one may be cut off. */
export function isOfWorld(caption: string): boolean {
  const sentences = sentencesOf(caption);
  return 2 * sentences.filter(({ parts }) => parts.length > 0).length > sentences.length;
}

function senseOf({ type }: WorldClaim): Sense {
  switch (type) {
    case 'sound':
    case 'music':
      return 'sound';
    case 'speech':
      return 'speech';
    case 'silence':
      return 'absence';
    case 'background':
    case 'object':
    case 'screen-word':
    case 'act':
    case 'figure':
    case 'transition':
    case 'camera':
    case 'pass':
    case 'word-change':
    case 'figure-act':
      return 'sight';
    default:
      return type satisfies never;
  }
}

function lineOf(claim: WorldClaim): Pick<Claim, 'line'> {
  return claim.type === 'speech' ? { line: claim.content } : {};
}

/** A sentence of what is left of it; empty where nothing is. */
function rewritten({ text, parts }: WorldSentence, kept: readonly boolean[]): string {
  const left = parts.filter((_, index) => kept[index]).map((part) => part.text);
  if (left.length === parts.length) return text;
  if (left.length === 0) return '';
  const opening = WORLD.openings.find((words) => text.startsWith(`${words}, `));
  if (opening !== undefined)
    return `${opening}, ${[left.slice(0, 2).join(' while '), ...left.slice(2)].join(' and ')}.`;
  const hasBackground = kept[0] === true;
  const objects = hasBackground ? left.slice(1) : left;
  const last = objects.at(-1);
  if (last === undefined) return `There is ${left.join('')}.`;
  const list = objects.length === 1 ? last : `${objects.slice(0, -1).join(', ')} and ${last}`;
  return hasBackground ? `On ${left[0] ?? ''} there is ${list}.` : `There is ${list}.`;
}

export function worldReader(): ClaimReader {
  return {
    describe: () => ({ kind: 'world' }),
    claims: (caption) =>
      sentencesOf(caption).flatMap(({ parts }, sentence) =>
        parts.map(({ text, claim }) => ({ text, sentence, sense: senseOf(claim), ...lineOf(claim) })),
      ),
    stated: (claims, other) => {
      const { facts, beats } = readCaption(other);
      const told: readonly WorldClaim[] = [...facts, ...beats.flat()];
      return claims.map(({ text }) => {
        const claim = claimIn(text);
        return claim !== undefined && told.some((one) => isSame(one, claim));
      });
    },
    without: (caption, _claims, dropped) => {
      const flags = dropped.values();
      return sentencesOf(caption)
        .map((sentence) =>
          rewritten(
            sentence,
            sentence.parts.map(() => flags.next().value !== true),
          ),
        )
        .filter((text) => text !== '')
        .join(' ');
    },
  };
}
