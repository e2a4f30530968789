import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { resolveProfile } from '../../../src/media/profile.ts';
import {
  nearestFrames,
  frameCount,
  frameIndices,
  frameSizes,
  pixelCap,
  smartResize,
} from '../../../src/media/sampling.ts';
import { goldenJson } from '../../fixtures/golden.ts';
import { overridesOf, type GoldenLimits } from '../../fixtures/media-cases.ts';

interface Row {
  readonly total_frames: number;
  readonly avg_fps: number;
  readonly height: number;
  readonly width: number;
  readonly settings: GoldenLimits;
  readonly error?: string;
  readonly nframes: number;
  readonly indices_head: readonly number[];
  readonly indices_sum: number;
  readonly indices_sha256: string;
  readonly effective_max_pixels: number;
  readonly stage_a: readonly number[];
  readonly stage_b_limits: readonly [number, number];
  readonly final: readonly number[];
}

interface ResizeRow {
  readonly height: number;
  readonly width: number;
  readonly factor: number;
  readonly min_pixels: number;
  readonly max_pixels: number;
  readonly result?: readonly number[];
}

const rows = goldenJson<Row[]>('processing/frames_and_sizes.json');

/** The table leaves max_pixels out where the library has no limit of its own; our profiles always have one. */
function rulesOf(row: Row): ReturnType<typeof resolveProfile> {
  const [processorMinPixels, processorMaxPixels] = row.stage_b_limits;
  return {
    ...resolveProfile('reference-cli', { ...overridesOf(row.settings), processorMinPixels, processorMaxPixels }),
    maxPixels: row.settings.max_pixels,
  };
}

describe('frame picks', () => {
  test('agree with all 300 rows of the reference, count and every index', () => {
    const good = rows.filter((row) => row.error === undefined);
    expect(good.length).toBe(291);
    for (const row of good) {
      const count = frameCount(row.total_frames, row.avg_fps, rulesOf(row));
      expect(count, JSON.stringify(row)).toBe(row.nframes);
      const indices = frameIndices(row.total_frames, count);
      expect(indices.slice(0, row.indices_head.length)).toEqual(row.indices_head);
      expect(indices.reduce((sum, index) => sum + index, 0)).toBe(row.indices_sum);
      expect(createHash('sha256').update(indices.join(',')).digest('hex')).toBe(row.indices_sha256);
    }
  });

  test('of the rows that the reference refuses are refused, one frame as too short', () => {
    const bad = rows.filter((row) => row.error !== undefined);
    expect(bad.length).toBe(9);
    for (const row of bad) {
      const code = row.total_frames < 2 ? 'media_too_short' : 'bad_request';
      const rules = { fps: 2, minFrames: 4, maxFrames: 768, nframes: row.settings.nframes };
      expect(() => frameCount(row.total_frames, row.avg_fps, rules)).toThrow(expect.objectContaining({ code }));
    }
  });

  test('are always even, and take the first and the last frame', () => {
    for (const total of [2, 3, 4, 5, 99, 299, 1800, 108_000]) {
      const count = frameCount(total, 30, { fps: 2, minFrames: 4, maxFrames: 768 });
      const indices = frameIndices(total, count);
      expect(count % 2).toBe(0);
      expect([indices[0], indices.at(-1)]).toEqual([0, total - 1]);
    }
    expect(frameCount(299, 30, { fps: 2, minFrames: 4, maxFrames: 768 })).toBe(18);
  });
});

describe('frame sizes', () => {
  test('agree with all rows of the reference after either resize', () => {
    for (const row of rows.filter(({ error }) => error === undefined)) {
      const rules = rulesOf(row);
      expect(pixelCap(row.nframes, rules)).toBe(row.effective_max_pixels);
      const { stageA, final } = frameSizes(row, row.nframes, 28, rules);
      expect([stageA.height, stageA.width], JSON.stringify(row)).toEqual(row.stage_a);
      expect([final.height, final.width], JSON.stringify(row)).toEqual(row.final);
    }
  });

  test('of smartResize agree with all 500 rows of the reference, and 200:1 is refused as there', () => {
    const rows = goldenJson<ResizeRow[]>('processing/smart_resize.json');
    expect(rows.length).toBe(500);
    for (const row of rows) {
      const resize = (): number[] => {
        const { height, width } = smartResize(row, row.factor, {
          minPixels: row.min_pixels,
          maxPixels: row.max_pixels,
        });
        return [height, width];
      };
      if (row.result === undefined) expect(resize).toThrow(expect.objectContaining({ code: 'media_aspect_ratio' }));
      else expect(resize(), JSON.stringify(row)).toEqual(row.result);
    }
  });
});

test('a refused number of frames is told as it was asked for', () => {
  const rules = { fps: 2, minFrames: 4, maxFrames: 768, nframes: 1 };
  const message = 'nframes 1 is rounded to 0 frames; this video allows 2 to 40.';
  expect(() => frameCount(40, 25, rules)).toThrow(expect.objectContaining({ message, param: 'nframes' }));
});

describe('frames in place of planned ones', () => {
  const clip = { totalFrames: 5, framesSpan: [10, 14] } as const;

  test('are those nearest in time', () => {
    expect(nearestFrames([0, 1, 2, 4], clip, [10, 11, 12, 13, 14])).toEqual({ indices: [0, 1, 2, 4], replaced: 0 });
    expect(nearestFrames([0, 1, 2, 3, 4], clip, [12.9, 13.9])).toEqual({ indices: [0, 0, 0, 0, 1], replaced: 2 });
    expect(nearestFrames([0, 2, 4], clip, [10])).toEqual({ indices: [0, 0, 0], replaced: 2 });
  });

  test('are spread over all where times are unknown or go back', () => {
    const picks = [0, 1, 2, 3, 4];
    expect(nearestFrames(picks, { totalFrames: 5 }, [0, 1, 2])).toEqual({ indices: [0, 1, 1, 2, 2], replaced: 2 });
    expect(nearestFrames(picks, clip, [10, 11, 10, 11, 12, 13, 14, 15, 16]).indices).toEqual([0, 2, 4, 6, 8]);
    expect(nearestFrames(picks, clip, [10, 11, Number.NaN]).indices).toEqual([0, 1, 1, 2, 2]);
  });
});
