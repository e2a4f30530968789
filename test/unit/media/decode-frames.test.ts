import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { FrameAssembler, selectExpression } from '../../../src/media/decode-frames.ts';

/** Frames of four equal bytes: 1111 2222 3333 … */
function stream(frames: number): Uint8Array {
  return Uint8Array.from({ length: frames * 4 }, (_, i) => Math.floor(i / 4) + 1);
}

describe('the frame assembler', () => {
  test.each([1, 3, 4, 5, 7, 100])('cuts the stream into the same frames from pieces of %i bytes', (size) => {
    const seen: number[][] = [];
    const assembler = new FrameAssembler(4, 2, [[0], [1], [2], [3], [4]], (frame) => {
      seen.push([...frame]);
    });
    const bytes = stream(5);
    for (let at = 0; at < bytes.length; at += size)
      expect(assembler.push(bytes.subarray(at, at + size))).toBeUndefined();
    expect(seen).toEqual([
      [1, 1, 1, 1],
      [2, 2, 2, 2],
      [3, 3, 3, 3],
      [4, 4, 4, 4],
      [5, 5, 5, 5],
    ]);
    expect(assembler.frames).toBe(5);
  });

  test('hands a frame that is picked twice to both positions', () => {
    const seen: [number, number][] = [];
    const assembler = new FrameAssembler(4, 2, [[0, 1], [2]], (frame, position) => {
      seen.push([position, frame[0] ?? 0]);
    });
    void assembler.push(stream(2));
    expect(seen).toEqual([
      [0, 1],
      [1, 1],
      [2, 2],
    ]);
  });

  test('never fills a buffer that its reader still holds', async () => {
    const release: (() => void)[] = [];
    const held: Uint8Array[] = [];
    const assembler = new FrameAssembler(4, 2, [[0], [1], [2]], (frame) => {
      held.push(frame);
      return new Promise((resolve) => release.push(resolve));
    });
    let done = false;
    const pushed = Promise.resolve(assembler.push(stream(3))).then(() => {
      done = true;
    });
    await setImmediate();
    expect(done).toBe(false);
    expect(held.map((frame) => frame[0])).toEqual([1, 2]);
    release[0]?.();
    await pushed;
    expect(held.map((frame) => frame[0])).toEqual([3, 2, 3]); // the third came into the first buffer
    for (const free of release) free();
    await assembler.finish();
  });

  test('reports what its reader throws later', async () => {
    const assembler = new FrameAssembler(4, 1, [[0], [1]], () => Promise.reject(new Error('resize failed')));
    await expect(Promise.resolve(assembler.push(stream(2)))).rejects.toThrow('resize failed');
    await expect(assembler.finish()).rejects.toThrow('resize failed');
  });
});

/** Reads eq(n,K) and if(lt(n,K),left,right) as ffmpeg does. */
function selects(expression: string, n: number): boolean {
  let rest = expression;
  const take = (token: RegExp): string => {
    const found = token.exec(rest)?.[1];
    if (found === undefined) throw new Error(`Expected ${token.source} at ${rest.slice(0, 30)}`);
    rest = rest.slice(found.length);
    return found;
  };
  const read = (): boolean => {
    if (take(/^(eq\(n,|if\(lt\(n,)/).startsWith('eq')) {
      const same = Number(take(/^(\d+)/)) === n;
      take(/^(\))/);
      return same;
    }
    const less = n < Number(take(/^(\d+)/));
    take(/^(\),)/);
    const left = read();
    take(/^(,)/);
    const right = read();
    take(/^(\))/);
    return less ? left : right;
  };
  const selected = read();
  expect(rest).toBe('');
  return selected;
}

test('the select expression picks exactly the given frames', () => {
  const picks = [0, 1, 7, 8, 30, 31, 99];
  const expression = selectExpression('n', picks);
  expect(Array.from({ length: 120 }, (_, n) => n).filter((n) => selects(expression, n))).toEqual(picks);
});

test('the select expression is balanced: 768 picks nest ten deep', () => {
  const expression = selectExpression(
    'n',
    Array.from({ length: 768 }, (_, i) => i * 3),
  );
  let depth = 0;
  let deepest = 0;
  for (const character of expression) {
    if (character === '(') deepest = Math.max(deepest, ++depth);
    else if (character === ')') depth--;
  }
  expect(depth).toBe(0);
  expect(deepest).toBeLessThanOrEqual(12);
});
