// What is checked of a fused caption without asking anybody. The paper names length and repetition; the numbers, and
// the check that fusion kept every sentence, are ours.
import { repetitionOf } from '../../output/repetition.ts';
import { wordCount } from '../evaluate/caption-metrics.ts';
import { codePoints, editsWithin } from '../similarity.ts';

export interface Captions {
  readonly visual: string;
  readonly audio: string;
  readonly fused: string;
}

/** Shares of sentences and of quoted lines that fusion kept, 0 to 1. */
export interface Preserved {
  readonly sentences: number;
  readonly quotes: number;
}

export interface RuleResult {
  /** undefined = all rules hold */
  readonly reason: string | undefined;
  readonly preserved: Preserved;
  readonly words: number;
}

export const RULES = {
  fewestWords: 80,
  /** words of the fused caption over those of its two sources */
  ratio: { from: 0.8, to: 1.25 },
  preserved: { sentences: 0.9, quotes: 0.95 },
  /** a sentence is kept when one of the fused caption is at least so similar */
  similarity: 0.85,
  wordsPerSecond: 6,
} as const;

const REFUSAL =
  /\b(?:as an ai|i(?: am|'m|’m) (?:sorry|unable)|i can(?:not|'t|’t) (?:view|watch|hear|see|process|assist|help))\b/i;
const LEFTOVER = /(?:visual|audio) caption\s*:|integrated (?:audio-visual )?caption|^#{1,6}\s/im;

/** Words in quotation marks, which are its group. */
export const QUOTE = /["“「]([^"”」]+)["”」]/gu;

/** A refusal, or words of the prompt instead of a caption. */
export function metaReason(text: string): string | undefined {
  if (text.trim() === '') return 'empty';
  if (REFUSAL.test(text.replace(QUOTE, ' '))) return 'refusal'; // not what people in the video say
  return LEFTOVER.test(text) ? 'meta' : undefined;
}

/** A mark inside a number, an abbreviation or an address ends no sentence: `3.5 m`, `U.S.`, `etc., and`. */
const SENTENCE =
  /[^\n]*?(?:[.!?]+["”’」)]*(?![\p{Script=Latin}\p{N}.!?"”’」),;:'-])|[。！？]+["”’」)]*(?!["”’」)。！？])|$|\n)/gu;

export function sentencesOf(text: string): string[] {
  const found = text.match(SENTENCE) ?? [];
  return found.map((sentence) => sentence.trim()).filter((sentence) => /[\p{L}\p{N}]/u.test(sentence));
}

export function quotesOf(text: string): string[] {
  return [...text.matchAll(QUOTE)].map(([, words = '']) => words.trim()).filter((words) => words !== '');
}

const folded = (text: string): string =>
  text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[\s"“”'’]+/gu, ' ')
    .trim();

function shareKept(parts: readonly string[], whole: string): number {
  if (parts.length === 0) return 1;
  const text = folded(whole);
  const sentences = sentencesOf(whole).map((sentence) => codePoints(folded(sentence)));
  const isKept = (part: string): boolean => {
    const own = folded(part).replace(/[.!?。！？]+$/u, '');
    if (text.includes(own)) return true;
    const points = codePoints(own);
    return sentences.some((other) => {
      const longer = Math.max(points.length, other.length);
      return editsWithin(points, other, Math.floor(longer * (1 - RULES.similarity))) !== undefined;
    });
  };
  return parts.filter(isKept).length / parts.length;
}

/** The first rule that a caption breaks. @param seconds of the clip, where it is known */
export function checkRules({ visual, audio, fused }: Captions, seconds: number | undefined): RuleResult {
  const words = wordCount(fused);
  const quotes = quotesOf(audio);
  const preserved = {
    sentences: shareKept([...sentencesOf(visual), ...sentencesOf(audio)], fused),
    quotes: shareKept(quotes, fused),
  };
  const result = (reason: string | undefined): RuleResult => ({ reason, preserved, words });
  const meta = metaReason(fused);
  if (meta !== undefined) return result(meta);
  if ([visual, audio, fused].some((text) => repetitionOf(text) !== undefined)) return result('repetition');
  if (words < RULES.fewestWords) return result('too_short');
  const ratio = words / Math.max(1, wordCount(visual) + wordCount(audio));
  if (ratio < RULES.ratio.from) return result('lost_length');
  if (ratio > RULES.ratio.to) return result('added_length');
  if (preserved.sentences < RULES.preserved.sentences) return result('lost_sentences');
  if (preserved.quotes < RULES.preserved.quotes) return result('lost_speech');
  const spoken = quotes.reduce((sum, quote) => sum + wordCount(quote), 0);
  if (seconds !== undefined && spoken / seconds > RULES.wordsPerSecond) return result('too_much_speech');
  return result(undefined);
}
