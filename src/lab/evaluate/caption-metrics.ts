// What can be said of captions beside a benchmark's own score: repetition collapse, lengths, and Dlg. F1 (Eq. 7).
import { repetitionOf } from '../../output/repetition.ts';
import { dialogueReward } from '../rewards/dialogue-reward.ts';
import type { Judge } from '../rewards/judges/judge.ts';
import { Unscored, type DialogueLine, type DialogueScore } from '../rewards/types.ts';
import { isRow, mean, percent, type Benchmark, type Item } from './benchmark.ts';
import { inParallel, type CaptionRow } from './captions.ts';
import { quantile } from './evaluate.ts';
import { BudgetSpent } from './judge-session.ts';

export interface CaptionMetrics {
  readonly captions: number;
  /** %, of all captions as they came, without any clean-up */
  readonly repetition: {
    readonly collapsed: number | null;
    readonly tail: number | null;
    readonly inner: number | null;
    readonly nearCopy: number | null;
    /** of the captions whose finish reason is known: those that met the token limit */
    readonly cut: number | null;
  };
  readonly words: Spread;
  /** of the captions that bring their count */
  readonly tokens: Spread;
  /** of the captions whose claims were checked; undefined: none was */
  readonly claims?: CheckedClaims | undefined;
}

interface CheckedClaims {
  readonly captions: number;
  readonly claims: number;
  readonly unsupported: number;
  readonly unchecked: number;
}

function checkedClaims(captions: readonly CaptionRow[]): CheckedClaims | undefined {
  const counts = captions.flatMap(({ verification }) => {
    const found: unknown = isRow(verification) ? verification['counts'] : undefined;
    return isRow(found) ? [found] : [];
  });
  const sum = (name: string): number => counts.reduce((all, count) => all + Number(count[name] ?? 0), 0);
  if (counts.length === 0) return undefined;
  return {
    captions: counts.length,
    claims: sum('claims'),
    unsupported: sum('unsupported'),
    unchecked: sum('unchecked'),
  };
}

interface Spread {
  readonly count: number;
  readonly mean: number | null;
  readonly median: number | null;
  readonly p95: number | null;
  readonly max: number | null;
}

function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((one, other) => one - other);
  const at = (share: number): number | null => (sorted.length === 0 ? null : quantile(sorted, share));
  return { count: sorted.length, mean: mean(sorted), median: at(0.5), p95: at(0.95), max: at(1) };
}

/** Words between spaces; text without spaces, such as Chinese, counts its characters. */
export function wordCount(text: string): number {
  const wide = text.match(/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/gu)?.length ?? 0;
  const rest = text.replace(/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/gu, ' ').trim();
  return wide + (rest === '' ? 0 : rest.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length);
}

export function captionMetrics(captions: readonly CaptionRow[]): CaptionMetrics {
  const found = captions.map(({ caption }) => repetitionOf(caption));
  const share = (holds: (one: (typeof found)[number]) => boolean): number | null =>
    percent(mean(found.map((one) => (holds(one) ? 1 : 0))));
  const finished = captions.flatMap(({ finish_reason: reason }) => (reason === undefined ? [] : [reason]));
  return {
    captions: captions.length,
    repetition: {
      collapsed: share((one) => one !== undefined),
      tail: share((one) => one?.tail !== undefined),
      inner: share((one) => one?.inner !== undefined),
      nearCopy: share((one) => one?.nearCopy === true),
      cut: percent(mean(finished.map((reason) => (reason === 'length' ? 1 : 0)))),
    },
    words: spreadOf(captions.map(({ caption }) => wordCount(caption))),
    tokens: spreadOf(captions.flatMap(({ completion_tokens: tokens }) => tokens ?? [])),
    claims: checkedClaims(captions),
  };
}

/** %; `meanF1` is the mean of R_D over clips, as GRPO's reward; the paper does not say how it pools. */
export interface DialogueMetrics {
  readonly meanF1: number | null;
  /** F1 of the means of recall and precision */
  readonly f1OfMeans: number | null;
  /** of sums over all clips */
  readonly micro: number | null;
  /** clips where one side speaks */
  readonly scored: number;
  /** neither the caption nor its reference has speech */
  readonly silent: number;
  /** no caption, no reference, or as `failed` */
  readonly unscored: number;
  /** the judge failed, cannot be read, or the budget is spent */
  readonly failed: number;
}

export function dialogueMetrics(scores: readonly (DialogueScore | undefined)[], failed = 0): DialogueMetrics {
  const known = scores.filter((score) => score !== undefined);
  const spoken = known.filter(({ value }) => value !== null);
  const share = (side: 'generated' | 'reference') => (score: DialogueScore) =>
    score[side] === 0 ? 0 : (score.content + score.speakers) / 2 / score[side];
  const f1 = (one: number | null, other: number | null): number | null =>
    one === null || other === null ? null : one + other === 0 ? 0 : (2 * one * other) / (one + other);
  const sum = (name: 'generated' | 'reference' | 'content' | 'speakers'): number =>
    spoken.reduce((all, score) => all + score[name], 0);
  const lines = sum('generated') + sum('reference');
  return {
    meanF1: percent(mean(spoken.flatMap(({ value }) => value ?? []))),
    f1OfMeans: percent(f1(mean(spoken.map(share('reference'))), mean(spoken.map(share('generated'))))),
    micro: lines === 0 ? null : percent((sum('content') + sum('speakers')) / lines),
    scored: spoken.length,
    silent: known.length - spoken.length,
    unscored: scores.length - known.length,
    failed,
  };
}

/** What a caption's speech is compared with. */
export interface SpokenReference {
  readonly caption?: string | undefined;
  readonly dialogues?: readonly DialogueLine[] | undefined;
}

/** @throws the signal's reason; what the judge throws but Unscored and BudgetSpent */
export async function judgeDialogues(
  benchmark: Benchmark,
  items: readonly Item[],
  captions: ReadonlyMap<string, CaptionRow>,
  options: {
    readonly judge: Judge;
    readonly references: ReadonlyMap<string, SpokenReference>;
    readonly concurrency: number;
    readonly signal: AbortSignal;
    readonly onFailure: (id: string, reason: string) => void;
  },
): Promise<DialogueMetrics> {
  const scores: (DialogueScore | undefined)[] = items.map(() => undefined);
  let failed = 0;
  const settings = { normalisation: 'raw', emptyBoth: 'skip', strictGamma: false } as const;
  await inParallel([...items.entries()], options.concurrency, async ([index, item]) => {
    const caption = captions.get(item.id)?.caption;
    const reference = options.references.get(item.id) ?? { caption: benchmark.reference?.(item) };
    const { caption: told = '', dialogues } = reference;
    if (caption === undefined || (told.trim() === '' && dialogues === undefined)) return;
    try {
      const asked = { completion: caption, reference };
      scores[index] = await dialogueReward(asked, options.judge, settings, options.signal);
    } catch (thrown) {
      options.signal.throwIfAborted();
      if (!(thrown instanceof Unscored) && !(thrown instanceof BudgetSpent)) throw thrown;
      failed += 1;
      options.onFailure(item.id, thrown.message);
    }
  });
  return dialogueMetrics(scores, failed);
}
