// What int4 costs on a CPU at full size, in two processes so that each has its own peak:
//   tsx test/bench/decode-7b.ts --stage export --model CHECKPOINT --out EXPORT
//   tsx test/bench/decode-7b.ts --stage decode --model EXPORT [--context 1024] [--tokens 32] [--slots 1] [--spin]
//     [--threads 2] [--towers]
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { decoderMatrices } from '../../src/model/export/quantised-weights.ts';
import { exportModel } from '../../src/model/export/export.ts';
import { loadThinker, type LoadedThinker } from '../../src/model/execution/load-thinker.ts';

const { values } = parseArgs({
  options: {
    stage: { type: 'string' },
    model: { type: 'string' },
    out: { type: 'string' },
    context: { type: 'string', default: '1024' },
    tokens: { type: 'string', default: '32' },
    slots: { type: 'string', default: '1' },
    chunk: { type: 'string', default: '128' },
    threads: { type: 'string', default: '0' },
    runtime: { type: 'string', default: 'native' },
    spin: { type: 'boolean', default: false },
    towers: { type: 'boolean', default: false },
  },
});

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

/** Of memory that is resident now: what is this process's own, and what are mapped files. */
function memory(): { readonly rss: number; readonly own: number; readonly mapped: number; readonly peak: number } {
  const status = readFileSync('/proc/self/status', 'utf8');
  const field = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0) * 1024;
  return { rss: field('VmRSS'), own: field('RssAnon'), mapped: field('RssFile'), peak: field('VmHWM') };
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

async function measureExport(model: string, out: string): Promise<void> {
  const elapsed = await seconds(() => exportModel(model, 'int4', out));
  const bytes = statSync(join(out, 'weights.bin')).size;
  const { peak } = memory();
  console.log(`int4 export: ${elapsed.toFixed(1)} s, weights.bin ${gigabytes(bytes)}, peak memory ${gigabytes(peak)}`);
  console.log(JSON.stringify({ bench: 'int4-export', seconds: elapsed, bytes, peakBytes: peak }));
}

/** One clip's worth of both towers: 4 steps of 20 x 28 patches and 10 s of sound. */
async function encode({ thinker, config }: LoadedThinker): Promise<void> {
  const { vision, audio } = config;
  const patches = new Float32Array(4 * 560 * vision.channels * vision.temporalPatchSize * vision.patchSize ** 2).fill(
    0.1,
  );
  const vision_ = await seconds(() => thinker.towers.encodeVision(patches, 4, 20, 28));
  console.log(`vision tower, 2240 patches: ${vision_.toFixed(2)} s with loading, ${gigabytes(memory().rss)} resident`);
  const audio_ = await seconds(() =>
    thinker.towers.encodeAudio(new Float32Array(audio.melBins * 1000).fill(0.1), 1000),
  );
  console.log(`audio tower, 10 s: ${audio_.toFixed(2)} s with loading, ${gigabytes(memory().rss)} resident`);
}

async function prefill({ thinker, config }: LoadedThinker, slot: number, tokens: number, chunk: number): Promise<void> {
  for (let start = 0; start < tokens; start += chunk) {
    const count = Math.min(chunk, tokens - start);
    const ids = Int32Array.from(
      { length: count },
      (_, index) => (start + index * 31) % Math.min(config.text.vocabSize, 100_000),
    );
    const positions = Int32Array.from({ length: 3 * count }, (_, index) => start + (index % count));
    const media = { mediaRows: new Int32Array(0), mediaEmbeds: new Float32Array(0) };
    await thinker.decoder.prefill({ slot, start, ids, positions, ...media, wantLogits: start + count === tokens });
  }
}

/** Bytes of int4 weights that every token reads: blocks of 128 with an f32 scale, the head in int8. */
function bytesOfToken({ text }: LoadedThinker['config']): number {
  const { layers, head } = decoderMatrices(text);
  const scale = 4 / 128;
  const inLayers = layers.reduce((sum, { n, k }) => sum + n * k, 0);
  return inLayers * (0.5 + scale) + head.n * head.k * (1 + scale);
}

const READER = `
const { parentPort } = require('node:worker_threads');
const half = 1 << 28;
const [left, right] = [Buffer.alloc(half, 1), Buffer.alloc(half, 1)];
parentPort.on('message', () => {
  const start = performance.now();
  let bytes = 0;
  for (; performance.now() - start < 2000; bytes += 2 * half) left.compare(right);
  parentPort.postMessage((1000 * bytes) / (performance.now() - start));
});
parentPort.postMessage('ready');
`;

/** Bytes a second that so many threads read at once from memory: memcmp of equal blocks of 256 MiB. */
async function memoryBandwidth(threads: number): Promise<number> {
  const readers = Array.from({ length: threads }, () => new Worker(READER, { eval: true }));
  const answers = async (): Promise<number[]> =>
    (await Promise.all(readers.map((reader) => once(reader, 'message')))).map(([answer]) => Number(answer));
  await answers();
  const rates = answers();
  for (const reader of readers) reader.postMessage('go');
  const total = (await rates).reduce((sum, rate) => sum + rate, 0);
  await Promise.all(readers.map((reader) => reader.terminate()));
  return total;
}

async function measureDecode(model: string): Promise<void> {
  const context = Number(values.context);
  const slots = Number(values.slots);
  const tokens = Number(values.tokens);
  const options = {
    modelDir: model,
    device: { type: 'cpu' } as const,
    runtime: values.runtime as 'native' | 'node',
    slots,
    capacity: 32_768,
  };
  const loaded = await loadThinker({ ...options, threads: Number(values.threads), spinning: values.spin });
  if (values.towers) await encode(loaded);
  const load = await seconds(() => prefill(loaded, 0, 1, 1));
  await loaded.thinker.decoder.free(0);
  console.log(`decoder loaded and one token run in ${load.toFixed(1)} s, ${gigabytes(memory().rss)} resident`);
  const prefillSeconds = await seconds(async () => {
    for (let slot = 0; slot < slots; slot++) await prefill(loaded, slot, context, Number(values.chunk));
  });
  const steps: number[] = [];
  const cpuBefore = process.cpuUsage();
  for (let step = 0; step < tokens; step++) {
    const rows = Array.from({ length: slots }, (_, slot) => ({ slot, token: 100 + step, position: context + step }));
    steps.push(1000 * (await seconds(() => loaded.thinker.decoder.decode(rows))));
  }
  const cpu = process.cpuUsage(cpuBefore);
  const cpuMs = (cpu.user + cpu.system) / 1000 / tokens;
  steps.sort((a, b) => a - b);
  const [best = 0] = steps;
  const median = steps[steps.length >> 1] ?? 0;
  const { rss, own, mapped, peak } = memory();
  const bandwidth = await memoryBandwidth(Number(values.threads) || availableParallelism());
  const share = bytesOfToken(loaded.config) / (median / 1000) / bandwidth;
  const prefillRate = (context * slots) / prefillSeconds;
  console.table({
    'prefill tokens/s': prefillRate,
    'step, median ms': median,
    'step, best ms': best,
    'step, ms of CPU time': cpuMs,
    'memory, GB/s': bandwidth / 1e9,
    'step, share of it': share,
  });
  console.log(
    `resident ${gigabytes(rss)} (own ${gigabytes(own)}, mapped ${gigabytes(mapped)}), peak ${gigabytes(peak)}`,
  );
  const settings = {
    context,
    slots,
    threads: Number(values.threads),
    spin: values.spin,
    runtime: loaded.thinker.description['runtime'],
  };
  const figures = {
    loadSeconds: load,
    prefillTokensPerSecond: prefillRate,
    stepMsMedian: median,
    stepMsBest: best,
    stepCpuMs: cpuMs,
    bandwidth,
    bandwidthShare: share,
    rss,
    own,
    mapped,
    peak,
  };
  console.log(JSON.stringify({ bench: 'decode-7b', ...settings, ...figures }));
  await loaded.thinker.close();
}

const { stage, model, out } = values;
if (model !== undefined && stage === 'decode') await measureDecode(model);
else if (model !== undefined && out !== undefined && stage === 'export') await measureExport(model, out);
else
  throw new Error(
    'Usage: tsx test/bench/decode-7b.ts --stage export --model CHECKPOINT --out EXPORT | --stage decode --model EXPORT',
  );
