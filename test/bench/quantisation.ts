// What quantising weights changes, apart from the device: the weights are quantised as for CUDA (or a CPU), made
// numbers again and run in fp32, beside the checkpoint itself in fp32.
//   tsx test/bench/quantisation.ts [--device cuda|cpu] [--model DIR]
// The golden checkpoints have random weights, which amplify what is lost. Of --model (default: avocado-nano) also the
// captions of the sample clips are compared, greedy, word by word up to the first that differs.
import { mkdtempSync, rmSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openCaptioner } from '../../src/index.ts';
import type { QuantisedPrecision } from '../../src/settings/engine-settings.ts';
import { golden } from '../fixtures/golden.ts';
import { NANO, NANO_EXAMPLES } from '../fixtures/nano.ts';
import { deviation, numbersOf } from '../gpu/check/parity.ts';
import { exportRestored } from '../gpu/check/restored-weights.ts';
import { median } from './median.ts';

const { values } = parseArgs({
  options: { device: { type: 'string', default: 'cuda' }, model: { type: 'string', default: NANO } },
});
const device = values.device === 'cpu' ? 'cpu' : 'cuda';
const scratch = mkdtempSync(join(tmpdir(), 'avocado-quantisation-'));

async function logitsOf(checkpoint: string): Promise<readonly Float32Array[]> {
  const place = { checkpoint, cacheDir: scratch, device: { type: 'cpu' }, precision: 'fp32' } as const;
  return (await numbersOf(place)).decoder.rows;
}

/** Words of the captions of all sample clips. */
async function captionsOf(modelDir: string): Promise<string[][]> {
  const captioner = await openCaptioner({ model: modelDir, cacheDir: scratch });
  const captions: string[][] = [];
  try {
    for (const name of (await readdir(NANO_EXAMPLES)).filter((file) => file.endsWith('.mp4')).sort()) {
      for await (const event of captioner.caption(join(NANO_EXAMPLES, name), { temperature: 0 }))
        if (event.type === 'caption-end') captions.push(event.caption.split(/\s+/));
    }
  } finally {
    await captioner.close();
  }
  return captions;
}

interface Row {
  readonly checkpoint: string;
  readonly precision: QuantisedPrecision;
  /** of logits, |difference| / |logits| of a row: median and largest */
  readonly medianError: number;
  readonly worstError: number;
  readonly sameBestToken: string;
  readonly sameCaptions?: string;
  readonly wordsBeforeFirstDifference?: string;
}

async function compare(name: string, checkpoint: string, precision: QuantisedPrecision): Promise<Row> {
  const restored = await exportRestored(checkpoint, precision, device, join(scratch, `${name}-${precision}`));
  const [exact, found] = [await logitsOf(checkpoint), await logitsOf(restored)];
  const errors = exact.map((row, at) => deviation([row], [found[at] ?? new Float32Array(0)]).worstRelative);
  const { rows, sameLargest, worstRelative } = deviation(exact, found);
  const logits = { medianError: median(errors), worstError: worstRelative };
  const row = { checkpoint: name, precision, ...logits, sameBestToken: `${sameLargest} of ${rows}` };
  if (checkpoint !== values.model) return row;
  const [left, right] = [await captionsOf(checkpoint), await captionsOf(restored)];
  const before = left.map((words, at) => words.findIndex((word, place) => word !== right[at]?.[place]));
  const same = left.filter((words, at) => words.join(' ') === right[at]?.join(' ')).length;
  const total = left.reduce((sum, { length }) => sum + length, 0);
  const shared = before.reduce((sum, place, at) => sum + (place < 0 ? (left[at]?.length ?? 0) : place), 0);
  return {
    ...row,
    sameCaptions: `${same} of ${left.length}`,
    wordsBeforeFirstDifference: `${shared} of ${total}`,
  };
}

try {
  const rows: Row[] = [];
  const checkpoints = { 'tiny-a': golden('checkpoints/tiny-a'), 'tiny-b': golden('checkpoints/tiny-b') };
  for (const [name, checkpoint] of Object.entries({ ...checkpoints, model: values.model }))
    for (const precision of ['int8', 'int4'] as const) rows.push(await compare(name, checkpoint, precision));
  console.table(rows);
  console.log(JSON.stringify({ bench: 'quantisation', device, rows }));
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
