import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openNodeRuntime } from '../../../src/model/runtime/node-runtime.ts';
import type { Runtime, SessionOptions } from '../../../src/model/runtime/runtime.ts';
import { floats, productChainGraph, sumGraph } from '../../fixtures/tiny-graphs.ts';

const CPU = { type: 'cpu' } as const;
const OPTIONS: SessionOptions = { device: CPU, threads: 1, spinning: false, disablePrepacking: false };

describe('the portable runtime', () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await openNodeRuntime();
  });
  afterAll(async () => {
    await runtime.close();
  });

  it('has no 16-bit floats and says which runtime has them', async () => {
    const message = expect.stringContaining('build-native.mjs') as string;
    await expect(runtime.allocate('bfloat16', 8, CPU)).rejects.toMatchObject({ code: 'runtime_unavailable', message });
    await expect(runtime.allocate('float16', 8, CPU)).rejects.toMatchObject({ code: 'runtime_unavailable', message });
  });

  it('refuses CUDA', async () => {
    const cuda = { type: 'cuda', index: 0 } as const;
    await expect(runtime.createSession(sumGraph(), { ...OPTIONS, device: cuda })).rejects.toMatchObject({
      code: 'device_unavailable',
    });
    await expect(runtime.allocate('float32', 8, cuda)).rejects.toMatchObject({ code: 'device_unavailable' });
  });

  it("rejects an aborted run at its end, does not write the caller's output, and goes on", async () => {
    const session = await runtime.createSession(productChainGraph(40), OPTIONS);
    const [x, y] = [floats([256, 256]), floats([256, 256])];
    x.data.fill(1 / 256);
    const controller = new AbortController();
    const run = session.run({ x, w: { ...x, data: x.data.slice() } }, { y }, { signal: controller.signal });
    setImmediate(() => {
      controller.abort();
    });
    await expect(run).rejects.toMatchObject({ code: 'aborted' });
    expect(y.data[0]).toBe(0);
    await session.run({ x, w: { ...x, data: x.data.slice() } }, { y });
    expect(y.data[0]).toBeCloseTo(1 / 256, 5);
    await session.release();
  });

  it('answers all requests from before it was closed, and none from after', async () => {
    const closing = await openNodeRuntime();
    const session = await closing.createSession(sumGraph(), OPTIONS);
    const sum = floats([1]);
    const run = session.run({ a: floats([1], [1]), b: floats([1], [2]) }, { sum });
    await closing.close();
    await run;
    expect(sum.data[0]).toBe(3);
    await expect(session.run({ a: floats([1]), b: floats([1]) }, { sum })).rejects.toMatchObject({
      code: 'runtime_unavailable',
    });
    await closing.close();
  });
});
