import { expect, test } from 'vitest';
import { selectExpression } from '../../../src/media/select-expression.ts';

/** ffmpeg's own reading of the expression, for the three functions it uses. */
function selects(expression: string, n: number): boolean {
  const js = expression.replaceAll('if(', 'choose(');
  const evaluate = new Function('n', 'eq', 'lt', 'choose', `return ${js};`) as (n: number, ...functions: ((...values: number[]) => number)[]) => number;
  return evaluate(n, (a = 0, b = 0) => Number(a === b), (a = 0, b = 0) => Number(a < b), (condition = 0, yes = 0, no = 0) => (condition === 0 ? no : yes)) !== 0;
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
