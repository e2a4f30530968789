import { expect, it } from 'vitest';
import { sinusoids, textRopeTables } from '../../../../src/model/graphs/rope-tables.ts';

it("keeps the reference's float32 rounding of angles at far positions", () => {
  // torch: (1.0 / 1e6 ** (torch.arange(0, 128, 2).float() / 128))[1] is 0.80584216...; times 30000 in float32, then
  // cos.
  const { cos, sin } = textRopeTables(1_000_000, 128, 30_001);
  const frequency = Math.fround(1 / Math.fround(1_000_000 ** (2 / 128)));
  const angle = Math.fround(Math.fround(30_000) * frequency);
  expect(cos[30_000 * 64 + 1]).toBe(Math.fround(Math.cos(angle)));
  expect(sin[30_000 * 64]).toBe(Math.fround(Math.sin(30_000)));
  expect([cos[5], sin[5]]).toEqual([1, 0]);
});

it('starts sinusoids at position 0 with sines before cosines', () => {
  const table = sinusoids(3, 8);
  expect([...table.subarray(0, 8)]).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
  expect([table[8], table[12]]).toEqual([Math.fround(Math.sin(1)), Math.fround(Math.cos(1))]);
  expect(table[2 * 8 + 3]).toBeCloseTo(Math.sin(2 / 10_000), 7);
});
