// Which memory the KV cache asks of a runtime: a fake one notes what is committed and taken back.
import { describe, expect, it } from 'vitest';
import { KvCache, type KvCacheOptions } from '../../../../src/model/execution/kv-cache.ts';
import type { Runtime, Slab, SlabPiece, SlabRange } from '../../../../src/model/runtime/runtime.ts';

const TEXT = { kvHeads: 2, headDim: 8, layers: 3 };
const SLABS = 2 * TEXT.layers;
/** of a head: 4 rows of 8 float32 */
const PAGE_BYTES = 128;
/** one page of each head of each slab */
const BLOCK_BYTES = SLABS * TEXT.kvHeads * PAGE_BYTES;

interface Notes {
  readonly calls: [name: 'commit' | 'decommit', slabs: number, ranges: readonly SlabRange[]][];
  readonly copies: (readonly SlabPiece[])[];
  readonly elements: number[];
  allocations: number;
  released: number;
  poolReleased: number;
}

function notingRuntime(notes: Notes, most = Infinity): Runtime {
  const unasked = (): Promise<never> => Promise.reject(new Error('not asked for'));
  const noting =
    (name: 'commit' | 'decommit') =>
    (slabs: readonly Slab[], ranges: readonly SlabRange[]): Promise<void> => {
      notes.calls.push([name, slabs.length, ranges]);
      return Promise.resolve();
    };
  return {
    ...{ name: 'node', version: '0', createSession: unasked, read: unasked, close: unasked },
    pagePool: (_, bytes) =>
      Promise.resolve({
        pageBytes: PAGE_BYTES,
        pages: Math.floor(bytes / PAGE_BYTES),
        release: () => {
          notes.poolReleased++;
        },
      }),
    allocate: (dtype, elements) => {
      if (notes.allocations++ >= most) return Promise.reject(new Error('no memory'));
      notes.elements.push(elements);
      return Promise.resolve({
        dtype,
        elements,
        release: () => {
          notes.released++;
        },
      });
    },
    commit: noting('commit'),
    decommit: noting('decommit'),
    copyWithin: (_, pieces) => {
      notes.copies.push(pieces);
      return Promise.resolve();
    },
  };
}

function noted(): Notes {
  return { calls: [], copies: [], elements: [], allocations: 0, released: 0, poolReleased: 0 };
}

function opened(notes: Notes, more: Partial<KvCacheOptions> = {}, most?: number): Promise<KvCache> {
  const runtime = notingRuntime(notes, most);
  const shape = { dtype: 'float32', text: TEXT, slots: 3, capacity: 10 } as const;
  return KvCache.create({ runtime, device: { type: 'cpu' }, ...shape, ...more });
}

describe('a KV cache whose slots have their memory from the start', () => {
  it('reserves one row more than tokens, and asks for no memory later', async () => {
    const notes = noted();
    const cache = await opened(notes);
    expect(notes.elements).toEqual(new Array(SLABS).fill(3 * TEXT.kvHeads * 11 * TEXT.headDim));
    expect([cache.blocks, cache.blockTokens, cache.rows]).toEqual([3, 11, 11]);
    expect([cache.hasRoom(0, 10), cache.hasRoom(0, 11), cache.hasRoom(3, 1)]).toEqual([true, false, false]);
    await cache.allocate(0, 10);
    await cache.free(0);
    expect(notes.calls).toEqual([]);
  });
});

describe('a KV cache with less memory than its slots could fill', () => {
  it('has blocks of a page per head, and gives and takes those of a slot in all slabs at once', async () => {
    const notes = noted();
    const cache = await opened(notes, { bytes: 5 * BLOCK_BYTES });
    expect([cache.blocks, cache.blockTokens, cache.rows]).toEqual([5, 4, 12]);
    expect(cache.hasRoom(1, 1)).toBe(false);
    await cache.allocate(1, 5);
    // 5 tokens are 2 blocks of 4 rows of 8 values, at the start of each head of slot 1
    const ranges = [2, 3].map((head) => ({ from: head * 12 * 8, elements: 2 * 4 * 8 }));
    expect(notes.calls).toEqual([['commit', SLABS, ranges]]);
    expect([cache.hasRoom(1, 8), cache.hasRoom(1, 9)]).toEqual([true, false]);
    cache.extend(1, 5);
    expect([cache.length(1), cache.hasRoom(1, 3), cache.hasRoom(1, 4)]).toEqual([5, true, false]);
    await cache.free(1);
    expect(notes.calls.slice(1)).toEqual([['decommit', SLABS, ranges]]);
    await cache.free(1);
    expect(notes.calls).toHaveLength(2);
    expect([cache.length(1), cache.hasRoom(1, 1)]).toEqual([0, false]);
    cache.release();
    expect([notes.released, notes.poolReleased]).toEqual([SLABS, 1]);
  });

  it('has whole tokens in a block where a page has not', async () => {
    // rows of 6 values, 24 bytes: 3 pages of 128 bytes are 16 rows
    const text = { ...TEXT, headDim: 6 };
    const cache = await opened(noted(), { text, bytes: 3 * BLOCK_BYTES });
    expect([cache.blocks, cache.blockTokens, cache.rows]).toEqual([1, 16, 16]);
  });

  it('copies only to a slot that has memory', async () => {
    const notes = noted();
    const cache = await opened(notes, { bytes: 5 * BLOCK_BYTES });
    await cache.allocate(0, 8);
    cache.extend(0, 8);
    await expect(cache.copy(0, 2, 5)).rejects.toThrow('This is a bug.');
    await cache.allocate(2, 5);
    await cache.copy(0, 2, 5);
    expect(notes.copies).toEqual([[0, 1].map((head) => ({ from: head * 96, to: (4 + head) * 96, elements: 5 * 8 }))]);
    expect(cache.length(2)).toBe(5);
    await expect(cache.allocate(2, 5)).rejects.toThrow('This is a bug.');
  });

  it('is refused where one full slot does not fit, with the bytes that it needs', async () => {
    const notes = noted();
    await expect(opened(notes, { bytes: 3 * BLOCK_BYTES - 1 })).rejects.toMatchObject({
      code: 'bad_request',
      param: 'kvCacheBytes',
      message: expect.stringContaining(`needs ${3 * BLOCK_BYTES} bytes`) as string,
    });
    expect(notes.poolReleased).toBe(1);
    await opened(notes, { bytes: 3 * BLOCK_BYTES });
  });

  it('gives all back when a slab cannot be reserved', async () => {
    const notes = noted();
    await expect(opened(notes, { bytes: 3 * BLOCK_BYTES }, 4)).rejects.toThrow('no memory');
    expect([notes.released, notes.poolReleased]).toEqual([4, 1]);
  });
});
