// What became of a run, as an object and as text.
import type { ErrorCode } from '../base/errors.ts';
import { tokenDetails } from '../output/caption-answer.ts';
import type { CaptionEnd } from '../output/events.ts';
import type { DoneState } from './item-work.ts';
import { durationText, failuresText, type FailureCounts } from './progress.ts';
import type { Settled } from './runner.ts';

/** How entries ended; the numbers add up to those that were listed. */
export type Outcome = DoneState | 'failed' | 'failed-before' | 'fault' | 'repeated' | 'open';

const MEANINGS: Readonly<Record<Outcome, string>> = {
  captioned: 'captioned',
  duplicate: 'taken from a caption of the same bytes',
  written: 'sidecars made again',
  unchanged: 'done before',
  'other-settings': 'captioned with other settings, kept',
  elsewhere: 'done by another process',
  repeated: 'listed twice',
  failed: 'failed',
  'failed-before': 'failed before',
  fault: 'entries that could not be read',
  open: 'not done yet',
};

const SLOWEST = 10;

export interface Report {
  readonly listed: number;
  readonly outcomes: Readonly<Record<Outcome, number>>;
  /** of failures of this run, of earlier ones, and of entries that could not be read */
  readonly failures: Readonly<Partial<Record<ErrorCode, number>>>;
  /** sidecars that a person or another program changed or made: kept as they are */
  readonly kept: readonly string[];
  readonly keptCount: number;
  readonly mediaSeconds: number;
  readonly wallSeconds: number;
  readonly tokens: { readonly prompt: Readonly<Record<string, number>>; readonly completion: number };
  readonly stageSeconds: Readonly<Record<string, number>>;
  readonly slowest: readonly { readonly path: string; readonly seconds: number; readonly mediaSeconds: number }[];
  readonly engineRestarts: number;
}

/** Most kept sidecars that the report names. */
const MOST_KEPT = 100;

/** Adds up how the entries of a run ended. */
export class Tally {
  readonly outcomes = Object.fromEntries(Object.keys(MEANINGS).map((name) => [name, 0])) as Record<Outcome, number>;
  readonly failures = new Map<ErrorCode, number>();
  readonly #kept: string[] = [];
  #keptCount = 0;
  mediaSeconds = 0;
  #completion = 0;
  readonly #prompt: Record<string, number> = {};
  readonly #stages: Record<string, number> = {};
  #slowest: Report['slowest'] = [];

  get listed(): number {
    return Object.values(this.outcomes).reduce((sum, count) => sum + count, 0);
  }

  /** entries that were worked on */
  get worked(): number {
    const { captioned, duplicate, failed } = this.outcomes;
    return captioned + duplicate + failed;
  }

  add(settled: Settled): void {
    switch (settled.state) {
      case 'done':
        this.outcomes[settled.result.state] += 1;
        this.#addSidecars(settled);
        if (settled.result.end !== undefined) this.#addCaption(settled.known.names.path, settled.result.end);
        return;
      case 'failed':
        this.outcomes[settled.isNew ? 'failed' : 'failed-before'] += 1;
        this.#addFailure(settled.failure.code);
        return;
      case 'fault':
        this.outcomes.fault += 1;
        this.#addFailure(settled.fault.code);
        return;
      default:
        this.outcomes[settled.state] += 1;
    }
  }

  report(facts: Pick<Report, 'wallSeconds' | 'engineRestarts'>): Report {
    return {
      listed: this.listed,
      outcomes: this.outcomes,
      failures: Object.fromEntries(this.failures),
      kept: this.#kept,
      keptCount: this.#keptCount,
      mediaSeconds: this.mediaSeconds,
      wallSeconds: facts.wallSeconds,
      tokens: { prompt: this.#prompt, completion: this.#completion },
      stageSeconds: this.#stages,
      slowest: this.#slowest,
      engineRestarts: facts.engineRestarts,
    };
  }

  #addFailure(code: ErrorCode): void {
    this.failures.set(code, (this.failures.get(code) ?? 0) + 1);
  }

  #addSidecars({ known, result }: Settled & { readonly state: 'done' }): void {
    const now = result.sidecars.filter(({ outcome }) => outcome === 'kept').map(({ path }) => path);
    const before =
      result.state === 'unchanged'
        ? Object.entries(known.record?.outputs ?? {}).filter(([, { sha256 }]) => sha256 === '')
        : [];
    this.#keptCount += now.length + before.length;
    for (const name of [...now, ...before.map(([format]) => `${known.names.stem} (${format})`)])
      if (this.#kept.length < MOST_KEPT) this.#kept.push(name);
  }

  #addCaption(path: string, { usage, timings, media }: CaptionEnd): void {
    this.mediaSeconds += media.durationSeconds;
    this.#completion += usage.completionTokens;
    for (const [kind, count] of Object.entries(tokenDetails(usage.promptTokensByModality)))
      this.#prompt[kind] = (this.#prompt[kind] ?? 0) + Number(count);
    for (const [stage, seconds] of Object.entries(timings.stages))
      this.#stages[stage] = (this.#stages[stage] ?? 0) + seconds;
    const one = { path, seconds: timings.totalSeconds, mediaSeconds: media.durationSeconds };
    this.#slowest = [...this.#slowest, one].sort((left, right) => right.seconds - left.seconds).slice(0, SLOWEST);
  }
}

export function failureCounts({ failures }: Pick<Report, 'failures'>): FailureCounts {
  return new Map(Object.entries(failures) as [ErrorCode, number][]);
}

function hours(seconds: number): string {
  return seconds < 3600 ? durationText(seconds) : `${(seconds / 3600).toFixed(1)} h`;
}

/** @param failuresFile where each failure is told with its reason */
export function reportText(report: Report, shown: (path: string) => string, failuresFile: string): string {
  const { outcomes, tokens, stageSeconds, slowest, mediaSeconds, wallSeconds } = report;
  const lines = [`${report.listed} listed`];
  for (const [name, meaning] of Object.entries(MEANINGS) as [Outcome, string][])
    if (outcomes[name] > 0) lines.push(`  ${outcomes[name]} ${meaning}`);
  const failures = failureCounts(report);
  if (failures.size > 0) {
    lines.push(`failures: ${failuresText(failures)}`);
    lines.push(`  each with its reason in ${shown(failuresFile)}`);
  }
  if (report.keptCount > 0) {
    lines.push(`${report.keptCount} sidecars are not ours or were edited, and were kept:`);
    for (const path of report.kept.slice(0, SLOWEST)) lines.push(`  ${shown(path)}`);
  }
  if (outcomes.captioned > 0) {
    const rate = wallSeconds > 0 ? (mediaSeconds / wallSeconds).toFixed(1) : '–';
    lines.push(`${hours(mediaSeconds)} of media in ${durationText(wallSeconds)}: ${rate} hours an hour`);
    lines.push(`tokens in: ${numbersText(tokens.prompt)}; out: ${tokens.completion}`);
    lines.push(`seconds by stage, all captions together: ${numbersText(stageSeconds)}`);
    lines.push('slowest:');
    for (const { path, seconds, mediaSeconds: length } of slowest.slice(0, 5))
      lines.push(`  ${seconds.toFixed(1)} s for ${length.toFixed(1)} s: ${shown(path)}`);
  }
  if (report.engineRestarts > 0) lines.push(`engine restarts: ${report.engineRestarts}`);
  return `${lines.join('\n')}\n`;
}

function numbersText(numbers: Readonly<Record<string, number>>): string {
  return Object.entries(numbers)
    .filter(([, value]) => value > 0)
    .sort(([, left], [, right]) => right - left)
    .map(([name, value]) => `${name} ${Number.isInteger(value) ? value : value.toFixed(1)}`)
    .join(', ');
}
