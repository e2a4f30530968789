// A process on the stub: one case of paged slabs on the device. Prints what it found as JSON.
//   pages.ts CASE LOG
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { openRuntime } from '../../../src/model/runtime/open-runtime.ts';
import type { PagePool, Runtime, Session, Slab, SlabRange } from '../../../src/model/runtime/runtime.ts';
import { floats, identityGraph } from '../../fixtures/tiny-graphs.ts';

const [name = '', log = ''] = process.argv.slice(2);
const CUDA = { type: 'cuda', index: 0 } as const;
const PAGE_BYTES = 2 ** 21;
/** elements of a page */
const PAGE = PAGE_BYTES / 4;

/** What a case works with. */
interface Tools {
  readonly runtime: Runtime;
  readonly pool: PagePool;
  /** a slab of so many pages */
  readonly slabOf: (pages: number) => Promise<Slab>;
  /** writes a value at the start of these pages, one after the other */
  readonly write: (slab: Slab, pages: readonly number[], value: number) => Promise<void>;
  /** the value at the start of each page */
  readonly read: (slab: Slab) => Promise<number[]>;
  /** lines that the stub wrote while `work` ran, without those of copies and waits */
  readonly during: (work: () => unknown) => Promise<string[]>;
}

const pages = (first: number, count = 1): SlabRange => ({ from: first * PAGE, elements: count * PAGE });
const messageOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no error',
    (error: unknown) => `${(error as { code?: string }).code ?? ''}: ${(error as Error).message}`,
  );

const cases: Record<string, (tools: Tools) => Promise<unknown>> = {
  async scratch({ slabOf, write, read, during }) {
    const reserving = await during(() => slabOf(3));
    const slab = await slabOf(3);
    await write(slab, [1], 5);
    return { reserving, values: await read(slab) };
  },

  async commit({ runtime, slabOf, write, read, during }) {
    const [a, b] = [await slabOf(4), await slabOf(4)];
    await write(a, [0], 9);
    const committing = await during(() => runtime.commit([a, b], [pages(1, 2)]));
    const fresh = [await read(a), await read(b)];
    await write(a, [1], 1);
    await write(a, [2], 2);
    await write(b, [1], 3);
    await runtime.commit([a], [pages(0, 2)]);
    const written = [await read(a), await read(b)];
    await runtime.copyWithin([a], [{ from: PAGE, to: 2 * PAGE, elements: PAGE }]);
    await runtime.copyWithin([a], [{ from: PAGE, to: 0, elements: 2 }]);
    return { committing, fresh, written, copied: await read(a) };
  },

  async decommit({ runtime, slabOf, write, read, during }) {
    const [a, b] = [await slabOf(5), await slabOf(5)];
    await runtime.commit([a], [pages(0, 5)]);
    for (const page of [0, 1, 2, 3, 4]) await write(a, [page], page + 1);
    const decommitting = await during(() => runtime.decommit([a], [pages(1, 3)]));
    const left = await read(a);
    await runtime.commit([b], [pages(0, 3)]);
    const second = await read(b);
    return { decommitting, left, second, firstAgain: await read(a) };
  },

  async exhaustion({ runtime, slabOf, write, read, during }) {
    const [a, b] = [await slabOf(5), await slabOf(5)];
    await runtime.commit([a], [pages(0, 4)]);
    await write(a, [3], 4);
    let message = '';
    const refusing = await during(async () => (message = await messageOf(runtime.commit([a, b], [pages(3, 2)]))));
    await write(b, [0], 7);
    const values = [await read(a), await read(b)];
    a.release();
    await runtime.commit([b], [pages(0, 5)]);
    return { message, refusing, values, afterwards: await read(b) };
  },

  // The stub fails in the fourth call for access: the second slab's when both are committed.
  async failure({ runtime, slabOf, write, read }) {
    const [a, b] = [await slabOf(2), await slabOf(2)];
    await write(a, [0], 6);
    const message = await messageOf(runtime.commit([a, b], [pages(0, 2)]));
    const values = [await read(a), await read(b)];
    await runtime.commit([a, b], [pages(0, 2)]);
    return { message, values, afterwards: [await read(a), await read(b)] };
  },

  // The stub fails in the fourth call for access: where the pages of the first slab are taken.
  async 'failure to take'({ runtime, slabOf, write, read }) {
    const [a, b] = [await slabOf(2), await slabOf(5)];
    await runtime.commit([a], [pages(0, 2)]);
    const message = await messageOf(runtime.decommit([a], [pages(0, 2)]));
    await runtime.commit([a], [pages(0, 2)]);
    await write(a, [0], 1);
    await write(a, [1], 2);
    const values = await read(a);
    await runtime.decommit([a], [pages(0, 2)]);
    await runtime.commit([b], [pages(0, 5)]);
    return { message, values, second: await read(b) };
  },

  async release({ runtime, pool, slabOf, during }) {
    const [a, b] = [await slabOf(2), await slabOf(3)];
    await runtime.commit([a, b], [pages(0, 2)]);
    const lines = await during(() => {
      for (const each of [a, pool, b]) each.release();
    });
    return { lines };
  },

  async room({ runtime, during }) {
    let message = '';
    const lines = await during(async () => (message = await messageOf(runtime.pagePool(CUDA, 2 ** 30))));
    return { message, lines };
  },
};

async function toolsOf(runtime: Runtime, session: Session): Promise<Tools> {
  const pool = await runtime.pagePool(CUDA, 5 * PAGE_BYTES + 4096);
  const first = (slab: Slab, page: number) => ({ kind: 'slab', slab, offset: page * PAGE, dims: [1] }) as const;
  return {
    runtime,
    pool,
    slabOf: (count) => runtime.allocate('float32', (count - 1) * PAGE + 1, CUDA, pool),
    async write(slab, where, value) {
      for (const page of where)
        await session.run({ x_float32: floats([1], [value]) }, { y_float32: first(slab, page) });
    },
    async read(slab) {
      const values: number[] = [];
      for (let page = 0; page < slab.elements / PAGE; page++) {
        const found = new Float32Array(1);
        await runtime.read(first(slab, page), found);
        values.push(found[0]!);
      }
      return values;
    },
    async during(work) {
      const before = readFileSync(log, 'utf8').length;
      await work();
      const lines = readFileSync(log, 'utf8').slice(before).trim().split('\n');
      return lines.filter((line) => /^(PAGE|FILL|WAIT)/.test(line));
    },
  };
}

const runtime = await openRuntime({ runtime: 'native', device: CUDA });
const options = { device: CUDA, threads: 1, spinning: false, disablePrepacking: false };
const session = await runtime.createSession(identityGraph(['float32']), options);
const tools = await toolsOf(runtime, session);
const found = await cases[name]?.(tools);
process.stdout.write(`\n${JSON.stringify({ pages: tools.pool.pages, pageBytes: tools.pool.pageBytes, found })}\n`);
await runtime.close();
