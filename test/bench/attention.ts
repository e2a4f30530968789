// One layer's attention in a decode step on a CPU: ours (native/attention.h) beside onnxruntime's, in turn. Usage:
// npx tsx test/bench/attention.ts [--rounds N] [--threads N]
import { parseArgs } from 'node:util';
import { openRuntime } from '../../src/model/runtime/open-runtime.ts';
import type { Session } from '../../src/model/runtime/runtime.ts';
import { attentionCase, runAttention, type AttentionCase, type AttentionShape } from '../fixtures/attention-case.ts';
import { attentionGraph } from '../fixtures/tiny-graphs.ts';
import { median } from './median.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '15' }, threads: { type: 'string', default: '2' } },
});
const RUNS = 10;

const same = (sequences: number, tokens: number): number[] => new Array<number>(sequences).fill(tokens - 1);
const SHAPES: Readonly<Record<string, AttentionShape>> = {
  'nano, 1 x 640 tokens': { heads: 4, kvHeads: 2, size: 64, lasts: same(1, 640) },
  'nano, 8 x 640 tokens': { heads: 4, kvHeads: 2, size: 64, lasts: same(8, 640) },
  '7B, 1 x 1,000 tokens': { heads: 28, kvHeads: 4, size: 128, lasts: same(1, 1000) },
  '7B, 1 x 8,000 tokens': { heads: 28, kvHeads: 4, size: 128, lasts: same(1, 8000) },
  '7B, 1 x 28,100 tokens (a clip of 100 s)': { heads: 28, kvHeads: 4, size: 128, lasts: same(1, 28_100) },
  '7B, 4 x 8,000 tokens': { heads: 28, kvHeads: 4, size: 128, lasts: same(4, 8000) },
};

/** Of one run, the mean of a few. */
async function milliseconds(session: Session, tensors: AttentionCase): Promise<number> {
  const started = performance.now();
  for (let run = 0; run < RUNS; run++) await runAttention(session, tensors);
  return (performance.now() - started) / RUNS;
}

const device = { type: 'cpu' } as const;
const runtime = await openRuntime({ runtime: 'native', device });
const options = { device, threads: Number(values.threads), spinning: false, disablePrepacking: false };
const rows: Record<string, Record<string, number>> = {};
for (const [name, shape] of Object.entries(SHAPES)) {
  const graph = attentionGraph('float32', shape.size, shape.heads, shape.kvHeads);
  const [own, theirs] = [
    await runtime.createSession(graph, { ...options, ownKernels: true }),
    await runtime.createSession(graph, options),
  ];
  const tensors = attentionCase(shape);
  const found: { readonly own: number; readonly theirs: number }[] = [];
  for (let round = 0; round < Number(values.rounds); round++)
    found.push({ theirs: await milliseconds(theirs, tensors), own: await milliseconds(own, tensors) });
  const ours = median(found.map((each) => each.own));
  rows[name] = {
    'onnxruntime ms': Number(median(found.map((each) => each.theirs)).toFixed(3)),
    'ours ms': Number(ours.toFixed(3)),
    ratio: Number(median(found.map((each) => each.theirs / each.own)).toFixed(2)),
    'ours GB/s': Number(((tensors.keys.data.byteLength + tensors.values.data.byteLength) / ours / 1e6).toFixed(1)),
  };
  await Promise.all([own.release(), theirs.release()]);
}
console.table(rows);
await runtime.close();
