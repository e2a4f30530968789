import { expect, test } from 'vitest';
import { selectExpression } from '../../../src/media/select-expression.ts';

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

test('picks exactly the given frames', () => {
  const picks = [0, 1, 7, 8, 30, 31, 99];
  const expression = selectExpression(picks);
  expect(Array.from({ length: 120 }, (_, n) => n).filter((n) => selects(expression, n))).toEqual(picks);
});

test('is balanced: 768 picks nest ten deep', () => {
  const expression = selectExpression(Array.from({ length: 768 }, (_, i) => i * 3));
  let depth = 0;
  let deepest = 0;
  for (const character of expression) {
    if (character === '(') deepest = Math.max(deepest, ++depth);
    else if (character === ')') depth--;
  }
  expect(depth).toBe(0);
  expect(deepest).toBeLessThanOrEqual(12);
});
