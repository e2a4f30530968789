// R_D, the dialogue reward (Eq. 4 to 7): compares the spoken lines of a caption with those of its reference.
import { codePoints, pairableSimilarity } from '../similarity.ts';
import type { Judge } from './judges/judge.ts';
import {
  Unscored,
  type DialogueLine,
  type DialogueScore,
  type EmptyBoth,
  type Normalisation,
  type Reference,
  type RewardItem,
  type RewardOptions,
} from './types.ts';

type DialogueOptions = Pick<RewardOptions, 'normalisation' | 'emptyBoth' | 'strictGamma'>;

/**
 * R_D: extract the spoken lines of both sides, align them by their words, compare the speakers, and take the F1.
 * @throws Unscored
 */
export async function dialogueReward(
  { completion, reference = {}, video }: RewardItem,
  judge: Judge,
  options: DialogueOptions,
  signal: AbortSignal,
): Promise<DialogueScore> {
  // The reference first: where there is none, nothing is asked whose failure nobody would wait for.
  const [referenceLines, captionLines] = await Promise.all([
    linesOfReference(reference, judge, signal),
    completion.trim() === '' ? [] : judge.dialogues(completion, 'caption', signal),
  ]);
  const [generated, expected] = [comparable(captionLines, options), comparable(referenceLines, options)];
  const { content, pairs } = align(
    generated.words.map((line) => expected.words.map((other) => pairableSimilarity(line, other, options.strictGamma))),
  );
  const speakerPairs = pairs.map(([row, column]) => ({
    generated: generated.lines[row]?.speaker ?? '',
    reference: expected.lines[column]?.speaker ?? '',
  }));
  const context = { caption: completion, reference: reference.caption, video };
  const verdict = speakerPairs.length === 0 ? undefined : await judge.sameSpeakers(speakerPairs, context, signal);
  const speakers = verdict?.same.filter(Boolean).length ?? 0;
  const counts = { generated: generated.lines.length, reference: expected.lines.length, content, speakers };
  return {
    value: dialogueF1(counts, options.emptyBoth),
    ...counts,
    pairs,
    speakerMode: verdict?.mode,
  };
}

function linesOfReference(
  { caption, dialogues }: Reference,
  judge: Judge,
  signal: AbortSignal,
): Promise<readonly DialogueLine[]> {
  if (dialogues !== undefined) return Promise.resolve(dialogues);
  if (caption !== undefined && caption.trim() !== '') return judge.dialogues(caption, 'reference', signal);
  throw new Unscored(
    'no_reference',
    'R_D compares with reference.dialogues or with the lines in reference.caption: give one of them.',
  );
}

interface ComparableLines {
  readonly lines: readonly DialogueLine[];
  /** [lines, code points] */
  readonly words: readonly (readonly number[])[];
}

function comparable(lines: readonly DialogueLine[], { normalisation }: DialogueOptions): ComparableLines {
  const normalised = lines
    .map((line) => ({ line, words: normalise(line.content, normalisation) }))
    .filter(({ words }) => !isWordless(words));
  return { lines: normalised.map(({ line }) => line), words: normalised.map(({ words }) => codePoints(words)) };
}

const STRAIGHT_QUOTES: Readonly<Record<string, string>> = {
  '“': '"',
  '”': '"',
  '„': '"',
  '‘': "'",
  '’': "'",
  '「': '"',
  '」': '"',
  '『': '"',
  '』': '"',
};
const FINAL_PUNCTUATION = /[.,!?。！？]$/u;

function basic(text: string): string {
  const plain = text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[“”„‘’「」『』]/gu, (quote) => STRAIGHT_QUOTES[quote] ?? quote)
    .replace(/\s+/gu, ' ')
    .trim();
  const unquoted = /^(["'])(.*)\1$/su.exec(plain)?.[2] ?? plain;
  return unquoted.trim().replace(FINAL_PUNCTUATION, '').trim();
}

/**
 * What is done to a spoken line before it is compared. The paper mentions no normalisation, so case and punctuation
 * count by default. `raw`: NFC only. `basic`: NFKC, lower case, straight quotes, no quotes around the line, single
 * spaces, one final punctuation mark removed.
 */
function normalise(text: string, normalisation: Normalisation): string {
  return normalisation === 'raw' ? text.normalize('NFC') : basic(text);
}

/** True for `…` and other text of punctuation alone, which is not a spoken line. */
export function isWordless(text: string): boolean {
  return !/[\p{L}\p{N}\p{S}]/u.test(text);
}

interface Alignment {
  /** S_content: the sum of the pairs' similarities */
  readonly content: number;
  /** [generated, reference], counted from 0, in order */
  readonly pairs: readonly (readonly [number, number])[];
}

/**
 * The best total similarity of pairs that keep the order of both sides (Eq. 5). Deterministic: of equal optima, a line
 * is left out rather than paired, the last generated line first, so that a pair exists only where it strictly improves
 * the total.
 * @param similarities [generated, reference]; 0 = these two may not be paired
 */
export function align(similarities: readonly (readonly number[])[]): Alignment {
  const columns = similarities[0]?.length ?? 0;
  const best: number[][] = [new Array<number>(columns + 1).fill(0)];
  const at = (row: number, column: number): number => best[row]?.[column] ?? 0;
  for (const [index, values] of similarities.entries()) {
    const row = [0];
    best.push(row);
    for (const [column, value] of values.entries()) {
      const pair = value > 0 ? at(index, column) + value : 0;
      row.push(Math.max(at(index, column + 1), row[column] ?? 0, pair));
    }
  }
  const pairs: [number, number][] = [];
  let [row, column] = [similarities.length, columns];
  while (row > 0 && column > 0) {
    // The stored values are copies of each other, so comparing floats for equality is exact here.
    if (at(row, column) === at(row - 1, column)) row -= 1;
    else if (at(row, column) === at(row, column - 1)) column -= 1;
    else pairs.push([(row -= 1), (column -= 1)]);
  }
  return { content: at(similarities.length, columns), pairs: pairs.reverse() };
}

interface DialogueCounts {
  /** N: lines of the caption */
  readonly generated: number;
  /** M: lines of the reference */
  readonly reference: number;
  /** S_content: the sum of the pairs' similarities */
  readonly content: number;
  /** S_speaker: pairs with the same speaker */
  readonly speakers: number;
}

/**
 * R_D (Eq. 6 and 7), 0 to 1: the F1 of S_combined = (S_speaker + S_content) / 2 over M and over N, which is
 * (S_speaker + S_content) / (M + N). The paper does not define R_D without speech. If exactly one side has speech, it
 * is 0, so that invented speech earns nothing. If neither has, it is `emptyBoth`, by default 1: all rollouts of a group
 * share M, and for a silent video only this value separates the rollouts that invent no speech from those that do.
 * @returns null = skipped
 */
export function dialogueF1(
  { generated, reference, content, speakers }: DialogueCounts,
  emptyBoth: EmptyBoth,
): number | null {
  if (generated === 0 && reference === 0) return emptyBoth === 'skip' ? null : emptyBoth;
  if (generated === 0 || reference === 0) return 0;
  return (speakers + content) / (generated + reference);
}
