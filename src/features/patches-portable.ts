// The slow twin of native/patches.cc.

const PATCH = 14;
const MERGE = 2;
const PAIR = 2;
const CHANNELS = 3;
const COLUMNS = CHANNELS * PAIR * PATCH * PATCH;

/** Normalised value of each byte: [256, 3] f32. */
function byteTable(mean: Float32Array, deviation: Float32Array): Float32Array {
  return Float32Array.from({ length: 256 * CHANNELS }, (_, index) => {
    const channel = index % CHANNELS;
    return Math.fround(Math.trunc(index / CHANNELS) - (mean[channel] ?? 0)) / (deviation[channel] ?? 1);
  });
}

/** Row of the patch at (patchRow, column) of a step: 2x2 neighbours that merge into one token lie together. */
function rowOf(patchRow: number, column: number, columns: number): number {
  const merged = Math.trunc(patchRow / MERGE) * (columns / MERGE) + Math.trunc(column / MERGE);
  return (merged * MERGE + (patchRow % MERGE)) * MERGE + (column % MERGE);
}

/** Arguments as `cutPatches` of the addon. */
export function cutPatchesPortable(
  pixels: Uint8Array | Float32Array,
  frames: number,
  height: number,
  width: number,
  fromStep: number,
  toStep: number,
  mean: Float32Array,
  deviation: Float32Array,
  target: Float32Array,
): void {
  const columns = width / PATCH;
  const table = pixels instanceof Uint8Array ? byteTable(mean, deviation) : undefined;
  const stepSize = (height / PATCH) * columns * COLUMNS;
  for (let frame = fromStep * PAIR; frame < toStep * PAIR; frame++) {
    const pair = frame % PAIR;
    const step = (Math.trunc(frame / PAIR) - fromStep) * stepSize;
    for (let y = 0; y < height; y++) {
      let at = (Math.min(frame, frames - 1) * height + y) * width * CHANNELS;
      for (let x = 0; x < width; x++) {
        const row = rowOf(Math.trunc(y / PATCH), Math.trunc(x / PATCH), columns);
        const corner = step + row * COLUMNS + (pair * PATCH + (y % PATCH)) * PATCH + (x % PATCH);
        for (let channel = 0; channel < CHANNELS; channel++, at++) {
          const value = pixels[at] ?? 0;
          const place = corner + channel * PAIR * PATCH * PATCH;
          if (table !== undefined) target[place] = table[value * CHANNELS + channel] ?? 0;
          else target[place] = Math.fround(value - (mean[channel] ?? 0)) / (deviation[channel] ?? 1);
        }
      }
    }
  }
}
