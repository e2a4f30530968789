// Claims of captions in any words, without asking anybody: a sentence is one claim, and another caption states it when
// it has most of its words. Rough: a wrong detail among right words is not seen, other wording is.
import { QUOTE, quotesOf, sentencesOf } from '../curate/rules.ts';
import { codePoints, pairableSimilarity } from '../similarity.ts';
import type { Claim, ClaimReader, Sense } from './claims.ts';
import { wordsOf } from './transcript.ts';

/** A sentence of another caption, or two neighbours, must hold so much of a claim's words. */
const ENOUGH = 0.6;

const SOUND =
  /\b(?:hear[ds]?|heard|sounds?|audible|audio|music|song|melod(?:y|ies)|noises?|voices?|says?|said|speak(?:s|ing)?|talk(?:s|ing)?|sing(?:s|ing)?|whispers?|shouts?|narrat(?:es|or|ion)|silence|silent|beeps?|rings?|ringing|barks?|barking|applause|laugh(?:s|ter)?|hums?|loud(?:ly)?|quiet(?:ly)?)\b/i;
const SIGHT =
  /\b(?:see[ns]?|shows?|shown|visible|appears?|colou?rs?|red|green|blue|yellow|white|black|gray|grey|wear(?:s|ing)|camera|screen|background|foreground|stand(?:s|ing)|sit(?:s|ting)|walk(?:s|ing)|moves?|moving|left|right|shot|frame|text reads)\b/i;
const ABSENCE = /\b(?:no|without|neither|never|not)\b/i;

/** Words that say little by themselves. */
const STOP_WORDS = new Set(
  (
    'a an the and or but of to in on at by with from for as is are was were be been it its this that these those he ' +
    'she they his her their them there then while who which what into over under up down out then also very'
  ).split(' '),
);

function contentWords(text: string): string[] {
  return wordsOf(text)
    .filter((word) => !STOP_WORDS.has(word))
    .map((word) => (word.length > 3 ? word.replace(/(?:es|s)$/, '') : word));
}

function quotesIn(text: string): string[] {
  return quotesOf(text).filter((words) => wordsOf(words).length > 0);
}

/** What a sentence without its quotes rests on. */
function senseOf(sentence: string): Sense {
  const plain = sentence.replaceAll(QUOTE, '');
  const [heard, seen] = [SOUND.test(plain), SIGHT.test(plain)];
  if (heard && ABSENCE.test(plain)) return 'absence';
  if (heard) return seen ? 'other' : 'sound';
  return 'sight';
}

function isStated({ text, line }: Claim, other: Other): boolean {
  if (line !== undefined) {
    const points = codePoints(wordsOf(line).join(' '));
    return other.quotes.some((quote) => pairableSimilarity(points, quote, false) > 0);
  }
  const words = contentWords(text);
  if (words.length === 0) return true;
  return other.windows.some((window) => words.filter((word) => window.has(word)).length >= ENOUGH * words.length);
}

interface Other {
  /** words of each sentence with the one after it */
  readonly windows: readonly ReadonlySet<string>[];
  /** [quotes, code points] */
  readonly quotes: readonly (readonly number[])[];
}

function otherOf(caption: string): Other {
  const sentences = sentencesOf(caption).map(contentWords);
  return {
    windows: sentences.map((words, index) => new Set([...words, ...(sentences[index + 1] ?? [])])),
    quotes: quotesIn(caption).map((quote) => codePoints(wordsOf(quote).join(' '))),
  };
}

export function wordsReader(): ClaimReader {
  return {
    describe: () => ({ kind: 'words' }),
    claims: (caption) =>
      sentencesOf(caption).flatMap((text, sentence): Claim[] => {
        const lines = quotesIn(text).map((line): Claim => ({ text, sentence, sense: 'speech', line }));
        // A sentence that only introduces what is said makes no claim beside it.
        const rest = contentWords(text.replaceAll(QUOTE, ''));
        return lines.length > 0 && rest.length < 4 ? lines : [{ text, sentence, sense: senseOf(text) }, ...lines];
      }),
    stated: (claims, caption) => {
      const other = otherOf(caption);
      return claims.map((claim) => isStated(claim, other));
    },
    without: (caption, claims, dropped) => withoutSentences(caption, claims, dropped),
  };
}

/** The caption without the sentences in which a claim is dropped. */
export function withoutSentences(caption: string, claims: readonly Claim[], dropped: readonly boolean[]): string {
  const gone = new Set(claims.flatMap(({ sentence }, index) => (dropped[index] === true ? [sentence] : [])));
  if (gone.size === 0) return caption;
  return sentencesOf(caption)
    .filter((_, index) => !gone.has(index))
    .join(' ');
}
