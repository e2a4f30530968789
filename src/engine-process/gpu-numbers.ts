// What nvidia-smi says of the GPUs in use, for metrics: asked in the background, at most every few seconds, and never
// again where it is missing. Lives in this room because it starts a process.
import { execFile } from 'node:child_process';

export interface GpuNumbers {
  /** as nvidia-smi counts */
  readonly index: string;
  readonly memoryUsedBytes: number;
  readonly memoryTotalBytes: number;
  /** share of the last second or less in which it worked, 0 to 1 */
  readonly utilization: number;
  /** undefined where the card does not tell */
  readonly powerWatts: number | undefined;
}

const QUERY = [
  '--query-gpu=index,memory.used,memory.total,utilization.gpu,power.draw',
  '--format=csv,noheader,nounits',
];
const MIB = 1024 ** 2;
const ASK_EVERY_MS = 5000;
const PATIENCE_MS = 4000;

/** @returns undefined for a line that is none, such as an error that went to stdout */
function parseGpuLine(line: string): GpuNumbers | undefined {
  const [index = '', ...fields] = line.split(',').map((field) => field.trim());
  const [used, total, percent, watts] = fields.map(Number);
  if (used === undefined || total === undefined || percent === undefined || watts === undefined) return undefined;
  if (![used, total, percent].every(Number.isFinite)) return undefined;
  return {
    index,
    memoryUsedBytes: used * MIB,
    memoryTotalBytes: total * MIB,
    utilization: percent / 100,
    powerWatts: Number.isFinite(watts) ? watts : undefined,
  };
}

export function parseGpuLines(text: string): GpuNumbers[] {
  return text.split('\n').flatMap((line) => parseGpuLine(line) ?? []);
}

/**
 * @param devices of a captioner's model: `cpu`, `cuda:N`, or several between commas
 * @returns the latest numbers, none until there are some; each call may start a look for the next ones
 */
export function watchGpus(devices: string): () => readonly GpuNumbers[] {
  const cards = [...devices.matchAll(/cuda(?::(\d+))?/g)].map(([, index = '0']) => index);
  let latest: readonly GpuNumbers[] = [];
  if (cards.length === 0) return () => latest;
  let askedMs = -Infinity;
  let isMissing = false;
  return () => {
    if (!isMissing && performance.now() - askedMs >= ASK_EVERY_MS) {
      askedMs = performance.now();
      execFile('nvidia-smi', [`--id=${cards.join(',')}`, ...QUERY], { timeout: PATIENCE_MS }, (error, stdout) => {
        isMissing = error?.code === 'ENOENT';
        latest = error === null ? parseGpuLines(stdout) : [];
      });
    }
    return latest;
  };
}
