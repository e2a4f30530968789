import { describe, expect, it } from 'vitest';
import type { VisionConfig } from '../../../../src/model/checkpoint/config-types.ts';
import { audioChunks, audioTokens, stepLayout, windowGroups } from '../../../../src/model/execution/tower-inputs.ts';

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

/** The reference's way: pad the grid to whole windows with -100, cut, drop the padding and the empty windows. */
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

describe('stepLayout', () => {
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

  it('rotates the first half of the channels by the row of the patch and the second half by its column', () => {
    const layout = stepLayout(VISION, 4, 4);
    // Row 3 of group 0 is patch (1, 1); row 4 is patch (0, 2), the first of the next group.
    const cosines = (row: number): number[] => [0, 4].map((column) => layout.cos[row * 8 + column]!);
    expect(cosines(3)).toEqual([Math.fround(Math.cos(1)), Math.fround(Math.cos(1))]);
    expect(cosines(4)).toEqual([1, Math.fround(Math.cos(2))]);
  });
});

describe('audioChunks', () => {
  it('counts as many tokens as the reference: floor((frames + 1) / 4)', () => {
    for (let frames = 0; frames <= 1000; frames++) expect(audioTokens(frames, 200)).toBe(Math.floor((frames + 1) / 4));
  });

  it('pads the last chunk with zeros, marks what is real, and pairs only real positions', () => {
    const frames = 403;
    const mel = Float32Array.from({ length: 2 * frames }, (_, at) => at + 1);
    const batch = audioChunks(mel, frames, 2, 200, 0, frames);
    expect([batch.chunks, batch.frames, batch.positions]).toEqual([3, 200, 100]);
    expect([...batch.chunkLengths]).toEqual([100, 100, 2]);
    const last = batch.mel.subarray(2 * 2 * 200);
    expect([...last.subarray(0, 4)]).toEqual([401, 402, 403, 0]);
    expect([...last.subarray(200, 204)]).toEqual([804, 805, 806, 0]);
    expect(batch.frameMask.reduce((sum, value) => sum + value, 0)).toBe(frames);
    expect(batch.pairFirst.length).toBe(audioTokens(frames, 200));
    expect([batch.pairFirst.at(-1), batch.pairSecond.at(-1)]).toEqual([200n, 201n]);
  });

  it('does not pad a sound shorter than a chunk, and drops an odd position', () => {
    const batch = audioChunks(new Float32Array(2 * 5), 5, 2, 200, 0, 5);
    expect([batch.chunks, batch.frames, batch.positions, batch.pairFirst.length]).toEqual([1, 5, 3, 1]);
  });

  it('pads a run with chunks of zeros that give no tokens', () => {
    const mel = Float32Array.from({ length: 2 * 230 }, (_, at) => at + 1);
    const [bare, padded] = [audioChunks(mel, 230, 2, 200, 0, 230), audioChunks(mel, 230, 2, 200, 0, 230, 4)];
    expect([padded.chunks, padded.frames, padded.positions]).toEqual([4, 200, 100]);
    expect([...padded.chunkLengths]).toEqual([100, 15, 100, 100]);
    for (const name of ['mel', 'frameMask'] as const) {
      expect(padded[name].subarray(0, bare[name].length)).toEqual(bare[name]);
      expect(padded[name].subarray(bare[name].length).every((value) => value === 0)).toBe(true);
    }
    expect([padded.pairFirst, padded.pairSecond]).toEqual([bare.pairFirst, bare.pairSecond]);
    const short = audioChunks(mel, 230, 2, 200, 200, 230, 1);
    expect([short.frames, short.pairFirst.length, short.chunkLengths[0]]).toEqual([200, 7, 15]);
  });

  it('cuts the same chunks from a part of a sound as from the whole sound', () => {
    const mel = Float32Array.from({ length: 3 * 700 }, (_, at) => Math.sin(at));
    const whole = audioChunks(mel, 700, 3, 200, 0, 700);
    const part = audioChunks(mel, 700, 3, 200, 400, 700);
    expect(part.mel).toEqual(whole.mel.slice(2 * 3 * 200));
  });
});
