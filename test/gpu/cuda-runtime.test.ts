// The native runtime on a real GPU: the KV cache stays on the device and is updated in place,
// results come to host memory.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeRuntime } from '../../src/model/runtime/describe-runtime.ts';
import { openRuntime } from '../../src/model/runtime/open-runtime.ts';
import type { HostTensor, Runtime, SessionOptions } from '../../src/model/runtime/runtime.ts';
import {
  attentionGraph,
  floats,
  hostTensor,
  identityGraph,
  int32s,
  productChainGraph,
} from '../fixtures/tiny-graphs.ts';

const CUDA = { type: 'cuda', index: 0 } as const;
const OPTIONS: SessionOptions = { device: CUDA, threads: 1, spinning: false, disablePrepacking: false };
const HEAD = 64;

const { cuda, gpus, addon } = await describeRuntime();
const obstacle = !addon.loaded
  ? addon.reason
  : gpus.length === 0
    ? 'This machine shows no NVIDIA GPU.'
    : cuda?.complete === true
      ? undefined
      : `${cuda?.missing.join(', ') ?? 'onnxruntime'} not found. ${cuda?.advice ?? ''}`;
if (obstacle !== undefined) console.warn(`Skipped: test/gpu/cuda-runtime.test.ts. ${obstacle}`);

/** bfloat16 keeps the upper half of a float32; our values have nothing in the lower. */
function bfloats(dims: readonly number[], value: number): HostTensor {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]! >>> 16;
  return hostTensor('bfloat16', dims, new Uint16Array(dims.reduce((product, size) => product * size, 1)).fill(bits));
}

describe.skipIf(obstacle !== undefined)('the native runtime on CUDA', () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await openRuntime({ runtime: 'native', device: CUDA });
  });
  afterAll(async () => {
    await runtime.close();
  });

  it('multiplies in full fp32, not TF32', async () => {
    const session = await runtime.createSession(productChainGraph(1), OPTIONS);
    // 1 + 2^-20 squared needs more than TF32's 10 bits.
    const [x, w, y] = [floats([1, 1], [1 + 2 ** -20]), floats([1, 1], [1 + 2 ** -20]), floats([1, 1])];
    await session.run({ x, w }, { y });
    expect(y.data[0]).toBe(Math.fround((1 + 2 ** -20) ** 2));
    await session.release();
  });

  it('updates the bf16 KV cache in place inside a device slab, and nothing beside it', async () => {
    const capacity = 16;
    const slotElements = capacity * HEAD;
    const session = await runtime.createSession(attentionGraph('bfloat16', HEAD), OPTIONS);
    const identity = await runtime.createSession(identityGraph(['bfloat16']), OPTIONS);
    const [keys, values] = await Promise.all([
      runtime.allocate('bfloat16', 3 * slotElements, CUDA),
      runtime.allocate('bfloat16', 3 * slotElements, CUDA),
    ]);
    const slot = (slab: typeof keys) =>
      ({ kind: 'slab', slab, offset: slotElements, dims: [1, 1, capacity, HEAD] }) as const;
    for (const [position, value] of [1, 2].entries()) {
      const row = bfloats([1, 1, HEAD], value);
      const output = bfloats([1, 1, HEAD], 0);
      const lengths = { seqlens_k: int32s([1], [position]), total: int32s([], [position + 1]) };
      const past = { past_key: slot(keys), past_value: slot(values) };
      await session.run(
        { query: row, key: row, value: row, ...past, ...lengths },
        { output, present_key: slot(keys), present_value: slot(values) },
      );
      // Alone, a row attends to itself.
      if (position === 0) expect(output.data).toEqual(row.data);
    }
    const whole = bfloats([3 * slotElements], 0);
    await identity.run(
      { x_bfloat16: { kind: 'slab', slab: values, offset: 0, dims: whole.dims } },
      { y_bfloat16: whole },
    );
    const expected = new Uint16Array(3 * slotElements);
    expected.fill(0x3f80, slotElements, slotElements + HEAD);
    expected.fill(0x4000, slotElements + HEAD, slotElements + 2 * HEAD);
    expect(whole.data).toEqual(expected);
    keys.release();
    values.release();
    await Promise.all([session.release(), identity.release()]);
  });

  it('copies pieces of a bf16 slab on the device, and nothing beside them', async () => {
    const identity = await runtime.createSession(identityGraph(['bfloat16']), OPTIONS);
    const slab = await runtime.allocate('bfloat16', 5 * HEAD, CUDA);
    const whole = hostTensor(
      'bfloat16',
      [5 * HEAD],
      Uint16Array.from({ length: 5 * HEAD }, (_, index) => 0x3f80 + index),
    );
    const expected = Uint16Array.from(whole.data as Uint16Array);
    const view = { kind: 'slab', slab, offset: 0, dims: whole.dims } as const;
    await identity.run({ x_bfloat16: whole }, { y_bfloat16: view });
    await runtime.copyWithin(
      [slab],
      [
        { from: 0, to: 3 * HEAD, elements: HEAD - 1 },
        { from: HEAD, to: 5 * HEAD - 2, elements: 2 },
      ],
    );
    await identity.run({ x_bfloat16: view }, { y_bfloat16: whole });
    expected.copyWithin(3 * HEAD, 0, HEAD - 1);
    expected.copyWithin(5 * HEAD - 2, HEAD, HEAD + 2);
    expect(whole.data).toEqual(expected);
    const part = new Uint16Array(HEAD);
    await runtime.read({ ...view, offset: 3 * HEAD, dims: [HEAD] }, part);
    expect(part).toEqual(expected.subarray(3 * HEAD, 4 * HEAD));
    slab.release();
    await identity.release();
  });

  it('commits zeroed pages of a slab, all or none, and has them again after a decommit', async () => {
    const identity = await runtime.createSession(identityGraph(['float32']), OPTIONS);
    const probe = await runtime.pagePool(CUDA, 0);
    const { pageBytes } = probe;
    probe.release();
    const page = pageBytes / 4;
    const pool = await runtime.pagePool(CUDA, 4 * pageBytes);
    const slab = await runtime.allocate('float32', 6 * page, CUDA, pool);
    const other = await runtime.allocate('float32', 6 * page, CUDA, pool);
    const pages = (first: number, count: number) => ({ from: first * page, elements: count * page });
    const write = async (first: number, count: number, value: number): Promise<void> => {
      const x = floats([count * page], new Array<number>(count * page).fill(value));
      await identity.run({ x_float32: x }, { y_float32: { kind: 'slab', slab, offset: first * page, dims: x.dims } });
    };
    /** the values of two pages, each once */
    const read = async (from: typeof slab, first: number): Promise<number[]> => {
      const found = new Float32Array(2 * page);
      await runtime.read({ kind: 'slab', slab: from, offset: first * page, dims: [2 * page] }, found);
      return [...new Set(found)];
    };
    await write(0, 6, 9); // harmless
    await runtime.commit([slab], [pages(2, 2)]);
    expect(await read(slab, 2)).toEqual([0]);
    await write(2, 2, 3);
    await expect(runtime.commit([slab, other], [pages(2, 2), pages(5, 1)])).rejects.toThrow('Pages wanted: 4');
    await runtime.commit([slab], [pages(1, 3), pages(5, 1)]);
    expect([await read(slab, 2), await read(slab, 0)]).toEqual([[3], expect.arrayContaining([0]) as number[]]);
    await runtime.copyWithin([slab], [{ from: 2 * page + 1, to: page, elements: page }]);
    expect(await read(slab, 1)).toEqual([3]);
    await runtime.decommit([slab], [pages(0, 6)]);
    await write(0, 6, 7); // harmless
    await runtime.commit([other], [pages(0, 4)]);
    expect([await read(other, 0), await read(other, 2)]).toEqual([[0], [0]]);
    for (const each of [slab, other, pool]) each.release();
    await identity.release();
  });

  it('ends a run when its signal aborts, and the session works afterwards', async () => {
    const session = await runtime.createSession(productChainGraph(20_000), OPTIONS);
    const [x, w, y] = [floats([2048, 2048]), floats([2048, 2048]), floats([2048, 2048])];
    const controller = new AbortController();
    const run = session.run({ x, w }, { y }, { signal: controller.signal });
    setTimeout(() => {
      controller.abort();
    }, 50);
    await expect(run).rejects.toMatchObject({ code: 'aborted' });
    const [small, out] = [floats([1, 1], [1]), floats([1, 1])];
    await session.run({ x: small, w: floats([1, 1], [1]) }, { y: out });
    expect(out.data[0]).toBe(1);
    await session.release();
  });

  it('says so when the GPU has no room for a slab or a pool', async () => {
    for (const asked of [() => runtime.allocate('float32', 2 ** 45, CUDA), () => runtime.pagePool(CUDA, 2 ** 40)])
      await expect(asked()).rejects.toMatchObject({
        code: 'device_unavailable',
        message: expect.stringContaining('bytes on CUDA device 0') as string,
      });
  });
});
