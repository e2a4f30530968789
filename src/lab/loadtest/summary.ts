import type { CaptionAnswer, Level } from './types.ts';

export interface Quantiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** One level in numbers: seconds, or per second of its wall time. */
export interface LevelSummary {
  readonly concurrency: number;
  readonly captions: number;
  readonly refused: number;
  readonly left: number;
  readonly failed: Readonly<Record<string, number>>;
  readonly wallSeconds: number;
  readonly firstToken: Quantiles;
  readonly interToken: Quantiles;
  readonly total: Quantiles;
  readonly tokensPerSecond: number;
  readonly mediaSecondsPerSecond: number;
}

/** Nearest-rank quantiles; all 0 of nothing. */
export function quantiles(values: readonly number[]): Quantiles {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

export function summarise({ concurrency, wallSeconds, answers }: Level): LevelSummary {
  const captions = answers.filter((answer): answer is CaptionAnswer => answer.kind === 'caption');
  const failed: Record<string, number> = {};
  for (const answer of answers) if (answer.kind === 'failed') failed[answer.code] = (failed[answer.code] ?? 0) + 1;
  const sum = (value: (answer: CaptionAnswer) => number): number =>
    captions.reduce((total, answer) => total + value(answer), 0);
  return {
    concurrency,
    captions: captions.length,
    refused: answers.filter(({ kind }) => kind === 'refused').length,
    left: answers.filter(({ kind }) => kind === 'left').length,
    failed,
    wallSeconds,
    firstToken: quantiles(captions.map(({ firstTokenSeconds }) => firstTokenSeconds)),
    interToken: quantiles(captions.flatMap(({ tokenGapsSeconds }) => tokenGapsSeconds)),
    total: quantiles(captions.map(({ totalSeconds }) => totalSeconds)),
    tokensPerSecond: sum(({ tokens }) => tokens) / wallSeconds,
    mediaSecondsPerSecond: sum(({ mediaSeconds }) => mediaSeconds) / wallSeconds,
  };
}

const HEAD = [
  'clients',
  'captions',
  'refused',
  'left',
  'failed',
  'TTFT p50/p95 s',
  'ITL p50/p95 ms',
  'total p50/p95 s',
  'tokens/s',
  'video s/s',
];

function cells(level: LevelSummary): string[] {
  const seconds = ({ p50, p95 }: Quantiles): string => `${p50.toFixed(2)} / ${p95.toFixed(2)}`;
  const failed = Object.values(level.failed).reduce((sum, count) => sum + count, 0);
  const { interToken } = level;
  return [
    String(level.concurrency),
    String(level.captions),
    String(level.refused),
    String(level.left),
    String(failed),
    seconds(level.firstToken),
    `${(interToken.p50 * 1000).toFixed(2)} / ${(interToken.p95 * 1000).toFixed(2)}`,
    seconds(level.total),
    level.tokensPerSecond.toFixed(0),
    level.mediaSecondsPerSecond.toFixed(1),
  ];
}

/** The levels as a table for people, one line each. */
export function levelTable(levels: readonly LevelSummary[]): string {
  const rows = [HEAD, ...levels.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) => row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('  ')).join('\n');
}
