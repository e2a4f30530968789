// What only the native runtime can do: stop a run, use 16-bit floats, and survive the end of the thread that uses it.
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRuntime } from '../../../src/model/runtime/open-runtime.ts';
import type { Runtime, SessionOptions } from '../../../src/model/runtime/runtime.ts';
import { nativeStatus } from '../../../src/base/native.ts';
import { runScript } from '../../fixtures/run-script.ts';
import { floats, hostTensor, identityGraph, productChainGraph, sumGraph } from '../../fixtures/tiny-graphs.ts';

const CPU = { type: 'cpu' } as const;
const OPTIONS: SessionOptions = { device: CPU, threads: 1, spinning: false, disablePrepacking: false };
const SIZE = 512;
/** A run of so many nodes takes many seconds: a test that waits for its end fails by its time limit. */
const LONG = 4000;

const status = nativeStatus();
if (!status.loaded) console.warn(`Skipped: test/integration/model/native-runtime.test.ts. ${status.reason}`);

/** [n, n] with ones on the diagonal: a product of many of them is the same matrix, not zeros. */
function unitMatrix(n: number): ReturnType<typeof floats> {
  const tensor = floats([n, n]);
  for (let index = 0; index < n; index++) tensor.data[index * (n + 1)] = 1;
  return tensor;
}

/** Addresses of this process where the kernel may put no huge page. */
function bytesOfSmallPages(): number {
  const mappings = readFileSync('/proc/self/smaps', 'utf8').matchAll(/^Size: +(\d+) kB$[^]*?^VmFlags:(.*)$/gm);
  return [...mappings].reduce((sum, [, size, flags]) => sum + (/ nh\b/.test(flags ?? '') ? 1024 * Number(size) : 0), 0);
}

describe.skipIf(!status.loaded)('the native runtime', () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await openRuntime({ runtime: 'native', device: CPU });
  });
  afterAll(async () => {
    await runtime.close();
  });

  it('stops a run when its signal aborts, and the session works afterwards', async () => {
    const session = await runtime.createSession(productChainGraph(LONG), OPTIONS);
    const sum = await runtime.createSession(sumGraph(), OPTIONS);
    const [x, w, y] = [unitMatrix(SIZE), unitMatrix(SIZE), floats([SIZE, SIZE])];
    const controller = new AbortController();
    const run = session.run({ x, w }, { y }, { signal: controller.signal });
    setTimeout(() => {
      controller.abort();
    }, 100);
    await expect(run).rejects.toMatchObject({ code: 'aborted' });
    // The last node never ran.
    expect(y.data.every((value) => value === 0)).toBe(true);
    const [small, out] = [unitMatrix(2), floats([2, 2])];
    await session.run({ x: small, w: { ...small, data: small.data.slice() } }, { y: out });
    expect([...out.data]).toEqual([1, 0, 0, 1]);
    await Promise.all([session.release(), sum.release()]);
  });

  it('runs the same tensors again with what they hold then, into the outputs of each run', async () => {
    const session = await runtime.createSession(productChainGraph(1), OPTIONS);
    const [feeds, first, second] = [
      { x: floats([2, 2], [3, 3, 3, 3]), w: unitMatrix(2) },
      floats([2, 2]),
      floats([2, 2]),
    ];
    const fetches = { y: first };
    await session.run(feeds, fetches);
    feeds.x.data.fill(5);
    await session.run(feeds, { y: second });
    expect([...first.data, ...second.data]).toEqual([3, 3, 3, 3, 5, 5, 5, 5]);
    feeds.x.data.fill(7);
    await session.run(feeds, fetches);
    expect([...first.data, ...second.data]).toEqual([7, 7, 7, 7, 5, 5, 5, 5]);
    await session.release();
  });

  it('never starts a run that is aborted while it waits', async () => {
    const session = await runtime.createSession(productChainGraph(100), OPTIONS);
    const [w, first, second] = [unitMatrix(SIZE), floats([SIZE, SIZE]), floats([SIZE, SIZE])];
    const controller = new AbortController();
    const feeds = { x: unitMatrix(SIZE), w };
    const running = session.run(feeds, { y: first });
    const waiting = session.run(feeds, { y: second }, { signal: controller.signal });
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'aborted' });
    await running;
    expect(first.data[0]).toBe(1);
    expect(second.data[0]).toBe(0);
    await session.release();
  });

  it('runs two sessions at the same time', async () => {
    const [long, short] = await Promise.all([
      runtime.createSession(productChainGraph(LONG), OPTIONS),
      runtime.createSession(sumGraph(), OPTIONS),
    ]);
    const controller = new AbortController();
    const run = long.run(
      { x: unitMatrix(SIZE), w: unitMatrix(SIZE) },
      { y: floats([SIZE, SIZE]) },
      { signal: controller.signal },
    );
    const sum = floats([1]);
    await short.run({ a: floats([1], [1]), b: floats([1], [2]) }, { sum });
    expect(sum.data[0]).toBe(3);
    controller.abort();
    await expect(run).rejects.toMatchObject({ code: 'aborted' });
    await Promise.all([long.release(), short.release()]);
  });

  it('supports 16-bit floats, in host memory and in slabs', async () => {
    const session = await runtime.createSession(identityGraph(['bfloat16', 'float16']), OPTIONS);
    const slab = await runtime.allocate('bfloat16', 6, CPU);
    const bits = Uint16Array.from([0x3f80, 0xc000, 0x7f7f]);
    const [bfloat, half] = [hostTensor('bfloat16', [3], bits), hostTensor('float16', [3], bits)];
    const view = { kind: 'slab', slab, offset: 2, dims: [3] } as const;
    const out = () => hostTensor('float16', [3], new Uint16Array(3));
    await session.run({ x_bfloat16: bfloat, x_float16: half }, { y_bfloat16: view });
    const [y, whole] = [out(), hostTensor('bfloat16', [6], new Uint16Array(6))];
    await session.run(
      { x_bfloat16: { ...view, offset: 0, dims: [6] }, x_float16: half },
      { y_bfloat16: whole, y_float16: y },
    );
    expect([...whole.data]).toEqual([0, 0, ...bits, 0]);
    expect(y.data).toEqual(bits);
    slab.release();
    await expect(session.run({ x_bfloat16: view, x_float16: half }, { y_float16: y })).rejects.toThrow(
      'The slab was released already',
    );
    await session.release();
  });

  it.each(['bfloat16', 'float16'] as const)('copies %s inside a slab by elements of two bytes', async (dtype) => {
    const session = await runtime.createSession(identityGraph([dtype]), OPTIONS);
    const slab = await runtime.allocate(dtype, 8, CPU);
    const view = { kind: 'slab', slab, offset: 0, dims: [8] } as const;
    const whole = hostTensor(dtype, [8], Uint16Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    await session.run({ [`x_${dtype}`]: whole }, { [`y_${dtype}`]: view });
    await runtime.copyWithin([slab], [{ from: 1, to: 5, elements: 3 }]);
    await session.run({ [`x_${dtype}`]: view }, { [`y_${dtype}`]: whole });
    expect([...whole.data]).toEqual([1, 2, 3, 4, 5, 2, 3, 4]);
    slab.release();
    await session.release();
  });

  it('refuses a copy that overlaps itself, and frees a slab that is being copied only afterwards', async () => {
    const slab = await runtime.allocate('float32', 2 ** 24, CPU);
    await expect(runtime.copyWithin([slab], [{ from: 0, to: 9, elements: 10 }])).rejects.toThrow('overlaps itself');
    const copy = runtime.copyWithin([slab], [{ from: 0, to: 2 ** 23, elements: 2 ** 23 }]);
    slab.release();
    await copy;
  });

  it('uses memory for a slab only where it is touched', async () => {
    const before = process.memoryUsage().rss;
    const slab = await runtime.allocate('float32', 2 ** 31, CPU);
    expect(process.memoryUsage().rss - before).toBeLessThan(50e6);
    slab.release();
  });

  it.skipIf(!existsSync('/sys/kernel/mm/transparent_hugepage'))('lets no huge pages into a slab', async () => {
    const bytes = 2 ** 33;
    const before = bytesOfSmallPages();
    const pool = await runtime.pagePool(CPU, 2 ** 20);
    const slabs = [await runtime.allocate('uint8', bytes, CPU), await runtime.allocate('uint8', bytes, CPU, pool)];
    expect(bytesOfSmallPages() - before).toBeGreaterThan(1.9 * bytes);
    for (const held of [...slabs, pool]) held.release();
  });

  it('gives the memory of pages back to the system, and has them as zeros', async () => {
    const bytes = 2 ** 27;
    const resident = (): number => process.memoryUsage().rss;
    const pool = await runtime.pagePool(CPU, 2 * bytes);
    const slab = await runtime.allocate('uint8', 2 * bytes, CPU, pool);
    const second = { from: bytes, elements: bytes };
    await runtime.commit([slab], [second]);
    const before = resident();
    await runtime.copyWithin([slab], [{ from: 0, to: bytes, elements: bytes }]);
    const full = resident();
    expect(full - before).toBeGreaterThan(0.8 * bytes);
    await runtime.decommit([slab], [second]);
    expect(full - resident()).toBeGreaterThan(0.8 * bytes);
    const found = new Uint8Array(2);
    await runtime.read({ kind: 'slab', slab, offset: 2 * bytes - 2, dims: [2] }, found);
    expect([...found]).toEqual([0, 0]);
    slab.release();
    pool.release();
  });

  it('decommits what was written as zeros, and frees a slab and its pool only after the commit', async () => {
    const identity = await runtime.createSession(identityGraph(['float32']), OPTIONS);
    const pool = await runtime.pagePool(CPU, 2 ** 24);
    const slab = await runtime.allocate('float32', 2 ** 22, CPU, pool);
    const whole = { from: 0, elements: 2 ** 22 };
    await runtime.commit([slab], [whole]);
    const view = { kind: 'slab', slab, offset: 2 ** 21, dims: [2] } as const;
    await identity.run({ x_float32: floats([2], [3, 4]) }, { y_float32: view });
    await runtime.decommit([slab], [whole]);
    const found = Float32Array.of(1, 1);
    await runtime.read(view, found);
    expect([...found]).toEqual([0, 0]);
    const committed = runtime.commit([slab], [whole]);
    slab.release();
    pool.release();
    await committed;
    await identity.release();
  });

  it('frees a slab only after the run that uses it', async () => {
    const session = await runtime.createSession(productChainGraph(100), OPTIONS);
    const slab = await runtime.allocate('float32', SIZE * SIZE, CPU);
    const y = floats([SIZE, SIZE]);
    const run = session.run({ x: unitMatrix(SIZE), w: { kind: 'slab', slab, offset: 0, dims: [SIZE, SIZE] } }, { y });
    slab.release();
    slab.release();
    await run;
    expect(y.data.every((value) => value === 0)).toBe(true);
    await session.release();
  });

  it('works in one process with onnxruntime-node', async () => {
    const node = await openRuntime({ runtime: 'node', device: CPU });
    for (const each of [node, runtime, node]) {
      const session = await each.createSession(sumGraph(), OPTIONS);
      const sum = floats([1]);
      await session.run({ a: floats([1], [20]), b: floats([1], [22]) }, { sum });
      expect(sum.data[0]).toBe(42);
      await session.release();
    }
    expect(node.version).toBe(runtime.version);
    await node.close();
  });

  it('says that CUDA is missing when a session asks for it', async () => {
    const cuda = { type: 'cuda', index: 99 } as const;
    const asked = runtime.createSession(sumGraph(), { ...OPTIONS, device: cuda });
    await expect(asked).rejects.toMatchObject({
      code: 'device_unavailable',
      message: expect.stringContaining('avocado doctor') as string,
    });
    await expect(runtime.allocate('float32', 1, cuda)).rejects.toMatchObject({ code: 'device_unavailable' });
  });

  it('refuses a library that is not onnxruntime', async () => {
    if (!status.loaded) throw new Error('The suite runs with the addon only. This is a bug.');
    const ended = await runScript('end-idle.ts', ['native'], { AVOCADO_ONNXRUNTIME: status.path });
    expect(ended).toMatchObject({ code: 1, signal: null });
    expect(ended.stderr).toContain('is not libonnxruntime');
    expect(ended.stderr).toContain("code: 'runtime_unavailable'");
  });

  it.each(['exit the process', 'exit the process beside a worker', 'terminate the worker', 'exit the worker'])(
    'survives: %s, while a graph runs',
    async (way) => {
      expect(await runScript('end-in-a-run.ts', [way])).toMatchObject({ code: 0, signal: null, stderr: '' });
    },
  );

  it('lets an uncaught error end the process as Node does, while a graph runs', async () => {
    const ended = await runScript('end-in-a-run.ts', ['throw in the process']);
    expect(ended).toMatchObject({ code: 1, signal: null });
    expect(ended.stderr).toContain('thrown on purpose');
  });
});
