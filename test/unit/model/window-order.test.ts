import { expect, it } from 'vitest';
import type { VisionConfig } from '../../../src/model/checkpoint/config-types.ts';
import { stepLayout, windowGroups } from '../../../src/model/execution/window-order.ts';

const VISION: VisionConfig = {
  depth: 1,
  hiddenSize: 64,
  intermediateSize: 64,
  heads: 4,
  headDim: 16,
  fullAttentionBlocks: [],
  channels: 3,
  patchSize: 14,
  temporalPatchSize: 2,
  mergeSize: 2,
  windowSize: 112,
};

/** As the reference writes it: pad the grid to whole windows with -100, cut, drop the padding and the empty windows. */
function padded(high: number, wide: number, side: number): number[][] {
  const [rows, columns] = [high + side - (high % side), wide + side - (wide % side)];
  const windows: number[][] = [];
  for (let top = 0; top < rows / side; top++) {
    for (let left = 0; left < columns / side; left++) {
      const cells = Array.from({ length: side * side }, (_, cell) => {
        const [y, x] = [top * side + Math.floor(cell / side), left * side + (cell % side)];
        return y < high && x < wide ? y * wide + x : -100;
      });
      windows.push(cells.filter((cell) => cell !== -100));
    }
  }
  return windows.filter((window) => window.length > 0);
}

it('cuts grids of every size into the windows of the reference', () => {
  for (let high = 1; high <= 13; high++)
    for (let wide = 1; wide <= 13; wide++) expect(windowGroups(high, wide, 4)).toEqual(padded(high, wide, 4));
});

it.each([
  [4, 4],
  [6, 8],
  [18, 10],
  [20, 28],
  [2, 60],
])('brings every row of %d x %d patches into a window and back', (gridH, gridW) => {
  const layout = stepLayout(VISION, gridH, gridW);
  const rows = gridH * gridW;
  const places = layout.windowBack;
  expect(places.length).toBe(rows);
  places.forEach((place, row) => {
    expect(layout.windowRows[Number(place)]).toBe(BigInt(row));
  });
  expect(layout.windowLengths.reduce((sum, length) => sum + length, 0)).toBe(rows);
  expect(Math.max(...layout.windowLengths)).toBe(layout.longest);
  layout.windowRows.forEach((row) => {
    expect(row >= 0n && row < BigInt(rows)).toBe(true);
  });
  layout.groupOrder.forEach((group, place) => {
    expect(layout.groupBack[Number(group)]).toBe(BigInt(place));
  });
});

it('turns the first half of the channels by the row of the patch and the second by its column', () => {
  const layout = stepLayout(VISION, 4, 4);
  // Row 3 of group 0 is patch (1, 1); row 4 is patch (0, 2), the first of the next group.
  const cosines = (row: number): number[] => [0, 4].map((column) => layout.cos[row * 8 + column]!);
  expect(cosines(3)).toEqual([Math.fround(Math.cos(1)), Math.fround(Math.cos(1))]);
  expect(cosines(4)).toEqual([1, Math.fround(Math.cos(2))]);
});
