// Which rows of one temporal step see each other in the vision tower's window layers (docs/reference-model.md 7.1): the merged
// grid is cut into windows of at most 4x4 groups, clipped at the right and bottom, and rows are kept in window order.
import type { VisionConfig } from '../checkpoint/config-types.ts';
import { visionRopeTables } from './rope-tables.ts';

/** Everything the vision graph wants to know of one step of gridH x gridW patches. */
export interface StepLayout {
  /** [groups] group of the processor's order at each place of the window order, and the inverse */
  readonly groupOrder: BigInt64Array<ArrayBuffer>;
  readonly groupBack: BigInt64Array<ArrayBuffer>;
  /** [rows, headDim / 2] in window order */
  readonly cos: Float32Array<ArrayBuffer>;
  readonly sin: Float32Array<ArrayBuffer>;
  /** rows of the longest window */
  readonly longest: number;
  /** [windows] rows of each */
  readonly windowLengths: Int32Array<ArrayBuffer>;
  /** [windows, longest] rows in window order; padding repeats the window's first row */
  readonly windowRows: BigInt64Array<ArrayBuffer>;
  /** [rows] place of each row among the padded ones */
  readonly windowBack: BigInt64Array<ArrayBuffer>;
}

/** Groups of each window, in window order: windows row by row, groups row by row inside. */
export function windowGroups(groupsHigh: number, groupsWide: number, side: number): number[][] {
  const windows: number[][] = [];
  for (let top = 0; top < groupsHigh; top += side) {
    for (let left = 0; left < groupsWide; left += side) {
      const groups: number[] = [];
      for (let y = top; y < Math.min(top + side, groupsHigh); y += 1) {
        for (let x = left; x < Math.min(left + side, groupsWide); x += 1) groups.push(y * groupsWide + x);
      }
      windows.push(groups);
    }
  }
  return windows;
}

function inverse(order: readonly number[]): BigInt64Array<ArrayBuffer> {
  const back = new BigInt64Array(order.length);
  order.forEach((from, to) => (back[from] = BigInt(to)));
  return back;
}

/** Tables of a step of gridH x gridW patches (both multiples of mergeSize). */
export function stepLayout(vision: VisionConfig, gridH: number, gridW: number): StepLayout {
  const { mergeSize, patchSize, windowSize, headDim } = vision;
  const unit = mergeSize ** 2;
  const groupsWide = gridW / mergeSize;
  const side = Math.floor(Math.floor(windowSize / mergeSize) / patchSize);
  const windows = windowGroups(gridH / mergeSize, groupsWide, side);
  const order = windows.flat();
  const longest = Math.max(...windows.map((groups) => groups.length)) * unit;
  const windowRows = new BigInt64Array(windows.length * longest);
  const windowBack = new BigInt64Array(gridH * gridW);
  let start = 0;
  windows.forEach((groups, window) => {
    const length = groups.length * unit;
    for (let place = 0; place < longest; place += 1)
      windowRows[window * longest + place] = BigInt(place < length ? start + place : start);
    for (let place = 0; place < length; place += 1) windowBack[start + place] = BigInt(window * longest + place);
    start += length;
  });
  // Row r of a group is the patch (r div merge, r mod merge) in it.
  const inGroup = Array.from({ length: unit }, (_, row) => ({ y: Math.floor(row / mergeSize), x: row % mergeSize }));
  const y = Int32Array.from(
    order.flatMap((group) => inGroup.map((patch) => Math.floor(group / groupsWide) * mergeSize + patch.y)),
  );
  const x = Int32Array.from(
    order.flatMap((group) => inGroup.map((patch) => (group % groupsWide) * mergeSize + patch.x)),
  );
  const windowLengths = Int32Array.from(windows, (groups) => groups.length * unit);
  const { cos, sin } = visionRopeTables(headDim, y, x);
  const groupOrder = BigInt64Array.from(order, BigInt);
  return { groupOrder, groupBack: inverse(order), cos, sin, longest, windowLengths, windowRows, windowBack };
}
