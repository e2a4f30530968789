// A server of this checkout for the benchmarks: built code, a free port, its processes' memory.
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeChildren } from '../fixtures/child-processes.ts';
import type { ClipFile } from '../../src/lab/loadtest/load-test.ts';
import { sampleFilm } from '../../src/lab/synthetic/sample-film.ts';

export interface BenchServer {
  readonly url: string;
  /** resident set of the server and of its engine process, in MiB */
  memory(): { readonly server: number; readonly engine: number };
  /** CPU time of the two event loops so far (main threads, Linux), in ms */
  eventLoops(): { readonly server: number; readonly engine: number };
  /** value of a metric without labels */
  metric(name: string): Promise<number>;
  close(): Promise<void>;
}

/** The example clips of the bundled model. */
export async function readExampleClips(): Promise<ClipFile[]> {
  const examples = join(ROOT, 'models/avocado-nano/examples');
  const names = (await readdir(examples)).filter((name) => name.endsWith('.mp4'));
  return Promise.all(
    names.map(async (name) => ({ name, bytes: Uint8Array.from(await readFile(join(examples, name))) })),
  );
}

/** A film of the synthetic world, made in `directory`. */
export async function makeFilm(directory: string, seed: number, minutes: number): Promise<ClipFile> {
  const name = `film-${seed}.mp4`;
  const path = join(directory, name);
  await sampleFilm({ seed, minutes }, path, new AbortController().signal);
  return { name, bytes: Uint8Array.from(await readFile(path)) };
}

const START_MS = 120_000;
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Resident set of a process. */
export function residentMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024;
}

function mainThreadMs(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
}

function untilPrinted(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const timer = setTimeout(() => {
      reject(new Error(`The server did not start: ${text}`));
    }, START_MS);
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const url = /page\s+(http:\/\/\S+)\//.exec(text)?.[1];
      if (url === undefined) return;
      clearTimeout(timer);
      resolve(url);
    });
    child.once('exit', (code) => {
      reject(new Error(`The server ended with ${code ?? 'a signal'}: ${text}`));
    });
  });
}

/**
 * Starts `avocado serve` on a free port and waits until it is ready.
 * @param root the checkout whose server it is; default: this one
 */
export async function startServer(flags: readonly string[], root = ROOT): Promise<BenchServer> {
  const child = spawn(process.execPath, [join(root, 'src/setup/avocado.mjs'), 'serve', '--port', '0', ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  process.once('exit', () => {
    child.kill('SIGKILL');
  });
  const url = await untilPrinted(child);
  await fetch(`${url}/metrics`); // what was longest since the last reading then begins after the start
  const pid = child.pid ?? 0;
  return {
    url,
    memory: () => ({
      server: residentMiB(pid),
      engine: nodeChildren(pid).reduce((sum, engine) => sum + residentMiB(engine), 0),
    }),
    eventLoops: () => ({
      server: mainThreadMs(pid),
      engine: nodeChildren(pid).reduce((sum, engine) => sum + mainThreadMs(engine), 0),
    }),
    metric: async (name) => {
      const text = await (await fetch(`${url}/metrics`)).text();
      return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? NaN);
    },
    close: async () => {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await gone;
    },
  };
}

/** Least-squares slope of a value, an hour. */
export function slopeAnHour<Reading extends { readonly minutes: number }>(
  readings: readonly Reading[],
  value: (reading: Reading) => number,
): number {
  const mean = (of: (reading: Reading) => number): number =>
    readings.reduce((sum, reading) => sum + of(reading), 0) / readings.length;
  const [meanX, meanY] = [mean(({ minutes }) => minutes), mean(value)];
  const top = readings.reduce((sum, reading) => sum + (reading.minutes - meanX) * (value(reading) - meanY), 0);
  return (60 * top) / readings.reduce((sum, { minutes }) => sum + (minutes - meanX) ** 2, 0);
}
