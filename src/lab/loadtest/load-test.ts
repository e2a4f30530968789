// A load test of a running server: the closed loop of clients, and its results as numbers and as a table.
import { setTimeout as sleep } from 'node:timers/promises';

export interface ClipFile {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Result of one request. `refused` is 429 or 503, `disconnected` a client that disconnected on purpose. */
export type RequestResult =
  | CaptionResult
  | { readonly kind: 'refused'; readonly retryAfterSeconds: number }
  | { readonly kind: 'disconnected' }
  | { readonly kind: 'failed'; readonly code: string };

export interface CaptionResult {
  readonly kind: 'caption';
  /** from the start of the request to the first tokens */
  readonly firstTokenSeconds: number;
  readonly totalSeconds: number;
  /** time between two arrivals of tokens, divided by the number of tokens in the second */
  readonly tokenGapsSeconds: readonly number[];
  readonly tokens: number;
  /** duration of the clip */
  readonly mediaSeconds: number;
}

interface LevelOptions {
  /** number of clients; each sends its next request when its last one has ended */
  readonly concurrency: number;
  /** requests in all */
  readonly requests: number;
  /** share of requests whose client disconnects at a random moment, 0 to 1 */
  readonly leaving: number;
  readonly seed: number;
}

/** Sends one clip. With `disconnectAfterMs` the client disconnects after that time, unless the caption is complete. */
export type SendClip = (
  clip: ClipFile,
  disconnectAfterMs: number | undefined,
  signal: AbortSignal,
) => Promise<RequestResult>;

interface LoadLevel {
  readonly concurrency: number;
  readonly wallSeconds: number;
  readonly results: readonly RequestResult[];
}

/** Maximum wait after a refusal. The server's Retry-After may be minutes, but a load test must keep the load up. */
const MAX_WAIT_SECONDS = 2;
/** A disconnect comes within twice the moving average of caption times; before there is one, within this time. */
const FIRST_DISCONNECT_MS = 1000;

/** Park and Miller's generator: the same seed sends the same requests. */
function randomFrom(seed: number): () => number {
  let state = (seed % 2_147_483_646) + 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return (state - 1) / 2_147_483_646;
  };
}

/**
 * A closed loop: `concurrency` clients send `requests` clips in total, each client its next clip when its last request
 * has ended. A refused client waits as the server says and repeats the request; every refusal is counted.
 */
export async function runLevel(
  clips: readonly ClipFile[],
  send: SendClip,
  options: LevelOptions,
  signal: AbortSignal,
): Promise<LoadLevel> {
  const random = randomFrom(options.seed);
  const results: RequestResult[] = [];
  let averageMs = FIRST_DISCONNECT_MS / 2;
  let left = options.requests;

  async function sendOne(): Promise<void> {
    const clip = clips[Math.floor(random() * clips.length)];
    if (clip === undefined) throw new Error('A load test without clips. This is a bug.');
    const disconnectAfterMs = random() < options.leaving ? Math.round(random() * 2 * averageMs) : undefined;
    for (;;) {
      const result = await send(clip, disconnectAfterMs, signal);
      results.push(result);
      if (result.kind === 'caption') averageMs = 0.8 * averageMs + 0.2 * result.totalSeconds * 1000;
      if (result.kind !== 'refused' || signal.aborted) return;
      await sleep(Math.min(MAX_WAIT_SECONDS, result.retryAfterSeconds) * 1000);
    }
  }

  async function client(): Promise<void> {
    while (left > 0 && !signal.aborted) {
      left -= 1;
      await sendOne();
    }
  }

  const startedMs = performance.now();
  await Promise.all(Array.from({ length: options.concurrency }, client));
  return { concurrency: options.concurrency, wallSeconds: (performance.now() - startedMs) / 1000, results };
}

interface Quantiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** Results of one level: times in seconds, rates per second of wall time. */
export interface LevelSummary {
  readonly concurrency: number;
  readonly captions: number;
  readonly refused: number;
  /** clients that disconnected on purpose */
  readonly left: number;
  /** by error code */
  readonly failed: Readonly<Record<string, number>>;
  readonly wallSeconds: number;
  readonly firstToken: Quantiles;
  readonly interToken: Quantiles;
  readonly total: Quantiles;
  readonly tokensPerSecond: number;
  readonly mediaSecondsPerSecond: number;
}

/** Nearest-rank quantiles; 0 for an empty list. */
export function quantiles(values: readonly number[]): Quantiles {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

export function summarise({ concurrency, wallSeconds, results }: LoadLevel): LevelSummary {
  const captions = results.filter((result): result is CaptionResult => result.kind === 'caption');
  const failed: Record<string, number> = {};
  for (const result of results) if (result.kind === 'failed') failed[result.code] = (failed[result.code] ?? 0) + 1;
  const sum = (value: (result: CaptionResult) => number): number =>
    captions.reduce((total, result) => total + value(result), 0);
  return {
    concurrency,
    captions: captions.length,
    refused: results.filter(({ kind }) => kind === 'refused').length,
    left: results.filter(({ kind }) => kind === 'disconnected').length,
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

/** The levels as a text table, one line each. */
export function levelTable(levels: readonly LevelSummary[]): string {
  const rows = [HEAD, ...levels.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) => row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('  ')).join('\n');
}
