import { describe, expect, test } from 'vitest';
import { clockOf, partOf, seekOptions, trimFilters } from '../../../src/media/part.ts';
import { PacketTally } from '../../../src/media/packet-tally.ts';
import type { MediaProbe, PartRequest } from '../../../src/media/types.ts';
import { probeOf } from '../../fixtures/media-plan.ts';

/** A file of these frame times; sound from 0.5 s to 10.5 s of the container's clock. */
function fileOf(times: readonly number[] | undefined, fps = 10, totalFrames = times?.length ?? 100): MediaProbe {
  const probe = probeOf({ height: 48, width: 64, hasAudio: true, sampleRate: 48_000, totalFrames });
  if (probe.video === undefined || probe.audio === undefined) throw new Error('no streams');
  const frameTimes = times && Float64Array.from(times);
  return {
    ...probe,
    durationSeconds: 10,
    video: { ...probe.video, averageFps: fps, frameTimes, durationSeconds: totalFrames / fps },
    audio: { ...probe.audio, durationSeconds: 10, startSeconds: times === undefined ? undefined : 0.5 },
  };
}

const steady = (count: number, fps: number, first = 0): number[] =>
  Array.from({ length: count }, (_, frame) => Number((first + frame / fps).toFixed(6)));
const time = (start?: number, end?: number): PartRequest => ({ rule: 'time', start, end });

describe('a part by time', () => {
  test('holds the frames from its start up to, not including, its end, and the sound beside them', () => {
    const part = partOf(fileOf(steady(100, 10, 2)), time(3, 4.5));
    // The file starts with its sound, at 0.5 s of the container's clock.
    expect(part).toMatchObject({ durationSeconds: 1.5, part: { start: 3, end: 4.5, seekTo: 3.5 } });
    expect(part.video).toMatchObject({ totalFrames: 15, averageFps: 10, lostAtStart: 0 });
    expect(part.video?.frameTimes).toBeUndefined();
    expect(trimFilters('trim', part.part?.frames)).toEqual(['trim=start=3.450000:end=4.950000']);
    expect(trimFilters('atrim', part.part?.samples)).toEqual(['atrim=start=3.500000:end=5.000000']);
    for (const track of ['pictures', 'sound'] as const) {
      const jump = ['-copyts', '-seek_timestamp', '1', '-noaccurate_seek', '-ss', '2.500000'];
      expect(seekOptions(part, true, track)).toEqual(jump);
      expect(seekOptions(part, false, track)).toEqual(['-copyts']);
    }
    expect(part.audio?.durationSeconds).toBeCloseTo(1.5, 9);
  });

  test('that begins with a key frame is jumped to, unless another key frame is close behind it', () => {
    const file = fileOf(steady(100, 10, 2));
    const keyTimes = Float64Array.of(2, 3.5, 5, 5.1, 8);
    const jump = (start: number, container: string): string | undefined => {
      const part = partOf({ ...file, container, video: file.video && { ...file.video, keyTimes } }, time(start));
      expect(seekOptions(part, true, 'sound').at(-1)).toBe((start - 0.5).toFixed(6));
      return seekOptions(part, true, 'pictures').at(-1);
    };
    expect([jump(3, 'mov,mp4'), jump(3, 'matroska,webm')]).toEqual(['3.501000', '3.640000']);
    expect([jump(3.1, 'mov,mp4'), jump(4.5, 'mov,mp4')]).toEqual(['2.600000', '4.000000']);
  });

  test('of NTSC video begins at the frame whose time is given, however it is rounded', () => {
    const times = steady(300, 30_000 / 1001);
    for (const frame of [1, 30, 31, 299]) {
      const start = (frame * 1001) / 30_000;
      const part = partOf(fileOf([...times], 29.97), time(start));
      expect(part.video?.totalFrames ?? 1).toBe(300 - frame);
    }
  });

  test('without a frame is sound; before its sound it is frames', () => {
    const gap = [...steady(10, 10), ...steady(10, 10, 8)];
    const heard = partOf(fileOf(gap), time(2, 7));
    expect(heard.video).toBeUndefined();
    expect(heard.audio?.durationSeconds).toBeCloseTo(5, 9);
    const seen = partOf(fileOf(gap), time(0, 0.5));
    expect(seen.audio).toBeUndefined();
    expect(seen.video?.totalFrames).toBe(5);
  });

  test('of a variable rate is sampled at its own rate', () => {
    const part = partOf(fileOf([...steady(50, 25), ...steady(20, 5, 2)]), time(2, 6));
    expect(part.video).toMatchObject({ totalFrames: 20, averageFps: 5 });
  });

  test('of a file whose clock cannot be trusted is counted in frames and samples, without a jump', () => {
    const part = partOf(fileOf(undefined), time(2, 3));
    expect(part.part).toMatchObject({
      frames: { unit: 'frames', from: 20, to: 30 },
      samples: { unit: 'samples', from: 96_000, to: 144_000 },
      seekTo: undefined,
    });
  });

  test.each([
    [time(3, 3), 'end', /not after its start/],
    [time(NaN), 'start', /at least 0/],
    [time(0, Infinity), 'end', /at least 0/],
    [time(11), 'start', /the file ends at 10.5 s/],
    [time(0, 12), 'end', /the file ends at 10.5 s/],
    [{ rule: 'reference', start: 4.95, end: 5 } as const, 'start', /No two frames/],
  ])('%j is refused by name', (request, param, message) => {
    const file = fileOf(steady(100, 10));
    expect(() => partOf(file, request)).toThrow(
      expect.objectContaining({ code: 'bad_request', param, message: expect.stringMatching(message) as string }),
    );
  });

  test('too short to be seen is refused, unless it is heard; so is a part of a picture', () => {
    const silent = fileOf(steady(100, 10));
    expect(() => partOf({ ...silent, audio: undefined }, time(3, 3.1))).toThrow(
      expect.objectContaining({ code: 'media_too_short' }),
    );
    expect(() => partOf(probeOf({ height: 9, width: 9, still: true }), time(1))).toThrow(/picture/);
  });
});

describe("a part by the reference's rule", () => {
  // By hand after qwen-omni-utils: ceil(start * fps), min(floor(end * fps), total - 1), both ends included.
  test.each([
    [{ start: 1.01, end: 2 }, 29.97, { from: 31, to: 60 }, { from: 48_480, to: 48_480 + 47_520 }],
    [{ start: 2 }, 10, { from: 20, to: undefined }, { from: 96_000, to: undefined }],
    [{ end: 50 }, 10, { from: undefined, to: undefined }, { from: undefined, to: 2_400_000 }],
  ])('takes frames by number: %j at %d a second', (request, fps, frames, samples) => {
    const { part } = partOf(fileOf(steady(100, fps), fps), { rule: 'reference', ...request });
    expect(part?.frames).toEqual({ unit: 'frames', ...frames });
    expect(part?.samples).toEqual({ unit: 'samples', ...samples });
  });
});

test('a clock that jumps back gives no times; one with a gap does', () => {
  const tallyOf = (times: readonly number[]): Float64Array | undefined => {
    const tally = new PacketTally(true);
    for (const pts of times) tally.add({ pts, dts: pts, duration: 0.1, isKey: true, isHidden: false });
    return tally.frameTimes(times.length);
  };
  expect(tallyOf([0, 0.1, 5, 0.2])).toBeUndefined();
  expect(tallyOf([0, 0.1, 200])).toEqual(Float64Array.of(0, 0.1, 200));
  expect(clockOf(fileOf([0.7, 0.8, 200.7])).durationSeconds).toBeCloseTo(200.3, 6);
});
