// Paged slabs on both runtimes: which pages have memory, and what a pool refuses.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { nativeStatus } from '../../../src/base/native.ts';
import { openRuntime } from '../../../src/model/runtime/open-runtime.ts';
import type {
  PagePool,
  Runtime,
  Session,
  SessionOptions,
  Slab,
  SlabRange,
} from '../../../src/model/runtime/runtime.ts';
import { floats, identityGraph } from '../../fixtures/tiny-graphs.ts';

const CPU = { type: 'cpu' } as const;
const OPTIONS: SessionOptions = { device: CPU, threads: 1, spinning: false, disablePrepacking: false };

const native = nativeStatus();
if (!native.loaded) console.warn(`Skipped: page pools of the native runtime. ${native.reason}`);

describe.each(['native', 'node'] as const)('the %s runtime', (name) => {
  describe.skipIf(name === 'native' && !native.loaded)('with a page pool on the CPU', () => {
    const PAGES = 4;
    let runtime: Runtime;
    let identity: Session;
    let pool: PagePool;
    /** elements of a page */
    let page: number;
    beforeAll(async () => {
      runtime = await openRuntime({ runtime: name, device: CPU });
      identity = await runtime.createSession(identityGraph(['float32']), OPTIONS);
    });
    afterAll(async () => {
      await identity.release();
      await runtime.close();
    });
    beforeEach(async () => {
      const unpaged = await runtime.pagePool(CPU, 0);
      pool = await runtime.pagePool(CPU, PAGES * unpaged.pageBytes + 1);
      page = pool.pageBytes / 4;
    });
    afterEach(() => {
      pool.release();
    });
    const pages = (first: number, count = 1): SlabRange => ({ from: first * page, elements: count * page });
    const slabOf = (count: number): Promise<Slab> => runtime.allocate('float32', count * page, CPU, pool);
    const view = (slab: Slab, offset: number) => ({ kind: 'slab', slab, offset, dims: [2] }) as const;
    const write = (slab: Slab, offset: number, value: number): Promise<void> =>
      identity.run({ x_float32: floats([2], [value, value]) }, { y_float32: view(slab, offset) });
    const read = async (slab: Slab, offset: number): Promise<number> => {
      const found = new Float32Array(2);
      await runtime.read(view(slab, offset), found);
      return found[0]!;
    };

    it('has the pages that fit, and slabs of whole pages', async () => {
      expect(pool).toMatchObject({ pageBytes: 65_536, pages: PAGES });
      const [slab, bytes] = [
        await runtime.allocate('float32', page + 1, CPU, pool),
        await runtime.allocate('uint8', 1, CPU, pool),
      ];
      expect([slab.elements, bytes.elements]).toEqual([2 * page, pool.pageBytes]);
      await runtime.commit([slab], [pages(0, 2)]);
      await write(slab, 2 * page - 2, 3);
      expect(await read(slab, 2 * page - 2)).toBe(3);
      for (const each of [slab, bytes]) each.release();
    });

    it('gives zeroed memory to pages without any, and leaves the others as they are', async () => {
      const [a, b] = [await slabOf(3), await slabOf(3)];
      await write(a, page, 9); // harmless
      await runtime.commit([a, b], [pages(1)]);
      expect(await read(a, page)).toBe(0);
      await write(a, page, 1);
      await runtime.commit([a], [pages(0, 2), pages(1, 1), { from: page, elements: 0 }]);
      expect([await read(a, page), await read(a, page - 2), await read(b, page)]).toEqual([1, 0, 0]);
      await runtime.copyWithin([a], [{ from: page, to: 2, elements: 2 }]);
      expect(await read(a, 2)).toBe(1);
      // Three pages of a and b are committed: a's last would be the fourth, b's the fifth.
      await expect(runtime.commit([a, b], [pages(2)])).rejects.toMatchObject({ code: 'engine_error' });
      await runtime.commit([], [pages(2)]);
      await runtime.commit([a], [pages(2)]);
      for (const slab of [a, b]) slab.release();
    });

    it('changes nothing when the pool has too few pages left', async () => {
      const [a, b] = [await slabOf(4), await slabOf(4)];
      await runtime.commit([a], [pages(0, 3)]);
      await write(a, 0, 5);
      const asked = runtime.commit([a, b], [pages(2, 2)]);
      await expect(asked).rejects.toMatchObject({
        name: 'AvocadoError',
        code: 'engine_error',
        message: 'Committing memory of the KV cache failed: Pages wanted: 3, free: 1 of 4.',
      });
      expect(await read(a, 0)).toBe(5);
      await runtime.commit([a, a], [pages(3), pages(3)]);
      await expect(runtime.commit([b], [pages(0)])).rejects.toThrow('free: 0 of 4');
      for (const slab of [a, b]) slab.release();
    });

    it('has pages again that are decommitted, or whose slab is released', async () => {
      const [a, b] = [await slabOf(4), await slabOf(4)];
      await runtime.commit([a], [pages(0, 4)]);
      await write(a, 2 * page, 7);
      await runtime.decommit([a, a], [pages(1, 2), pages(2)]);
      await runtime.decommit([a], [pages(2)]);
      await runtime.decommit([], []);
      await write(a, page, 8); // harmless
      await runtime.commit([b], [pages(1, 2)]);
      expect(await read(b, 2 * page)).toBe(0);
      await expect(runtime.commit([b], [pages(0)])).rejects.toThrow('free: 0 of 4');
      a.release();
      await runtime.commit([b], [pages(0, 4)]);
      expect([await read(b, 0), await read(b, 2 * page)]).toEqual([0, 0]);
      await runtime.decommit([b], [pages(0, 4)]);
      const c = await slabOf(4);
      await runtime.commit([c], [pages(0, 4)]);
      for (const slab of [b, c]) slab.release();
    });

    it('lives as long as one of its slabs', async () => {
      const slab = await slabOf(1);
      pool.release();
      pool.release();
      await runtime.commit([slab], [pages(0)]);
      await write(slab, 0, 1);
      expect(await read(slab, 0)).toBe(1);
      await expect(slabOf(1)).rejects.toThrow('released already. This is a bug.');
      slab.release();
      await expect(runtime.commit([slab], [pages(0)])).rejects.toThrow('released already. This is a bug.');
      await expect(runtime.decommit([slab], [pages(0)])).rejects.toThrow('released already. This is a bug.');
    });

    it('is not to be had on a device that is missing', async () => {
      const asked = runtime.pagePool({ type: 'cuda', index: 99 }, 65_536);
      await expect(asked).rejects.toMatchObject({ name: 'AvocadoError', code: 'device_unavailable' });
    });

    it('reports wrong pages as a bug, before anything changes', async () => {
      const other = await runtime.pagePool(CPU, 65_536);
      const [slab, whole] = [await slabOf(2), await runtime.allocate('float32', 2 * page, CPU)];
      const foreign = await runtime.allocate('float32', page, CPU, other);
      const bytes = await runtime.allocate('uint8', page, CPU, pool);
      const wrong: [readonly Slab[], readonly SlabRange[], string][] = [
        [[slab], [pages(1, 2)], 'A range reaches past its slab.'],
        [[slab], [pages(0), { from: 3 * page, elements: 0 }], 'A range reaches past its slab.'],
        [[slab], [{ from: 1, elements: page }], 'A range is not of whole pages.'],
        [[slab], [{ from: 0, elements: page - 1 }], 'A range is not of whole pages.'],
        [[slab], [{ from: -page, elements: page }], 'This is a bug.'],
        [[slab], [{ from: 0, elements: -page }], 'This is a bug.'],
        [[slab, whole], [pages(0)], 'A slab has no page pool.'],
        [[whole], [pages(0)], 'A slab has no page pool.'],
        [[slab, foreign], [pages(0)], 'The slabs are of several page pools.'],
        [[slab, bytes], [pages(0)], 'The slabs are of several types.'],
      ];
      for (const [slabs, ranges, message] of wrong) {
        await expect(runtime.commit(slabs, ranges)).rejects.toThrow(message);
        await expect(runtime.decommit(slabs, ranges)).rejects.toThrow(message);
      }
      const strange = { pageBytes: 65_536, pages: 1, release: () => undefined };
      await expect(runtime.allocate('float32', page, CPU, strange)).rejects.toThrow('of another runtime');
      const filled = await slabOf(PAGES);
      await runtime.commit([filled], [pages(0, PAGES)]);
      for (const each of [slab, whole, foreign, bytes, filled]) each.release();
      other.release();
    });
  });
});
