import { expect, it } from 'vitest';
import { InOrder } from '../../../src/captioner/in-order.ts';

it('passes on the first source at once, and each later one when those before it have ended', () => {
  const out: string[] = [];
  const order = new InOrder<string>((value) => out.push(value));
  order.emit(1, 'b1');
  order.emit(0, 'a1');
  order.emit(2, 'c1');
  order.emit(1, 'b2');
  order.end(1);
  expect(out).toEqual(['a1']);
  order.end(0);
  expect(out).toEqual(['a1', 'b1', 'b2', 'c1']);
  order.emit(2, 'c2');
  expect(out.at(-1)).toBe('c2');
});
