import { describe, expect, it } from 'vitest';
import { PrefixSlots } from '../../../src/engine/prefix-slots.ts';

function stored(slots: PrefixSlots, key: string): number | undefined {
  const slot = slots.take();
  if (slot !== undefined) slots.put(key, slot);
  return slot;
}

describe('PrefixSlots', () => {
  it('gives free slots first, then that of the key used longest ago', () => {
    const slots = new PrefixSlots(4, 3);
    expect(['a', 'b', 'c'].map((key) => stored(slots, key))).toEqual([4, 5, 6]);
    expect(slots.use('a')).toBe(4);
    expect(stored(slots, 'd')).toBe(5);
    expect(['a', 'b', 'c', 'd'].map((key) => slots.has(key))).toEqual([true, false, true, true]);
    expect(slots.use('b')).toBeUndefined();
    expect(stored(slots, 'e')).toBe(6);
    expect(stored(slots, 'f')).toBe(4);
  });

  it('has the slot of a forgotten key, and one given back, for others', () => {
    const slots = new PrefixSlots(0, 2);
    stored(slots, 'a');
    stored(slots, 'b');
    slots.forget('b');
    slots.forget('b');
    expect(slots.take()).toBe(1);
    expect(slots.has('a')).toBe(true);
    slots.giveBack(1);
    expect(stored(slots, 'c')).toBe(1);
    expect(slots.has('a')).toBe(true);
  });

  it('keeps nothing where there are no slots', () => {
    const slots = new PrefixSlots(4, 0);
    expect(slots.take()).toBeUndefined();
    expect(slots.has('a')).toBe(false);
  });
});
