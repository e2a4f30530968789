// Eight different clips of a minute sent at once: how long files, encoders, prefill and decode steps were busy, and how
// long an encoder ran beside the decoder, as /metrics counts them (avocado_busy_seconds_total). Usage:
// npx tsx test/bench/overlap.ts [--requests 8] [--rounds 3] [--min-tokens 256] [--model DIR]
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { defaultModelDirectory } from '../../src/base/package-files.ts';
import { clipSender } from '../../src/lab/loadtest/caption-client.ts';
import type { ClipFile } from '../../src/lab/loadtest/load-test.ts';
import { makeFilm, startServer } from './served.ts';

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '8' },
    rounds: { type: 'string', default: '3' },
    'min-tokens': { type: 'string', default: '256' },
    model: { type: 'string', default: defaultModelDirectory() },
  },
});

const never = new AbortController().signal;
const directory = await mkdtemp(join(tmpdir(), 'avocado-overlap-'));
async function busySeconds(url: string): Promise<Record<string, number>> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const found = text.matchAll(/^avocado_busy_seconds_total\{part="(\w+)"\} (\S+)$/gm);
  return Object.fromEntries([...found].map(([, part = '', seconds]) => [part, Number(seconds)]));
}

const server = await startServer(['--slots', values.requests, '--media-cache-bytes', '0', '--model', values.model]);
const tokens = { min_tokens: values['min-tokens'], max_tokens: values['min-tokens'] };
const send = clipSender({ url: server.url, apiKey: undefined, fields: tokens });
const HEARTBEAT_MS = 500; // the engine tells its numbers four times a second
const wait = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, HEARTBEAT_MS));
try {
  for (let round = 0; round < Number(values.rounds); round++) {
    const seeds = Array.from({ length: Number(values.requests) }, (_, index) => 1 + round * 100 + index);
    const clips: ClipFile[] = [];
    for (const seed of seeds) clips.push(await makeFilm(directory, seed, 1));
    await wait();
    const before = await busySeconds(server.url);
    const started = performance.now();
    const results = await Promise.all(clips.map((clip) => send(clip, undefined, never)));
    const wall = (performance.now() - started) / 1000;
    await wait();
    const after = await busySeconds(server.url);
    const spent = (part: string): number => (after[part] ?? NaN) - (before[part] ?? NaN);
    const device = spent('encoders') + spent('prefill') + spent('decode') - spent('overlap');
    const captions = results.filter(({ kind }) => kind === 'caption').length;
    console.log(
      `round ${round + 1}: ${captions} captions in ${wall.toFixed(2)} s; model busy ${(device / wall).toFixed(2)}`,
    );
    const rows = ['files', 'encoders', 'prefill', 'decode', 'overlap'].map((part) => [
      part,
      { seconds: Number(spent(part).toFixed(2)), 'of the time': Number((spent(part) / wall).toFixed(2)) },
    ]);
    console.table(Object.fromEntries(rows));
  }
} finally {
  await server.close();
  await rm(directory, { recursive: true, force: true });
}
