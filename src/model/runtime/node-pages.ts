// Page pools of the portable runtime. Memory of its slabs is taken when it is touched, so that pages are only counted,
// with the errors of native/page-pool.cc and native/page-calls.cc.
import { AvocadoError } from '../../base/errors.ts';
import type { DType } from '../checkpoint/weights.ts';
import { rangesInBytes, type PagePool, type SlabRange } from './runtime.ts';

/** As kCpuPageBytes in native/page-pool.cc. */
export const PAGE_BYTES = 65_536;

export class NodePagePool implements PagePool {
  readonly pageBytes = PAGE_BYTES;
  readonly pages: number;
  free: number;
  released = false;

  constructor(bytes: number) {
    this.pages = Math.floor(bytes / PAGE_BYTES);
    this.free = this.pages;
  }

  release(): void {
    this.released = true;
  }
}

/** Which pages of one slab are committed. */
export class SlabPages {
  readonly pool: NodePagePool;
  readonly bytes: number;
  readonly committed = new Set<number>();
  #released = false;

  /** @throws Error when the pool was released already: that is a bug */
  constructor(pool: NodePagePool, bytes: number) {
    if (pool.released) throw new Error('The page pool was released already. This is a bug.');
    this.pool = pool;
    this.bytes = bytes;
  }

  /** @throws Error when the range is not inside the slab, or the slab was released: both are bugs */
  pagesOf(from: number, bytes: number): number[] {
    if (this.#released) throw new Error('The slab was released already. This is a bug.');
    if (from < 0 || bytes < 0 || from + bytes > this.bytes)
      throw new Error('A range reaches past its slab. This is a bug.');
    if (from % PAGE_BYTES !== 0 || bytes % PAGE_BYTES !== 0)
      throw new Error('A range is not of whole pages. This is a bug.');
    return Array.from({ length: bytes / PAGE_BYTES }, (_, index) => from / PAGE_BYTES + index);
  }

  give(pages: Iterable<number>): void {
    for (const page of pages) if (this.committed.delete(page)) this.pool.free++;
  }

  take(pages: readonly number[]): void {
    for (const page of pages) this.committed.add(page);
    this.pool.free -= pages.length;
  }

  release(): void {
    this.give([...this.committed]);
    this.#released = true;
  }
}

/** A slab as page counting sees it. */
interface Paged {
  readonly dtype: DType;
  readonly pages: SlabPages | undefined;
}

/** Pages of one slab, by their numbers. */
export interface PagesOfSlab<S extends Paged> {
  readonly slab: S;
  readonly pages: readonly number[];
}

/**
 * Commits all or nothing.
 * @returns the pages that were not committed
 * @throws AvocadoError `engine_error` when the pool has too few pages left
 */
export function commitPages<S extends Paged>(slabs: readonly S[], ranges: readonly SlabRange[]): PagesOfSlab<S>[] {
  const wanted = chosen(slabs, ranges).map(({ slab, table, pages }) => ({
    slab,
    table,
    pages: pages.filter((page) => !table.committed.has(page)),
  }));
  const count = wanted.reduce((sum, { pages }) => sum + pages.length, 0);
  const pool = wanted[0]?.table.pool;
  if (pool !== undefined && count > pool.free) {
    throw new AvocadoError(
      'engine_error',
      `Committing memory of the KV cache failed: Pages wanted: ${count}, free: ${pool.free} of ${pool.pages}.`,
    );
  }
  for (const { table, pages } of wanted) table.take(pages);
  return wanted;
}

/** Takes the pages of the ranges away where they are committed. */
export function decommitPages(slabs: readonly Paged[], ranges: readonly SlabRange[]): void {
  for (const { table, pages } of chosen(slabs, ranges)) table.give(pages);
}

/** Each slab once, with each of its pages once. */
function chosen<S extends Paged>(
  slabs: readonly S[],
  ranges: readonly SlabRange[],
): { slab: S; table: SlabPages; pages: number[] }[] {
  const inBytes = rangesInBytes(slabs, ranges);
  return [...new Set(slabs)].map((slab) => {
    const table = slab.pages;
    if (table === undefined) throw new Error('A slab has no page pool. This is a bug.');
    if (table.pool !== slabs[0]?.pages?.pool) throw new Error('The slabs are of several page pools. This is a bug.');
    const pages = new Set(inBytes.flatMap(([from, bytes]) => table.pagesOf(from, bytes)));
    return { slab, table, pages: [...pages] };
  });
}
