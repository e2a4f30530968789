// The addon against callers that are wrong: every entry point throws, none reads or writes where it must not. With
// `npm run test:sanitizers` a compiler watches over it.
import { describe, expect, test } from 'vitest';
import { loadNative, nativeStatus, type NativeAddon } from '../../../src/base/native.ts';

type Loose = { readonly [Name in keyof NativeAddon]: (...values: unknown[]) => unknown };

const status = nativeStatus();
if (!status.loaded) console.warn(`Skipped: test/unit/base/native.test.ts. ${status.reason}`);
const addon = loadNative() as Loose | undefined;

const SIDE = 28;
const SIZE = SIDE * SIDE * 3;
const CONFIG = {
  device: { type: 'cpu' },
  threads: 1,
  spinning: false,
  disablePrepacking: false,
  recordings: false,
  hostInputs: [],
  ownKernels: false,
  logSeverity: 3,
};
const ignore = (): void => undefined;

/** Each target pixel is the source pixel at its place. */
function taps(): Record<string, unknown> {
  const start = Int32Array.from({ length: SIDE }, (_, index) => index);
  return { stride: 1, start, count: new Int32Array(SIDE).fill(1), weights: new Float32Array(SIDE).fill(1) };
}

function detached<A extends Uint8Array | Float32Array | Float64Array | Int32Array>(array: A): A {
  structuredClone(array, { transfer: [array.buffer as ArrayBuffer] });
  return array;
}

/** The object, but reading this property detaches the array first. */
function trap(object: Record<string, unknown>, name: string, array: Uint8Array | Float32Array | Int32Array): object {
  const value = object[name];
  return Object.defineProperty({ ...object }, name, {
    get: () => {
      if (array.byteLength > 0) detached(array);
      return value;
    },
  });
}

function resize(changes: Record<number, unknown>): unknown {
  const values = [new Uint8Array(SIZE), SIDE, SIDE, new Uint8Array(SIZE), SIDE, SIDE, taps(), taps()];
  return addon?.resizeFrame(...values.map((value, index) => (index in changes ? changes[index] : value)));
}

function cut(changes: Record<number, unknown>): unknown {
  const [frames, mean, deviation] = [new Uint8Array(2 * SIZE), new Float32Array(3), new Float32Array(3).fill(1)];
  const values = [frames, 2, SIDE, SIDE, 0, 1, mean, deviation, new Float32Array(2 * SIZE)];
  return addon?.cutPatches(...values.map((value, index) => (index in changes ? changes[index] : value)));
}

const slab = (): unknown => addon?.allocateSlab({ type: 'cpu' }, 64);
const PAGE = 65_536;
const pool = (pages = 4): unknown => addon?.createPagePool({ type: 'cpu' }, pages * PAGE);
const paged = (from: unknown, pages = 2): unknown => addon?.allocateSlab({ type: 'cpu' }, pages * PAGE, from);
/** Resolves with the message of a call that is done, if it has one. */
const changed = (call: 'commitSlabs' | 'decommitSlabs', slabs: unknown, ...ranges: number[]): Promise<unknown> =>
  new Promise((resolve) => addon?.[call](slabs, Float64Array.from(ranges), resolve));
const session = (): unknown => addon?.createSession(new Uint8Array(8), CONFIG, ignore);
const run = (layout: unknown, memory: unknown): unknown => addon?.runSession(session(), layout, memory, ignore);
/** One tensor [data type, offset, rank, ...dims] in four floats. */
const tensor = (...numbers: number[]): unknown => run(Float64Array.from(numbers), [new Float32Array(4)]);

describe.skipIf(!status.loaded)('the addon', () => {
  test('does what it is for', () => {
    resize({});
    cut({});
    expect(() => addon?.releaseSlab(slab())).not.toThrow();
  });

  const source = (): Uint8Array => new Uint8Array(SIZE);
  test.each<readonly [string, () => unknown]>([
    ['a detached source', () => resize({ 0: detached(source()) })],
    ['a detached target', () => resize({ 3: detached(source()) })],
    ['a source of another type', () => resize({ 0: new Float64Array(SIZE) })],
    ['a side of 2^31 - 1', () => resize({ 1: 2 ** 31 - 1, 2: 2 ** 31 - 1 })],
    ['a side that wraps to 1', () => resize({ 1: 2 ** 32 + 1 })],
    ['a side that is no number', () => resize({ 4: Number.NaN })],
    ['a stride of 0', () => resize({ 6: { ...taps(), stride: 0 } })],
    ['a negative stride', () => resize({ 7: { ...taps(), stride: -1 } })],
    ['taps that are a text', () => resize({ 6: 'taps' })],
    ['taps past the source', () => resize({ 6: { ...taps(), start: new Int32Array(SIDE).fill(SIDE) } })],
    ['a count beyond the stride', () => resize({ 6: { ...taps(), count: new Int32Array(SIDE).fill(9) } })],
    ['detached frames', () => cut({ 0: detached(source()) })],
    ['a mean of two', () => cut({ 6: new Float32Array(2) })],
    ['more frames than memory', () => cut({ 1: 2 ** 20, 5: 2 ** 19 })],
    ['a product beyond 64 bits', () => cut({ 1: 2 ** 31 - 1, 2: 2 ** 31 - 20, 3: 2 ** 31 - 20 })],
    ['steps that do not exist', () => cut({ 4: 1, 5: 2 })],
  ])('refuses pixels with %s', (_name, call) => {
    expect(call).toThrow(/This is a bug\.$/);
  });

  test('looks at memory after the last getter of its arguments', () => {
    for (const name of ['stride', 'start', 'count', 'weights']) {
      const [from, to, rows] = [source(), source(), taps()];
      expect(() => resize({ 0: from, 7: trap(taps(), name, from) })).toThrow('too short');
      expect(() => resize({ 3: to, 6: trap(taps(), name, to) })).toThrow('too short');
      expect(() => resize({ 6: rows, 7: trap(taps(), name, rows['weights'] as Float32Array) })).toThrow('too short');
    }
    const data = new Float32Array(4);
    const memory = Object.defineProperty([data, 0], 1, { get: () => detached(data) });
    expect(() => run(Float64Array.of(1, 0, 1, 4, 1, 0, 1, 4), memory)).toThrow('reaches past its memory');
    const layout = Float64Array.of(1, 0, 1, 4);
    expect(() => run(layout, Object.defineProperty([0], 0, { get: () => (detached(layout), data) }))).toThrow(
      'too short',
    );
    expect(() => addon?.createSession(new Uint8Array(1), trap(CONFIG, 'threads', source()), 'done')).toThrow(
      'function',
    );
  });

  test('tells its handles apart, and from all else', () => {
    for (const wrong of [{}, 5, undefined, null, 'slab', slab()]) {
      expect(() => addon?.sessionNames(wrong)).toThrow('no handle of a session');
      expect(() => addon?.terminateRun(wrong, 1)).toThrow('no handle of a session');
      expect(() => addon?.releaseSession(wrong, ignore)).toThrow('no handle of a session');
      expect(() => addon?.runSession(wrong, new Float64Array(0), [], ignore)).toThrow('no handle of a session');
    }
    for (const wrong of [{}, 5, undefined, null, 'session', session()]) {
      expect(() => addon?.releaseSlab(wrong)).toThrow('no handle of a slab');
      expect(() => addon?.copyWithinSlabs([slab(), wrong], new Float64Array(3), ignore)).toThrow('no handle of a slab');
      expect(() => addon?.readSlab(wrong, 0, new Float32Array(1), ignore)).toThrow('no handle of a slab');
    }
    expect(() => run(Float64Array.of(1, 0, 1, 1), [session()])).toThrow('no handle of a slab');
  });

  test.each([Number.NaN, -8, 0.5, 2 ** 60, Infinity])('refuses a size or a place of %f', (number) => {
    expect(() => addon?.allocateSlab({ type: 'cpu' }, number)).toThrow();
    for (const place of [0, 1, 2]) {
      const pieces = Float64Array.of(0, 8, 8).fill(number, place, place + 1);
      expect(() => addon?.copyWithinSlabs([slab()], pieces, ignore)).toThrow(/This is a bug\.$/);
    }
    expect(() => addon?.readSlab(slab(), number, new Uint8Array(1), ignore)).toThrow(/This is a bug\.$/);
    for (const numbers of [
      [1, number, 1, 4],
      [1, 0, number, 4],
      [1, 0, 1, number],
      [1, 0, 2, 2 ** 40, 2 ** 40],
    ])
      expect(() => tensor(...numbers)).toThrow(/This is a bug\.$/);
  });

  test('commits pages of a pool, all or none, and has them again', async () => {
    const shared = pool();
    expect(addon?.pagePoolSize(shared)).toEqual([PAGE, 4]);
    const [a, b] = [paged(shared), paged(shared, 3)];
    expect(await changed('commitSlabs', [a, b], 0, 2 * PAGE, PAGE, PAGE)).toBeUndefined();
    expect(await changed('commitSlabs', [a, b, b], 0, PAGE, PAGE, 0)).toBeUndefined();
    expect(await changed('commitSlabs', [b], 2 * PAGE, PAGE)).toBe('Pages wanted: 1, free: 0 of 4.');
    expect(await changed('decommitSlabs', [a, a], PAGE, PAGE, 0, 2 * PAGE)).toBeUndefined();
    expect(await changed('commitSlabs', [b], 2 * PAGE, PAGE)).toBeUndefined();
    addon?.releaseSlab(b);
    addon?.releasePagePool(shared);
    expect(await changed('commitSlabs', [a], 0, 2 * PAGE)).toBeUndefined();
    expect(() => paged(shared)).toThrow('released already');
    expect(() => addon?.pagePoolSize(shared)).toThrow('released already');
    const target = new Uint8Array(PAGE).fill(1);
    expect(await new Promise((resolve) => addon?.readSlab(a, PAGE, target, resolve))).toBeUndefined();
    expect(target.every((value) => value === 0)).toBe(true);
    addon?.releaseSlab(a);
  });

  test('changes pages by several threads at once', async () => {
    const shared = pool(64);
    const slabs = Array.from({ length: 8 }, () => paged(shared, 8));
    for (let round = 0; round < 8; round++) {
      const calls = slabs.flatMap((each) => [
        changed('commitSlabs', [each, slabs[round]], 0, 4 * PAGE, 4 * PAGE, 4 * PAGE),
        changed('decommitSlabs', [each], PAGE, 6 * PAGE),
      ]);
      expect(await Promise.all(calls)).toEqual(calls.map(() => undefined));
    }
    expect(await changed('commitSlabs', slabs, 0, 8 * PAGE)).toBeUndefined();
    expect(await changed('decommitSlabs', slabs, 0, 8 * PAGE)).toBeUndefined();
    expect(await changed('commitSlabs', slabs, 0, 8 * PAGE)).toBeUndefined();
  });

  test('refuses pages that are not what they should be', () => {
    const shared = pool();
    for (const call of ['commitSlabs', 'decommitSlabs'] as const) {
      const change = (slabs: unknown, ranges: unknown = Float64Array.of(0, PAGE), done: unknown = ignore) =>
        addon?.[call](slabs, ranges, done);
      expect(() => change([paged(shared), slab()])).toThrow('no page pool');
      expect(() => change([slab()])).toThrow('no page pool');
      expect(() => change([paged(shared), paged(pool())])).toThrow('several page pools');
      expect(() => change([paged(shared), session()])).toThrow('no handle of a slab');
      expect(() => change(paged(shared))).toThrow('no array');
      expect(() => change([])).toThrow('needs a slab');
      expect(() => change([paged(shared)], [0, PAGE])).toThrow('not a typed array');
      expect(() => change([paged(shared)], new Int32Array(2))).toThrow('another element type');
      expect(() => change([paged(shared)], undefined, 'done')).toThrow('not a function');
      const ranges = detached(Float64Array.of(0, PAGE));
      expect(() => change([paged(shared)], ranges, 'done')).toThrow('not a function');
      for (const [from, bytes] of [
        [0, 3 * PAGE],
        [2 * PAGE, PAGE],
        [3 * PAGE, 0],
        [2 ** 53, 2 ** 53],
      ] as const)
        expect(() => change([paged(shared)], Float64Array.of(from, bytes))).toThrow('reaches past its slab');
      for (const numbers of [Float64Array.of(1, PAGE), Float64Array.of(0, 8)])
        expect(() => change([paged(shared)], numbers)).toThrow('not of whole pages');
      for (const number of [Number.NaN, -PAGE, 0.5, 2 ** 60, Infinity]) {
        expect(() => change([paged(shared)], Float64Array.of(0, number))).toThrow(/This is a bug\.$/);
        expect(() => change([paged(shared)], Float64Array.of(number, PAGE))).toThrow(/This is a bug\.$/);
      }
    }
    for (const wrong of [{}, 5, null, 'pool', slab(), session()]) {
      expect(() => addon?.pagePoolSize(wrong)).toThrow('no handle of a page pool');
      expect(() => addon?.releasePagePool(wrong)).toThrow('no handle of a page pool');
      expect(() => paged(wrong)).toThrow('no handle of a page pool');
    }
    expect(() => addon?.createPagePool({ type: 'cpu' }, 2 ** 53)).toThrow('too many pages. This is a bug.');
    expect(() => addon?.createPagePool({ type: 'cpu' }, -1)).toThrow(/This is a bug\.$/);
    expect(() => addon?.allocateSlab({ type: 'cuda', index: 0 }, PAGE, shared)).toThrow('of another device');
    expect(() => paged(shared, 0)).toThrow('must not be empty');
    expect(addon?.pagePoolSize(pool(0))).toEqual([PAGE, 0]);
  });

  test('refuses a run whose arrays are not what they should be', () => {
    expect(() => tensor(99, 0, 1, 1)).toThrow('not supported');
    expect(() => tensor(1, 8, 1, 3)).toThrow('reaches past its memory');
    expect(() => tensor(1, 0, 1)).toThrow('too short');
    expect(() => run(new Uint8Array(4), [new Float32Array(4)])).toThrow('another element type');
    expect(() => run(Float64Array.of(1, 0, 1, 1), [{}])).toThrow('not a typed array');
    expect(() => run(Float64Array.of(1, 0, 1, 1), {})).toThrow('no array');
    expect(() => addon?.copyWithinSlabs([slab()], new Uint8Array(3), ignore)).toThrow('another element type');
    expect(() => addon?.copyWithinSlabs(slab(), new Float64Array(3), ignore)).toThrow('no array');
    expect(() => addon?.copyWithinSlabs([], new Float64Array(3), ignore)).toThrow('needs a slab');
    expect(() => addon?.copyWithinSlabs([slab()], new Float64Array(3), 'done')).toThrow('not a function');
    expect(() => addon?.readSlab(slab(), 0, 'target', ignore)).toThrow('not a typed array');
    expect(() => addon?.readSlab(slab(), 0, new Float32Array(1), 'done')).toThrow('not a function');
    expect(() => addon?.readSlab(slab(), 0, new Float32Array(2 ** 10), ignore)).toThrow('reaches past its slab');
    expect(() => addon?.createSession('model', CONFIG, ignore)).toThrow('not a typed array');
  });
});
