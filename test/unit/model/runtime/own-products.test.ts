// Our products with quantised weights (native/product.h), against the same sums in float64. With `npm run
// test:sanitizers` a compiler watches over it.
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nativeStatus } from '../../../../src/base/native.ts';
import { Random } from '../../../../src/base/random.ts';
import { openRuntime } from '../../../../src/model/runtime/open-runtime.ts';
import type { HostArray, Runtime, SessionOptions } from '../../../../src/model/runtime/runtime.ts';
import { floats, hostTensor, quantisedGraph } from '../../../fixtures/tiny-graphs.ts';

const BLOCK = 128;
const CPU = { type: 'cpu' } as const;
const OPTIONS: SessionOptions = {
  device: CPU,
  threads: 2,
  spinning: false,
  disablePrepacking: false,
  ownKernels: true,
};

/** Why there is no kernel of ours here, or undefined. */
function lack(): string | undefined {
  const native = nativeStatus();
  if (!native.loaded) return native.reason;
  const flags = process.platform === 'linux' ? readFileSync('/proc/cpuinfo', 'utf8') : '';
  return /\bavx512_vnni\b/.test(flags) ? undefined : 'This processor has no AVX-512 with VNNI.';
}

const reason = lack();
if (reason !== undefined) console.warn(`Skipped: test/unit/model/runtime/own-products.test.ts. ${reason}`);

interface Product {
  readonly bits: 4 | 8;
  readonly rows: number;
  readonly n: number;
  readonly k: number;
  readonly bias?: boolean;
}

interface Case {
  readonly x: Float32Array<ArrayBuffer>;
  readonly packed: Uint8Array<ArrayBuffer>;
  readonly scales: Float32Array<ArrayBuffer>;
  readonly bias: Float32Array<ArrayBuffer>;
}

function caseOf({ bits, rows, n, k }: Product): Case {
  const random = Random.fromSeed(bits * 1000 + n + k);
  const blocks = Math.ceil(k / BLOCK);
  const normal = (length: number, scale: number) =>
    Float32Array.from({ length }, () => scale * (2 * random.nextUnit() - 1));
  return {
    x: normal(rows * k, 3),
    packed: Uint8Array.from({ length: (n * blocks * BLOCK * bits) / 8 }, () => Math.floor(random.nextUnit() * 256)),
    scales: normal(n * blocks, 0.02),
    bias: normal(n, 1),
  };
}

/** The inputs of a row rounded to 8 bits, block by block, times the weights. */
function exactly({ bits, rows, n, k, bias = false }: Product, given: Case): Float64Array {
  const blocks = Math.ceil(k / BLOCK);
  const weight = (row: number, column: number): number => {
    const place = row * blocks * BLOCK + column;
    if (bits === 8) return (given.packed[place] ?? 0) - 128;
    return (((given.packed[place >> 1] ?? 0) >> (4 * (place & 1))) & 15) - 8;
  };
  const found = new Float64Array(rows * n);
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocks; block++) {
      const inputs = given.x.subarray(row * k + block * BLOCK, row * k + Math.min(k, (block + 1) * BLOCK));
      const largest = inputs.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const whole = inputs.map((value) => (largest === 0 ? 0 : evenRound(value * Math.fround(127 / largest))));
      for (let out = 0; out < n; out++) {
        const sum = whole.reduce((all, value, at) => all + value * weight(out, block * BLOCK + at), 0);
        found[row * n + out] =
          (found[row * n + out] ?? 0) + (sum * largest * (given.scales[out * blocks + block] ?? 0)) / 127;
      }
    }
  }
  return bias ? found.map((value, at) => value + (given.bias[at % n] ?? 0)) : found;
}

function evenRound(value: number): number {
  const single = Math.fround(value);
  const rounded = Math.round(single);
  return Math.abs(single % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

describe.skipIf(reason !== undefined)('our products with quantised weights', () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await openRuntime({ runtime: 'native', device: CPU });
  });
  afterAll(async () => {
    await runtime.close();
  });

  async function multiply(product: Product, given: Case, changes: Partial<SessionOptions> = {}, row?: number) {
    const { bits, n, k, bias = false } = product;
    const rows = row === undefined ? product.rows : 1;
    const graph = quantisedGraph(n, k, bits, BLOCK, bias);
    const session = await runtime.createSession(graph, { ...OPTIONS, ...changes });
    const y = floats([rows, n]);
    const blocks = Math.ceil(k / BLOCK);
    const x: HostArray = row === undefined ? given.x : given.x.slice(row * k, (row + 1) * k);
    const feeds = {
      x: hostTensor('float32', [rows, k], x),
      packed: hostTensor('uint8', [n, blocks, (BLOCK * bits) / 8], given.packed),
      scales: hostTensor('float32', [n, blocks], given.scales),
      ...(bias ? { bias: hostTensor('float32', [n], given.bias) } : {}),
    };
    await session.run(feeds, { y });
    await session.release();
    return y.data;
  }

  const PRODUCTS: readonly Product[] = ([4, 8] as const).flatMap((bits) => [
    { bits, rows: 1, n: 16, k: BLOCK },
    { bits, rows: 1, n: 37, k: 300, bias: true },
    { bits, rows: 2, n: 70, k: 17 * BLOCK },
    { bits, rows: 3, n: 33, k: 20 * BLOCK + 1, bias: true },
    { bits, rows: 1, n: 300, k: 9 * BLOCK },
    { bits, rows: 2, n: 10, k: 8 * BLOCK },
    { bits, rows: 7, n: 150, k: 3 * BLOCK },
    { bits, rows: 11, n: 64, k: 2 * BLOCK },
    { bits, rows: 13, n: 40, k: 17 * BLOCK },
    { bits, rows: 141, n: 50, k: 3 * BLOCK, bias: true },
  ]);

  test.each(PRODUCTS)('are the sums of rounded inputs: $bits bits, [$rows, $k] to $n', async (product) => {
    const given = caseOf(product);
    const [found, expected] = [await multiply(product, given), exactly(product, given)];
    const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    found.forEach((value, at) => {
      expect(Math.abs(value - (expected[at] ?? NaN))).toBeLessThan(3e-6 * largest);
    });
  });

  test.each(PRODUCTS)('of a row have the same bits alone: $bits bits, [$rows, $k] to $n', async (product) => {
    const given = caseOf(product);
    const together = await multiply(product, given, { threads: 1 });
    for (const row of new Set([0, product.rows >> 1, product.rows - 1])) {
      const alone = await multiply(product, given, {}, row);
      expect(alone).toEqual(together.slice(row * product.n, (row + 1) * product.n));
    }
  });

  test('are zero where inputs are, and right beside numbers that are far apart', async () => {
    const product = { bits: 4, rows: 4, n: 20, k: 2 * BLOCK } as const;
    const given = caseOf(product);
    given.x.fill(0, 0, product.k);
    given.x[product.k] = 1e30;
    given.x.fill(1e-38, 2 * product.k, 3 * product.k);
    const [found, expected] = [await multiply(product, given), exactly(product, given)];
    expect(found.subarray(0, product.n).every((value) => value === 0)).toBe(true);
    expect(found.every(Number.isFinite)).toBe(true);
    found.subarray(3 * product.n).forEach((value, at) => {
      expect(value).toBeCloseTo(expected[3 * product.n + at] ?? NaN, 4);
    });
  });

  // The sampler refuses logits that are not numbers, so that a broken checkpoint does not write captions.
  test.each([4, 8] as const)('of a row with a NaN are NaN: %i bits', async (bits) => {
    const product = { bits, rows: 10, n: 20, k: 2 * BLOCK };
    const given = caseOf(product);
    for (const [row, at] of [0, 5, 17, 127, 128, 255].entries()) given.x[row * product.k + at] = NaN;
    const found = await multiply(product, given);
    found.forEach((value, at) => {
      expect(Number.isNaN(value)).toBe(at < 6 * product.n);
    });
    expect((await multiply(product, given, {}, 1)).every(Number.isNaN)).toBe(true);
  });

  test('leave weights of other blocks to onnxruntime', async () => {
    const [n, k, block] = [16, 64, 32];
    const session = await runtime.createSession(quantisedGraph(n, k, 8, block, false), OPTIONS);
    const y = floats([1, n]);
    const feeds = {
      x: hostTensor('float32', [1, k], new Float32Array(k).fill(1)),
      packed: hostTensor('uint8', [n, k / block, block], new Uint8Array(n * k).fill(129)),
      scales: hostTensor('float32', [n, k / block], new Float32Array((n * k) / block).fill(0.5)),
    };
    await session.run(feeds, { y });
    for (const value of y.data) expect(value).toBeCloseTo(k * 0.5, 3);
    await session.release();
  });
});
