import { describe, expect, it } from 'vitest';
import { Blocks } from '../../../src/engine/blocks.ts';

describe('Blocks', () => {
  it('counts whole blocks of each slot', () => {
    const blocks = new Blocks(5, 16);
    expect([0, 1, 16, 17, 80].map((tokens) => blocks.of(tokens))).toEqual([0, 1, 1, 2, 5]);
    expect([blocks.capacity, blocks.free]).toEqual([80, 5]);
    blocks.take(0, 17);
    blocks.take(3, 16);
    expect([blocks.free, blocks.heldBy(0), blocks.heldBy(1), blocks.heldBy(3)]).toEqual([2, 2, 0, 1]);
    blocks.release(0);
    blocks.release(0);
    expect([blocks.free, blocks.heldBy(0)]).toEqual([4, 0]);
  });

  it('calls it a bug to take more than is free, or twice', () => {
    const blocks = new Blocks(2, 16);
    expect(() => {
      blocks.take(0, 33);
    }).toThrow('This is a bug.');
    blocks.take(0, 1);
    expect(() => {
      blocks.take(0, 1);
    }).toThrow('This is a bug.');
    expect(blocks.free).toBe(1);
  });
});
