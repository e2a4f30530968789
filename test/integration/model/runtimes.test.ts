// What holds for both runtimes: the same graphs, the same numbers, the same errors.
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRuntime } from '../../../src/model/runtime/open-runtime.ts';
import type { HostArray, Runtime, Session, SessionOptions } from '../../../src/model/runtime/runtime.ts';
import { nativeStatus } from '../../../src/base/native.ts';
import {
  attentionGraph,
  externalGraph,
  floats,
  hostTensor,
  identityGraph,
  int32s,
  productChainGraph,
  sumGraph,
} from '../../fixtures/tiny-graphs.ts';
import { runScript } from '../../fixtures/run-script.ts';

const HEAD = 8;
const CPU = { type: 'cpu' } as const;
const OPTIONS: SessionOptions = { device: CPU, threads: 1, spinning: false, disablePrepacking: false };
function blankLike<T extends HostArray>(data: T): T {
  const blank = data.slice() as T;
  new Uint8Array(blank.buffer).fill(0);
  return blank;
}

const native = nativeStatus();
if (!native.loaded) console.warn(`Skipped: everything about the native runtime. ${native.reason}`);

describe.each(['native', 'node'] as const)('the %s runtime', (name) => {
  describe.skipIf(name === 'native' && !native.loaded)('on the CPU', () => {
    let runtime: Runtime;
    const load = (model: Uint8Array): Promise<Session> => runtime.createSession(model, OPTIONS);
    beforeAll(async () => {
      runtime = await openRuntime({ runtime: name, device: CPU });
    });
    afterAll(async () => {
      await runtime.close();
    });

    it('reports its onnxruntime version', () => {
      expect(runtime.name).toBe(name);
      expect(runtime.version).toMatch(/^1\.\d+\.\d+/);
    });

    it('fills preallocated outputs, and computes only those that are fetched', async () => {
      const session = await load(sumGraph());
      expect(session.inputs).toEqual(['a', 'b']);
      expect(session.outputs).toEqual(['sum', 'difference']);
      const [a, b, sum, difference] = [floats([3], [1, 2, 3]), floats([3], [10, 20, 30]), floats([3]), floats([3])];
      await session.run({ a, b }, { difference });
      expect([...difference.data]).toEqual([-9, -18, -27]);
      expect([...sum.data]).toEqual([0, 0, 0]);
      await session.run({ a, b }, { sum, difference });
      expect([...sum.data]).toEqual([11, 22, 33]);
      expect([...a.data]).toEqual([1, 2, 3]);
      await session.release();
    });

    it('takes arrays that are a part of a larger buffer', async () => {
      const session = await load(sumGraph());
      const shared = Float32Array.from([9, 1, 2, 9, 10, 20, 9, 0, 0, 9]);
      const [a, b, sum] = [1, 4, 7].map((start) => hostTensor('float32', [2], shared.subarray(start, start + 2)));
      await session.run({ a: a!, b: b! }, { sum: sum! });
      expect([...shared]).toEqual([9, 1, 2, 9, 10, 20, 9, 11, 22, 9]);
      await session.release();
    });

    it('passes every element type of the graphs, and empty tensors', async () => {
      const session = await load(identityGraph(['float32', 'int64', 'int32', 'uint8', 'int8']));
      for (const values of [[-1, 0, 1, 127], []]) {
        const n = [values.length];
        const feeds = {
          x_float32: hostTensor('float32', n, Float32Array.from(values)),
          x_int64: hostTensor('int64', n, BigInt64Array.from(values, BigInt)),
          x_int32: hostTensor('int32', n, Int32Array.from(values)),
          x_uint8: hostTensor('uint8', n, Uint8Array.from(values)),
          x_int8: hostTensor('int8', n, Uint8Array.from(values)),
        };
        const fetches = Object.fromEntries(
          Object.entries(feeds).map(([key, tensor]) => [
            key.replace('x', 'y'),
            { ...tensor, data: blankLike(tensor.data) },
          ]),
        );
        await session.run(feeds, fetches);
        for (const [key, { data }] of Object.entries(feeds)) expect(fetches[key.replace('x', 'y')]!.data).toEqual(data);
      }
      await session.release();
    });

    it('reads weights from a file by its absolute path, even through a symbolic link to another folder', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'avocado-external-'));
      try {
        const file = join(folder, 'weights.bin');
        writeFileSync(file, new Uint8Array(Float32Array.from([-1, 5, 6, 7]).buffer));
        const link = join(mkdtempSync(join(folder, 'links-')), 'model.safetensors');
        symlinkSync(file, link);
        const y = floats([2]);
        const session = await load(externalGraph(link, 8, 2));
        await session.run({ x: floats([2], [1, 1]) }, { y });
        expect([...y.data]).toEqual([7, 8]);
        await session.release();
        await expect(load(externalGraph(join(folder, 'absent.bin'), 0, 2))).rejects.toMatchObject({
          code: 'engine_error',
          message: expect.stringContaining('absent.bin') as string,
        });
      } finally {
        rmSync(folder, { recursive: true });
      }
    });

    it('updates the KV cache in place inside a slab, and nothing else', async () => {
      const capacity = 4;
      const slots = 3;
      const slotElements = capacity * HEAD;
      const session = await load(attentionGraph('float32', HEAD));
      const identity = await load(identityGraph(['float32']));
      const [keys, values] = await Promise.all([
        runtime.allocate('float32', slots * slotElements, CPU),
        runtime.allocate('float32', slots * slotElements, CPU),
      ]);
      const slot = (slab: typeof keys, index: number) =>
        ({ kind: 'slab', slab, offset: index * slotElements, dims: [1, 1, capacity, HEAD] }) as const;
      const row = (value: number) =>
        floats(
          [1, 1, HEAD],
          Array.from({ length: HEAD }, (_, index) => value + index / 10),
        );
      const step = async (index: number, position: number, value: number): Promise<number[]> => {
        const output = floats([1, 1, HEAD]);
        const past = { past_key: slot(keys, index), past_value: slot(values, index) };
        const lengths = { seqlens_k: int32s([1], [position]), total: int32s([], [position + 1]) };
        const fetches = { output, present_key: slot(keys, index), present_value: slot(values, index) };
        await session.run({ query: row(value), key: row(value), value: row(value), ...past, ...lengths }, fetches);
        return [...output.data];
      };
      const read = async (slab: typeof keys): Promise<number[]> => {
        const y = floats([slots * slotElements]);
        await identity.run(
          { x_float32: { kind: 'slab', slab, offset: 0, dims: [slots * slotElements] } },
          { y_float32: y },
        );
        return [...y.data];
      };
      expect(await read(keys)).toEqual(new Array(slots * slotElements).fill(0));
      expect(await step(1, 0, 1)).toEqual([...row(1).data]);
      const second = await step(1, 1, 2);
      // Attention over both rows gives a value between them: the second step saw what the first had written.
      expect(second[0]).toBeGreaterThan(1);
      expect(second[0]).toBeLessThan(2);
      const expected = new Float32Array(slots * slotElements);
      expected.set(row(1).data, slotElements);
      expected.set(row(2).data, slotElements + HEAD);
      expect(await read(keys)).toEqual([...expected]);
      expect(await read(values)).toEqual([...expected]);
      keys.release();
      values.release();
      await Promise.all([session.release(), identity.release()]);
    });

    it('copies pieces inside a slab and out of it, and nothing else', async () => {
      const identity = await load(identityGraph(['float32', 'uint8']));
      const [whole, bytes] = [await runtime.allocate('float32', 100, CPU), await runtime.allocate('uint8', 6, CPU)];
      const values = Float32Array.from({ length: 100 }, (_, index) => index + 1);
      const letters = Uint8Array.of(1, 2, 3, 4, 5, 6);
      const view = (slab: typeof whole, length: number) => ({ kind: 'slab', slab, offset: 0, dims: [length] }) as const;
      const none = { x_uint8: hostTensor('uint8', [6], letters), x_float32: floats([100], [...values]) };
      await identity.run(none, { y_float32: view(whole, 100), y_uint8: view(bytes, 6) });
      await runtime.copyWithin(
        [whole],
        [
          { from: 0, to: 50, elements: 10 },
          { from: 20, to: 99, elements: 1 },
          { from: 60, to: 5, elements: 0 },
        ],
      );
      await runtime.copyWithin([bytes], [{ from: 4, to: 1, elements: 2 }]);
      const [y, z] = [floats([100]), hostTensor('uint8', [6], new Uint8Array(6))];
      await identity.run({ x_float32: view(whole, 100), x_uint8: view(bytes, 6) }, { y_float32: y, y_uint8: z });
      values.copyWithin(50, 0, 10);
      values[99] = 21;
      expect(y.data).toEqual(values);
      expect(z.data).toEqual(Uint8Array.of(1, 5, 6, 4, 5, 6));
      await expect(runtime.copyWithin([whole], [{ from: 0, to: 95, elements: 6 }])).rejects.toThrow(
        'reaches past its slab',
      );
      await expect(runtime.copyWithin([whole], [{ from: 95, to: 0, elements: 6 }])).rejects.toThrow(
        'reaches past its slab',
      );
      const [part, odd] = [new Float32Array(60).subarray(7, 11), new Uint8Array(2)];
      await runtime.read({ ...view(whole, 4), offset: 49 }, part);
      expect(part).toEqual(values.subarray(49, 53));
      expect(new Float32Array(part.buffer).filter((value) => value !== 0)).toHaveLength(4);
      await runtime.read({ ...view(bytes, 2), offset: 4 }, odd);
      expect(odd).toEqual(Uint8Array.of(5, 6));
      await expect(runtime.read({ ...view(whole, 4), offset: 97 }, part)).rejects.toThrow('does not fit its memory');
      await expect(runtime.read(view(whole, 5), part)).rejects.toThrow('does not fit its memory');
      whole.release();
      await expect(runtime.read(view(whole, 4), part)).rejects.toThrow('release');
      await expect(runtime.copyWithin([whole], [{ from: 0, to: 50, elements: 10 }])).rejects.toThrow('release');
      bytes.release();
      await identity.release();
    });

    it('runs two sessions and many requests at once, each with its own numbers', async () => {
      const sessions = await Promise.all([load(sumGraph()), load(sumGraph())]);
      const results = await Promise.all(
        Array.from({ length: 40 }, async (_, index) => {
          const sum = floats([1]);
          await sessions[index % 2]!.run({ a: floats([1], [index]), b: floats([1], [1000]) }, { sum });
          return sum.data[0];
        }),
      );
      expect(results).toEqual(Array.from({ length: 40 }, (_, index) => 1000 + index));
      await Promise.all(sessions.map((session) => session.release()));
    });

    it("rejects with the runtime's own message and stays usable", async () => {
      const session = await load(sumGraph());
      const sum = floats([3]);
      await expect(session.run({ a: floats([3]), b: floats([2]) }, { sum })).rejects.toMatchObject({
        name: 'AvocadoError',
        code: 'engine_error',
        message: expect.stringMatching(/run failed: .*dimension|broadcast/i) as string,
      });
      await session.run({ a: floats([3], [1, 2, 3]), b: floats([3]) }, { sum });
      expect([...sum.data]).toEqual([1, 2, 3]);
      await expect(load(Uint8Array.from([1, 2, 3]))).rejects.toMatchObject({
        code: 'engine_error',
        message: expect.stringContaining('does not load') as string,
      });
      await session.release();
    });

    it('reports a wrong binding as a bug, before anything runs', async () => {
      const session = await load(sumGraph());
      const [a, b, sum] = [floats([3]), floats([3]), floats([3])];
      await expect(session.run({ a }, { sum })).rejects.toThrow('Input "b" is not fed. This is a bug.');
      await expect(session.run({ a, b, c: b }, { sum })).rejects.toThrow('no tensor "c" to feed');
      await expect(session.run({ a, b }, { product: sum })).rejects.toThrow('no tensor "product" to fetch');
      await expect(session.run({ a, b: { ...b, dims: [4] } }, { sum })).rejects.toThrow('"b" of [4] does not fit');
      await session.release();
      await expect(session.run({ a, b }, { sum })).rejects.toThrow('released already');
    });

    it('leaves the JS thread free while it runs', async () => {
      const session = await load(productChainGraph(60));
      const size = 512;
      let ticks = 0;
      const timer = setInterval(() => {
        ticks++;
      }, 5);
      const started = performance.now();
      await session.run({ x: floats([size, size]), w: floats([size, size]) }, { y: floats([size, size]) });
      const tookMs = performance.now() - started;
      clearInterval(timer);
      // A blocked thread ticks at most once, on any machine.
      expect(tookMs).toBeGreaterThan(50);
      expect(ticks).toBeGreaterThan(3);
      await session.release();
    });

    it('refuses a run whose signal is aborted already, and rejects one that is aborted while it runs', async () => {
      const session = await load(sumGraph());
      const [a, b, sum] = [floats([1], [1]), floats([1], [2]), floats([1])];
      await expect(session.run({ a, b }, { sum }, { signal: AbortSignal.abort() })).rejects.toMatchObject({
        code: 'aborted',
      });
      const controller = new AbortController();
      const run = session.run({ a, b }, { sum }, { signal: controller.signal });
      controller.abort(new Error('left'));
      await expect(run).rejects.toMatchObject({
        code: 'aborted',
        cause: expect.objectContaining({ message: 'left' }) as Error,
      });
      await session.run({ a, b }, { sum });
      expect([...sum.data]).toEqual([3]);
      await session.release();
    });

    it('waits for the run in progress when a session is released, and may be released twice', async () => {
      const session = await load(productChainGraph(20));
      const y = floats([128, 128]);
      const w = floats([128, 128]);
      for (let index = 0; index < 128; index++) w.data[index * 129] = 1;
      const order: string[] = [];
      const run = session.run({ x: { ...w, data: w.data.slice() }, w }, { y }).then(() => order.push('run'));
      await Promise.all([session.release().then(() => order.push('release')), session.release(), run]);
      expect(order).toEqual(['run', 'release']);
      expect(y.data[0]).toBe(1);
    });

    it('does not grow over thousands of runs', async () => {
      const session = await load(sumGraph());
      const [a, b, sum] = [floats([25_000]), floats([25_000]), floats([25_000])];
      const runs = async (count: number): Promise<void> => {
        for (let index = 0; index < count; index++) await session.run({ a, b }, { sum });
      };
      await runs(300);
      const before = process.memoryUsage().rss;
      await runs(3000);
      // One leaked tensor a run would be 300 MB. What the garbage collector has not looked at yet was up to 41.
      expect(process.memoryUsage().rss - before).toBeLessThan(150e6);
      await session.release();
    });

    it('does not keep an idle process alive', async () => {
      expect(await runScript('end-idle.ts', [name])).toMatchObject({
        code: 0,
        signal: null,
        stdout: 'end\n',
        stderr: '',
      });
    });
  });
});
