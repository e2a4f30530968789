import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRuntime } from '../../../src/model/runtime/open-runtime.ts';
import { encodeModel } from '../../../src/model/graphs/onnx-model.ts';
import { blocksOf, quantisedBytes, quantiseRows, type QuantisedFormat } from '../../../src/model/export/quantise.ts';
import type { Runtime } from '../../../src/model/runtime/runtime.ts';
import { dequantiseRows } from '../../fixtures/dequantise.ts';
import { largestDifference } from '../../fixtures/compare-numbers.ts';
import { seeded } from '../../fixtures/fixed-run.ts';
import { floats } from '../../fixtures/tiny-graphs.ts';

type Bits = QuantisedFormat['bits'];

/** As the exports for a CPU. */
const formatOf = (bits: Bits): QuantisedFormat => ({ bits, blockSize: 32, scaleType: 'F32' });

interface Quantised {
  readonly packed: Uint8Array<ArrayBuffer>;
  readonly scales: Float32Array<ArrayBuffer>;
}

function quantise(values: Float32Array, rows: number, k: number, bits: Bits): Quantised {
  const bytes = quantisedBytes(rows, k, formatOf(bits));
  const packed = new Uint8Array(bytes.packed);
  const scales = new Float32Array(bytes.scales / 4);
  expect(quantiseRows(values, k, formatOf(bits), packed, scales)).toBe(true);
  return { packed, scales };
}

function squaredError(values: Float32Array, restored: Float32Array): number {
  return values.reduce((sum, value, index) => sum + (value - (restored[index] ?? NaN)) ** 2, 0);
}

/** The squared error when one fixed rule makes every block's scale, in plain arithmetic. */
function errorOfRule(values: Float32Array, rule: (block: number[]) => number): number {
  let sum = 0;
  for (let from = 0; from < values.length; from += 32) {
    const block = [...values.subarray(from, from + 32)];
    const scale = Math.fround(rule(block));
    for (const value of block) sum += (value - Math.min(7, Math.max(-8, Math.round(value / scale))) * scale) ** 2;
  }
  return sum;
}

describe('Quantised rows', () => {
  const values = seeded(64 * 96, 5).map((value) => value ** 3);

  it.each([
    [4, 7],
    [8, 127],
  ] as const)('lie within half a step of the original (%i bits)', (bits, steps) => {
    const { packed, scales } = quantise(values, 64, 96, bits);
    const restored = dequantiseRows(packed, scales, 64, 96, formatOf(bits));
    for (const [index, value] of values.entries()) {
      const scale = Math.abs(scales[Math.floor(index / 32)] ?? 0);
      const peak = Math.max(...values.subarray(index - (index % 32), index - (index % 32) + 32).map(Math.abs));
      expect(scale).toBeLessThanOrEqual((peak / steps) * 1.000001);
      // Code +8 does not exist, so the value opposite to the peak may be wrong by up to a whole step.
      expect(Math.abs(value - (restored[index] ?? NaN))).toBeLessThanOrEqual(
        scale * 1.0001 * (bits === 4 && Math.abs(value) > 7 * scale ? 1 : 0.5),
      );
    }
  });

  it('choose for each block the better of two scales', () => {
    const { packed, scales } = quantise(values, 64, 96, 4);
    const ours = squaredError(values, dequantiseRows(packed, scales, 64, 96, formatOf(4)));
    const asymmetric = errorOfRule(
      values,
      (block) => block.reduce((peak, value) => (Math.abs(value) > Math.abs(peak) ? value : peak), 0) / -8,
    );
    const even = errorOfRule(values, (block) => Math.max(...block.map(Math.abs)) / 7);
    expect(ours).toBeLessThan(0.98 * Math.min(asymmetric, even));
  });

  it('keep a single value and zeros exactly', () => {
    const lone = new Float32Array(64);
    lone[40] = 0.37;
    const { packed, scales } = quantise(lone, 1, 64, 4);
    const restored = dequantiseRows(packed, scales, 1, 64, formatOf(4));
    expect(largestDifference(restored, lone)).toBeLessThan(1e-7);
    expect(scales[0]).toBe(0);
  });

  it('keep tiny and zero blocks finite', () => {
    const { packed, scales } = quantise(new Float32Array(32).fill(1e-40), 1, 32, 8);
    expect([...dequantiseRows(packed, scales, 1, 32, formatOf(8))]).toEqual(new Array(32).fill(0));
  });

  it('pad the last block of a row that is no multiple of 32 wide', () => {
    const odd = seeded(3 * 37, 6);
    const { packed, scales } = quantise(odd, 3, 37, 4);
    expect(packed.length).toBe(3 * 2 * 16);
    // Column 36 shares its byte with padding, which must be the code of zero.
    expect((packed[16 + 2] ?? 0) >> 4).toBe(8);
    expect([...packed.subarray(16 + 3, 32)]).toEqual(new Array(13).fill(0x88));
    const restored = dequantiseRows(packed, scales, 3, 37, formatOf(4));
    expect(largestDifference(restored, odd)).toBeLessThan(0.16);
  });

  it('are refused when a weight is infinite', () => {
    const broken = Float32Array.of(...new Array<number>(31).fill(1), Infinity);
    expect(quantiseRows(broken, 32, formatOf(4), new Uint8Array(16), new Float32Array(1))).toBe(false);
  });
});

describe('onnxruntime reads our layout', () => {
  let directory: string;
  let runtime: Runtime;
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'avocado-quantise-'));
    runtime = await openRuntime({ runtime: undefined, device: { type: 'cpu' } });
  });
  afterAll(async () => {
    await runtime.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** x [4, k] · Wᵀ by MatMulNBits, from a file that holds packed weights, then scales. */
  async function multiply(
    { packed, scales }: Quantised,
    n: number,
    k: number,
    bits: Bits,
    accuracy: number,
    x: Float32Array,
  ): Promise<Float32Array> {
    const file = join(directory, `${n}-${k}-${bits}-${accuracy}.bin`);
    writeFileSync(file, Buffer.concat([packed, new Uint8Array(scales.buffer)]));
    const int = (value: number): { type: 'int'; value: number } => ({ type: 'int', value });
    const model = encodeModel({
      name: 'matmul',
      nodes: [
        {
          name: 'y',
          opType: 'MatMulNBits',
          domain: 'com.microsoft',
          inputs: ['x', 'packed', 'scales'],
          outputs: ['y'],
          attributes: { K: int(k), N: int(n), bits: int(bits), block_size: int(32), accuracy_level: int(accuracy) },
        },
      ],
      initializers: [
        {
          name: 'packed',
          dtype: 'uint8',
          dims: [n, blocksOf(k, formatOf(bits)), 4 * bits],
          data: { file, offset: 0, bytes: packed.length },
        },
        {
          name: 'scales',
          dtype: 'float32',
          dims: [n, blocksOf(k, formatOf(bits))],
          data: { file, offset: packed.length, bytes: scales.byteLength },
        },
      ],
      inputs: [{ name: 'x', dtype: 'float32', dims: [4, k] }],
      outputs: [{ name: 'y', dtype: 'float32', dims: [4, n] }],
    });
    const session = await runtime.createSession(model, {
      device: { type: 'cpu' },
      threads: 1,
      spinning: false,
      disablePrepacking: false,
    });
    const y = floats([4, n]);
    await session.run({ x: floats([4, k], [...x]) }, { y });
    await session.release();
    return y.data;
  }

  function reference(weights: Float32Array, n: number, k: number, x: Float32Array): Float32Array {
    return Float32Array.from({ length: 4 * n }, (_, index) => {
      let sum = 0;
      for (let column = 0; column < k; column++)
        sum += (x[Math.floor(index / n) * k + column] ?? 0) * (weights[(index % n) * k + column] ?? 0);
      return sum;
    });
  }

  it.each([
    [4, 48, 64],
    [4, 33, 112],
    [8, 48, 64],
    [8, 20, 107],
  ] as const)('with %i bits, %i x %i', async (bits, n, k) => {
    const quantised = quantise(seeded(n * k, n + k), n, k, bits);
    const x = seeded(4 * k, 9);
    const expected = reference(dequantiseRows(quantised.packed, quantised.scales, n, k, formatOf(bits)), n, k, x);
    expect(Math.max(...expected.map(Math.abs))).toBeGreaterThan(3);
    expect(largestDifference(await multiply(quantised, n, k, bits, 0, x), expected)).toBeLessThan(2e-5);
    // Level 4 rounds x to 8 bits per block of 32.
    expect(largestDifference(await multiply(quantised, n, k, bits, 4, x), expected)).toBeLessThan(0.1);
  });
});
