import { describe, expect, it } from 'vitest';
import { Slots } from '../../../src/engine/slots.ts';

describe('Slots', () => {
  it('gives the lowest free slot', () => {
    const slots = new Slots<string>(3);
    expect([slots.take('a'), slots.take('b'), slots.take('c')]).toEqual([0, 1, 2]);
    slots.release(1, 'b');
    slots.release(0, 'a');
    expect(slots.take('d')).toBe(0);
    expect(slots.owners()).toEqual(['d', 'c']);
  });

  it('counts free and used slots', () => {
    const slots = new Slots<string>(2);
    slots.take('a');
    expect([slots.free, slots.used]).toEqual([1, 1]);
    slots.take('b');
    expect([slots.free, slots.used]).toEqual([0, 2]);
  });

  it('calls it a bug to take a slot when none is free, or to release one that is not held', () => {
    const slots = new Slots<string>(1);
    const slot = slots.take('a');
    expect(() => slots.take('b')).toThrow('This is a bug.');
    expect(() => {
      slots.release(slot, 'b');
    }).toThrow('This is a bug.');
    slots.release(slot, 'a');
    expect(() => {
      slots.release(slot, 'a');
    }).toThrow('This is a bug.');
    expect(() => new Slots(0)).toThrow('This is a bug.');
  });
});
