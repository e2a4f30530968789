// Second phase, and what comes out: verdicts of the judge, scores in both ways of counting, and their uncertainty.
import { Random } from '../../base/random.ts';
import { Unscored } from '../rewards/types.ts';
import {
  COUNTINGS,
  type Benchmark,
  type Counting,
  type Failure,
  type Item,
  type Judged,
  type Preset,
  type PromptTexts,
  type Scores,
} from './benchmark.ts';
import { inParallel, type CaptionRow } from './captions.ts';
import { BudgetSpent, type JudgeSession } from './judge-session.ts';

export interface JudgeOptions {
  readonly session: JudgeSession;
  readonly preset: Preset;
  readonly prompts: PromptTexts;
  readonly runs: number;
  /** items that are judged at the same time; the endpoint limits its questions itself */
  readonly concurrency: number;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number) => void;
  readonly onFailure: (id: string, reason: string) => void;
}

/**
 * Verdicts of all items, [run][item] in the order of the items. An item that the judge could not be asked about is
 * `not_asked`.
 * @throws AvocadoError `directory_unwritable`; the signal's reason
 */
export async function judgeAll(
  benchmark: Benchmark,
  items: readonly Item[],
  captions: ReadonlyMap<string, CaptionRow>,
  options: JudgeOptions,
): Promise<readonly (readonly Judged[])[]> {
  const runs: Judged[][] = Array.from({ length: options.runs }, () => []);
  const turns = runs.flatMap((judged, run) => items.map((item, index) => ({ judged, run, item, index })));
  let done = 0;
  await inParallel(turns, options.concurrency, async ({ judged, run, item, index }) => {
    options.signal.throwIfAborted();
    judged[index] = await judgeOne(benchmark, item, captions.get(item.id)?.caption, run, options);
    done += 1;
    options.onProgress(done, turns.length);
  });
  return runs;
}

async function judgeOne(
  benchmark: Benchmark,
  item: Item,
  caption: string | undefined,
  run: number,
  { session, preset, prompts, signal, onFailure }: JudgeOptions,
): Promise<Judged> {
  const failed = (failure: Failure): Judged => ({ item, caption, verdict: undefined, failure });
  if (caption === undefined || caption.trim() === '') return failed('no_caption');
  const { sampling } = benchmark.protocols[preset];
  try {
    const verdict = await benchmark.judge(item, caption, {
      ask: (question, read, attempts) => session.ask(question, read, sampling, { run, attempts }),
      preset,
      prompts,
    });
    return { item, caption, verdict, failure: undefined };
  } catch (thrown) {
    signal.throwIfAborted();
    if (!(thrown instanceof Unscored) && !(thrown instanceof BudgetSpent)) throw thrown;
    onFailure(item.id, thrown.message);
    return failed(thrown instanceof Unscored && thrown.code === 'parse_failed' ? 'unreadable' : 'not_asked');
  }
}

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** Scores of a set of items in one way of counting. */
export interface ScoreTable {
  readonly scores: Scores;
  /** 95 %, percentile bootstrap over items; null where a score is not defined */
  readonly intervals: Readonly<Record<string, Interval | null>>;
}

export interface SliceScores {
  readonly dimension: string;
  readonly value: string;
  readonly items: number;
  readonly scores: Scores;
}

export interface Evaluation {
  readonly tables: Readonly<Record<Counting, ScoreTable>>;
  /** in the preset's way of counting */
  readonly slices: readonly SliceScores[];
  readonly counts: Readonly<Record<'expected' | 'scored' | Failure, number>> & {
    /** questions about scored clips whose replies cannot be read */
    readonly unreadable_questions: number;
    /** clips that at least one run has not judged yet, the reported one or another */
    readonly open: number;
  };
  /** every run's scores, in the preset's way of counting; the reported run's index */
  readonly runs: readonly Scores[];
  readonly reported: number;
  /** of the reported run */
  readonly judged: readonly Judged[];
}

/** The paper's text counts every item; the scripts count as they do. */
export function countingOf(preset: Preset): Counting {
  return preset === 'compat' ? 'compat' : 'strict';
}

/** Pure: the same verdicts and seed give the same evaluation. */
export function evaluationOf(
  benchmark: Benchmark,
  runs: readonly (readonly Judged[])[],
  options: { readonly preset: Preset; readonly resamples: number; readonly seed: number },
): Evaluation {
  const counting = countingOf(options.preset);
  const all = runs.map((judged) => benchmark.score(asked(judged), counting));
  const reported = medianRun(all.map((scores) => scores[benchmark.columns[0]?.name ?? ''] ?? null));
  const judged = runs[reported] ?? [];
  const counted = asked(judged);
  const table = (way: Counting): ScoreTable => ({
    scores: benchmark.score(counted, way),
    intervals: bootstrap(counted, (sample) => benchmark.score(sample, way), options),
  });
  const count = (failure: Failure): number => judged.filter((one) => one.failure === failure).length;
  return {
    tables: Object.fromEntries(COUNTINGS.map((way) => [way, table(way)])) as Evaluation['tables'],
    slices: benchmark.slices(counted).map(({ dimension, value, judged: part }) => ({
      dimension,
      value,
      items: part.length,
      scores: benchmark.score(part, counting),
    })),
    counts: {
      expected: judged.length,
      scored: judged.filter(({ verdict }) => verdict !== undefined).length,
      no_caption: count('no_caption'),
      unreadable: count('unreadable'),
      not_asked: count('not_asked'),
      unreadable_questions: judged.reduce((sum, one) => sum + unreadableQuestions(benchmark, one), 0),
      open: judged.filter((_one, index) => runs.some((run) => run[index]?.failure === 'not_asked')).length,
    },
    runs: all,
    reported,
    judged,
  };
}

function unreadableQuestions(benchmark: Benchmark, { item, verdict }: Judged): number {
  return verdict === undefined ? 0 : (benchmark.unreadable?.(item, verdict) ?? 0);
}

function asked(judged: readonly Judged[]): readonly Judged[] {
  return judged.filter(({ failure }) => failure !== 'not_asked');
}

/** Of 7 runs the 4th in ascending order; runs without a score come last. */
export function medianRun(values: readonly (number | null)[]): number {
  const order = values.map((value, index) => ({ value: value ?? Infinity, index }));
  order.sort((one, other) => one.value - other.value || one.index - other.index);
  return order[Math.floor((order.length - 1) / 2)]?.index ?? 0;
}

/** Percentile intervals (95 %) of scores over items drawn with replacement. */
export function bootstrap<T>(
  all: readonly T[],
  score: (sample: readonly T[]) => Scores,
  { resamples, seed }: { readonly resamples: number; readonly seed: number },
): Record<string, Interval | null> {
  const random = Random.fromSeed(seed);
  const samples = Array.from({ length: all.length === 0 ? 0 : resamples }, () =>
    score(all.map(() => all[Math.floor(random.nextUnit() * all.length)] as T)),
  );
  return Object.fromEntries(
    Object.keys(score(all)).map((name) => {
      const values = samples.flatMap((scores) => scores[name] ?? []).sort((one, other) => one - other);
      return [name, values.length < 2 ? null : { low: quantile(values, 0.025), high: quantile(values, 0.975) }];
    }),
  );
}

/** Of sorted values, with linear interpolation. */
export function quantile(sorted: readonly number[], share: number): number {
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const [low = 0, high = low] = [sorted[below], sorted[below + 1]];
  return low + (high - low) * (at - below);
}
