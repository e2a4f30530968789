// Our attention for decode steps (native/attention.h) on random caches. With `npm run test:sanitizers` a compiler
// watches over it.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nativeStatus } from '../../../../src/base/native.ts';
import { openRuntime } from '../../../../src/model/runtime/open-runtime.ts';
import type { Runtime, Session, SessionOptions } from '../../../../src/model/runtime/runtime.ts';
import { attendExactly, attentionCase, runAttention, type AttentionShape } from '../../../fixtures/attention-case.ts';
import { sameBits } from '../../../fixtures/compare-numbers.ts';
import { attentionGraph } from '../../../fixtures/tiny-graphs.ts';

const native = nativeStatus();
if (!native.loaded) console.warn(`Skipped: test/unit/model/runtime/own-attention.test.ts. ${native.reason}`);

const CPU = { type: 'cpu' } as const;
const OPTIONS: SessionOptions = { device: CPU, threads: 2, spinning: false, disablePrepacking: false };

describe.skipIf(!native.loaded)('our attention', () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await openRuntime({ runtime: 'native', device: CPU });
  });
  afterAll(async () => {
    await runtime.close();
  });
  const load = (shape: AttentionShape, changes: Partial<SessionOptions>): Promise<Session> =>
    runtime.createSession(attentionGraph('float32', shape.size, shape.heads, shape.kvHeads), {
      ...OPTIONS,
      ...changes,
    });

  test.each<readonly [string, AttentionShape]>([
    ['of the nano model, eight sequences', { heads: 4, kvHeads: 2, size: 64, lasts: [0, 1, 30, 31, 32, 33, 300, 63] }],
    ['of the 7B model, over three ranges', { heads: 28, kvHeads: 4, size: 128, lasts: [2100, 1023] }],
    ['of the 3B model', { heads: 16, kvHeads: 2, size: 128, lasts: [1024] }],
    ['with heads of 24, for registers of 8', { heads: 10, kvHeads: 2, size: 24, lasts: [77, 5] }],
    ['with heads of 12, for registers of 4', { heads: 6, kvHeads: 1, size: 12, lasts: [40] }],
    ['one query head for each key head', { heads: 3, kvHeads: 3, size: 80, lasts: [100] }],
    ['as many query heads as there may be', { heads: 16, kvHeads: 1, size: 16, lasts: [50] }],
    ['more of them, so that onnxruntime computes', { heads: 17, kvHeads: 1, size: 16, lasts: [50] }],
  ])('is softmax(scale * query * keys^T) * values, with the new keys and values in the cache: %s', async (_, shape) => {
    const own = await load(shape, { ownKernels: true });
    const [found, expected] = [attentionCase(shape), attentionCase(shape)];
    attendExactly(shape, expected);
    await runAttention(own, found);
    let worst = 0;
    found.output.data.forEach((value, at) => {
      worst = Math.max(worst, Math.abs(value - (expected.output.data[at] ?? NaN)));
    });
    expect(worst).toBeLessThan(2e-6);
    expect(Math.max(...expected.output.data)).toBeGreaterThan(0.05);
    expect(sameBits(found.keys.data, expected.keys.data) && sameBits(found.values.data, expected.values.data)).toBe(
      true,
    );
    await own.release();
  });

  test('is right where scores are as far apart as floats can be, and where all are equal', async () => {
    const shape = { heads: 2, kvHeads: 1, size: 16, lasts: [99] };
    const own = await load(shape, { ownKernels: true });
    const found = attentionCase(shape);
    found.query.data.fill(1e4, 0, 16).fill(0, 16);
    found.keys.data.fill(-1);
    found.keys.data.fill(1, 40 * 16, 41 * 16);
    found.key.data.fill(-1);
    await runAttention(own, found);
    const [far, equal] = [found.output.data.slice(0, 16), found.output.data.slice(16)];
    expect(far).toEqual(found.values.data.slice(40 * 16, 41 * 16));
    for (const [at, value] of equal.entries()) {
      let mean = 0;
      for (let token = 0; token < 100; token++) mean += (found.values.data[token * 16 + at] ?? NaN) / 100;
      expect(value).toBeCloseTo(mean, 6);
    }
    await own.release();
  });

  test('gives NaN for a query that has one, and only for that', async () => {
    const shape = { heads: 2, kvHeads: 1, size: 16, lasts: [99] };
    const own = await load(shape, { ownKernels: true });
    const [found, expected] = [attentionCase(shape), attentionCase(shape)];
    found.query.data[3] = NaN;
    await runAttention(own, found);
    await runAttention(own, expected);
    expect(found.output.data.slice(0, 16).every(Number.isNaN)).toBe(true);
    expect(found.output.data.slice(16)).toEqual(expected.output.data.slice(16));
    await own.release();
  });

  test('gives a sequence the same bits alone, in a batch, and with another number of threads', async () => {
    const shape = { heads: 28, kvHeads: 4, size: 128, lasts: [5, 2047, 1500, 90] };
    const [two, one] = await Promise.all([
      load(shape, { ownKernels: true }),
      load(shape, { ownKernels: true, threads: 1 }),
    ]);
    const all = attentionCase(shape);
    await runAttention(two, all);
    const width = shape.heads * shape.size;
    for (const row of shape.lasts.keys()) {
      const alone = attentionCase(shape, row);
      await runAttention(one, alone);
      const inBatch = { data: all.output.data.slice(row * width, (row + 1) * width) };
      expect(sameBits(alone.output.data, inBatch.data)).toBe(true);
    }
    await Promise.all([two.release(), one.release()]);
  });

  test("leaves prompts, and caches that are not updated in place, to onnxruntime's kernel", async () => {
    const shape = { heads: 4, kvHeads: 2, size: 64, lasts: [9] };
    const [own, theirs] = await Promise.all([load(shape, { ownKernels: true }), load(shape, {})]);
    for (const changes of [{ tokens: 10 }, { apart: true }]) {
      const [mine, expected] = [attentionCase(shape, undefined, changes), attentionCase(shape, undefined, changes)];
      await runAttention(own, mine);
      await runAttention(theirs, expected);
      expect(
        sameBits(mine.output.data, expected.output.data) && sameBits(mine.presentKeys.data, expected.presentKeys.data),
      ).toBe(true);
    }
    await Promise.all([own.release(), theirs.release()]);
  });

  test('refuses a token outside the cache', async () => {
    const shape = { heads: 4, kvHeads: 2, size: 64, lasts: [9] };
    const own = await load(shape, { ownKernels: true });
    for (const last of [-1, 10]) {
      const found = attentionCase(shape);
      found.last.data[0] = last;
      await expect(runAttention(own, found)).rejects.toThrow('outside the KV cache');
    }
    await own.release();
  });
});
