import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { quantisedBytes, quantiseRows, type QuantisedFormat } from '../../../src/model/export/quantise.ts';
import { writeVariant } from '../../fixtures/checkpoint-variants.ts';
import { dequantiseRows } from '../../fixtures/dequantise.ts';
import { golden } from '../../fixtures/golden.ts';
import { largestDifference } from '../../fixtures/compare-numbers.ts';
import { runFixed, type FixedRun } from '../../fixtures/fixed-run.ts';

/** Root mean square of the difference, relative to that of the exact values. */
function relativeError(ours: Float32Array, exact: Float32Array): number {
  const squares = (values: Float32Array): number => values.reduce((sum, value) => sum + value * value, 0);
  return Math.sqrt(squares(ours.map((value, index) => value - (exact[index] ?? NaN))) / squares(exact));
}

describe.each(['tiny-a', 'tiny-b'] as const)('The int4 export of %s', (name) => {
  let cacheDir: string;
  let exact: FixedRun;
  let quantised: FixedRun;
  beforeAll(async () => {
    cacheDir = mkdtempSync(join(tmpdir(), 'avocado-int4-'));
    const directory = join(golden(`checkpoints/${name}/config.json`), '..');
    exact = await runFixed(directory, { cacheDir });
    quantised = await runFixed(directory, { cacheDir, precision: 'int4' });
  });
  afterAll(() => {
    rmSync(cacheDir, { recursive: true, force: true });
  });

  // Measured on these random weights, which amplify rounding: vision 0.047, audio 0.015, logits 0.24 to 0.44.
  it('has towers close to fp32', () => {
    expect(relativeError(quantised.vision, exact.vision)).toBeLessThan(0.08);
    expect(relativeError(quantised.audio, exact.audio)).toBeLessThan(0.08);
  });

  it('has logits near fp32', () => {
    for (const [step, logits] of exact.logits.entries()) {
      expect(relativeError(quantised.logits[step] ?? new Float32Array(0), logits)).toBeLessThan(0.6);
    }
  });

  it('is not fp32 under another name', () => {
    expect(
      largestDifference(quantised.logits[0] ?? new Float32Array(0), exact.logits[0] ?? new Float32Array(0)),
    ).toBeGreaterThan(0.01);
  });

  it('computes the same with resident and with on-demand towers', async () => {
    const directory = join(golden(`checkpoints/${name}/config.json`), '..');
    const resident = await runFixed(directory, { cacheDir, precision: 'int4', towers: 'resident' });
    expect(resident).toEqual(quantised);
  });
});

it('int8 on a CPU is close to fp32', async () => {
  const cacheDir = mkdtempSync(join(tmpdir(), 'avocado-int8-'));
  try {
    const directory = join(golden('checkpoints/tiny-a/config.json'), '..');
    const exact = await runFixed(directory, { cacheDir });
    const { logits } = await runFixed(directory, { cacheDir, precision: 'int8' });
    const errors = logits.map((row, step) => relativeError(row, exact.logits[step] ?? new Float32Array(0)));
    // Measured 0.05 to 0.09: these random weights amplify the rounding of activations to 8 bits.
    expect(Math.max(...errors)).toBeLessThan(0.2);
  } finally {
    rmSync(cacheDir, { recursive: true, force: true });
  }
});

/** Weights of linear layers quantised and restored as int4 does; all other weights unchanged. */
function roundTrip(name: string, values: Float32Array, shape: readonly number[]): Float32Array {
  const [n = 0, k = 0] = shape;
  if (shape.length !== 2 || /embed_tokens|audio_bos_eos/.test(name)) return values;
  const bits = name.startsWith('model.layers.') ? 4 : 8;
  const format: QuantisedFormat = { bits, blockSize: 128, scaleType: 'F32' };
  const bytes = quantisedBytes(n, k, format);
  const packed = new Uint8Array(bytes.packed);
  const scales = new Float32Array(bytes.scales / 4);
  quantiseRows(values, k, format, packed, scales);
  return dequantiseRows(packed, scales, n, k, format);
}

it('What int4 adds to rounded weights is the rounding of activations', async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'avocado-int4-'));
  try {
    const cacheDir = join(scratch, 'cache');
    const rounded = await runFixed(
      writeVariant(join(scratch, 'rounded'), { base: 'tiny-a', dtype: 'F32', values: roundTrip }),
      { cacheDir },
    );
    const int4 = await runFixed(join(golden('checkpoints/tiny-a/config.json'), '..'), { cacheDir, precision: 'int4' });
    const all = (run: FixedRun): Float32Array[] => [run.vision, run.audio, ...run.logits];
    const errors = all(int4).map((values, index) => relativeError(values, all(rounded)[index] ?? new Float32Array(0)));
    // Measured 0.009 to 0.061, where rounding the weights costs 0.3.
    expect(Math.max(...errors)).toBeLessThan(0.1);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});
