// The short history of each bench, so that a slip is seen: what it gave before on a machine like this one.
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const HISTORY = fileURLToPath(new URL('history.jsonl', import.meta.url));

/** Figures of one run: ratios where possible, names with their unit otherwise. */
export type Figures = Readonly<Record<string, number>>;

interface Entry {
  /** the bench and the options that change what it measures */
  readonly bench: string;
  readonly commit: string;
  /** year-month-day */
  readonly date: string;
  readonly machine: string;
  readonly figures: Figures;
}

function git(...args: readonly string[]): string {
  return execFileSync('git', args, { cwd: fileURLToPath(new URL('.', import.meta.url)), encoding: 'utf8' }).trim();
}

/** A change of the code makes the commit's name a half-truth, which a + says. */
function commit(): string {
  const changed = git(
    'status',
    '--porcelain',
    '--untracked-files=no',
    '--',
    ':/src',
    ':/native',
    ':/package-lock.json',
  );
  return git('rev-parse', '--short', 'HEAD') + (changed === '' ? '' : '+');
}

function machine(): string {
  return `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.versions.node.split('.')[0] ?? ''}`;
}

function entries(): Entry[] {
  if (!existsSync(HISTORY)) return [];
  const lines = readFileSync(HISTORY, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Entry);
}

/**
 * Prints what the same bench gave last on a machine like this one, and with `isKept` appends this run to
 * `test/bench/history.jsonl`.
 * @param bench names the bench and every option that changes its figures
 */
export function compareWithHistory(bench: string, figures: Figures, isKept: boolean): void {
  const now: Entry = {
    bench,
    commit: commit(),
    date: new Date().toISOString().slice(0, 10),
    machine: machine(),
    figures: Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, Number(value.toPrecision(4))])),
  };
  const last = entries().findLast((entry) => entry.bench === bench && entry.machine === now.machine);
  if (last === undefined) console.log(`No earlier run of ${bench} on ${now.machine}.`);
  else
    for (const [name, value] of Object.entries(now.figures)) {
      const before = last.figures[name];
      if (before !== undefined)
        console.log(
          `${name}: ${value}, was ${before} at ${last.commit} (${last.date}): ${(value / before).toFixed(2)} ×`,
        );
    }
  if (isKept) appendFileSync(HISTORY, `${JSON.stringify(now)}\n`);
}
