// Streams that are not what their container says. Frame N has luma 16 + 2 N, so that it tells its number.
import { readFile, writeFile } from 'node:fs/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import { decodeFrames } from '../../../src/media/decode-frames.ts';
import { planMedia } from '../../../src/media/plan.ts';
import { probeMedia } from '../../../src/media/probe.ts';
import { resolveProfile } from '../../../src/media/profile.ts';
import type { MediaProbe } from '../../../src/media/types.ts';
import { makeClip } from '../../fixtures/make-clip.ts';
import { PUBLISHED_PATCHES } from '../../fixtures/media-cases.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();
const X264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p'];

/** Frames `from` to `to` of the counting clip, ten a second. */
function counting(from: number, to: number): string[] {
  const clip = 'color=gray:s=64x48:r=10:d=6,format=yuv420p,geq=lum=16+2*N:cb=128:cr=128';
  return ['-f', 'lavfi', '-i', `${clip},trim=start_frame=${from}:end_frame=${to},setpts=PTS-STARTPTS`];
}

interface Seen {
  readonly probe: MediaProbe;
  /** numbers of the frames, by their luma */
  readonly frames: readonly number[];
  readonly warnings: readonly string[];
}

async function look(
  path: string,
  nframes?: number,
  edit: (probe: MediaProbe) => MediaProbe = (same) => same,
): Promise<Seen> {
  const probe = edit(await probeMedia(path));
  const profile = resolveProfile('paper', nframes === undefined ? {} : { nframes });
  const frames: number[] = [];
  const plan = planMedia(probe, profile, { ...PUBLISHED_PATCHES, useAudio: true });
  const { warnings } = await decodeFrames(plan, (frame, position) => {
    const mean = frame.reduce((sum, value) => sum + value, 0) / frame.length;
    frames[position] = Math.round((mean * 219) / 255 / 2);
  });
  return { probe, frames, warnings: [...(probe.warnings ?? []), ...warnings] };
}

async function joined(name: string, parts: readonly string[]): Promise<string> {
  await writeFile(scratch(name), Buffer.concat(await Promise.all(parts.map((part) => readFile(part)))));
  return scratch(name);
}

let whole: string;
beforeAll(async () => {
  whole = await makeClip(scratch('whole.ts'), [...counting(0, 60), ...X264, '-g', '20', '-bf', '2']);
});

describe('frames come from the whole stream', () => {
  test.each([
    ['the clock goes on', true],
    ['the clock starts anew', false],
  ])('whose size and pixel format change on the way, where %s', async (name, goesOn) => {
    const kinds = ['64x48 yuv420p', '128x96 yuv444p', '32x32 gray', '64x48 yuv422p'];
    const parts = kinds.map(async (kind, part) => {
      const [size = '', format = ''] = kind.split(' ');
      const offset = goesOn ? ['-output_ts_offset', String(part * 1.5)] : [];
      const frames = counting(part * 15, part * 15 + 15);
      const picture = ['-vf', `scale=${size},setsar=${part + 1},format=${format}`, '-c:v', 'libx264', '-bf', '0'];
      return await makeClip(scratch(`${name}-${part}.ts`), [...frames, ...picture, ...offset]);
    });
    const { frames, warnings, probe } = await look(await joined(`${name}.ts`, await Promise.all(parts)), 6);
    // the last piece is in a format whose levels round down
    expect(frames).toEqual([0, 12, 24, 35, 47, expect.toSatisfy((last) => last === 58 || last === 59)]);
    expect([probe.video?.width, probe.video?.height, warnings]).toEqual([64, 48, []]);
  });

  test('that begins between two key frames', async () => {
    const bytes = await readFile(whole);
    const packets = bytes.length / 188;
    await writeFile(scratch('mid.ts'), bytes.subarray(188 * Math.floor(packets / 5)));
    const { frames, warnings, probe } = await look(scratch('mid.ts'), 4);
    expect(frames).toEqual([20, 33, 46, 59]);
    expect(probe.video).toMatchObject({ totalFrames: 40, averageFps: 10 });
    expect(warnings).toEqual([expect.stringMatching(/begins between two key frames: its first \d+ frames/)]);
  });

  test('whose packets are fewer or more than its frames', async () => {
    for (const totalFrames of [50, 75]) {
      const { frames, warnings } = await look(whole, 6, (probe) => ({
        ...probe,
        video: probe.video && { ...probe.video, totalFrames },
      }));
      expect([frames[0], frames.at(-1), warnings]).toEqual([0, 59, []]);
    }
  });

  test('where a part cannot be decoded, whose nearest good frames stand in for it', async () => {
    const intra = await makeClip(scratch('intra.avi'), [...counting(0, 60), '-c:v', 'mjpeg', '-q:v', '2']);
    const bytes = await readFile(intra);
    // twenty pictures of zeros
    for (let chunk = 0, at = bytes.indexOf('00dc'); chunk < 40; chunk++) {
      const end = at + 8 + bytes.readUInt32LE(at + 4);
      if (chunk >= 20) bytes.fill(0, at + 8, end);
      at = bytes.indexOf('00dc', end);
    }
    await writeFile(scratch('hole.avi'), bytes);
    const { frames, warnings } = await look(scratch('hole.avi'), 12);
    // full-range levels: a number may be one off
    const expected = [0, 5, 11, 16, 19, 19, 40, 40, 43, 48, 54, 59];
    expect(frames.filter((frame, index) => Math.abs(frame - expected[index]!) > 1)).toEqual([]);
    expect(frames).toHaveLength(12);
    expect(warnings).toEqual([expect.stringMatching(/^3 of 12 frames could not be decoded; the nearest/)]);
  });

  test('where most frames come late, with a warning of that alone', async () => {
    const late = [
      '-vf',
      "setpts='if(lt(N,6),N*5,30+(N-6)/60)/TB'",
      '-fps_mode',
      'passthrough',
      '-enc_time_base',
      '1:600',
    ];
    const { frames, warnings } = await look(
      await makeClip(scratch('late.mp4'), [...counting(0, 60), ...late, ...X264]),
      20,
    );
    expect([frames.length, frames.at(-1)]).toEqual([20, 59]);
    expect(warnings).toEqual([expect.stringMatching(/very uneven times.*constant frame rate/)]);
  });
});

test('a size that only a later key frame tells is found', async () => {
  const slow = await makeClip(scratch('slow.ts'), [
    ...counting(0, 60),
    '-vf',
    'setpts=PTS*4',
    '-r',
    '2.5',
    ...X264,
    '-g',
    '30',
  ]);
  const bytes = await readFile(slow);
  await writeFile(scratch('headless.ts'), bytes.subarray(188 * 10));
  expect((await probeMedia(scratch('headless.ts'))).video).toMatchObject({ width: 64, height: 48, totalFrames: 30 });
});

describe('a turn', () => {
  test('that the frames themselves tell is made once', async () => {
    const stored = await makeClip(scratch('stored.mp4'), [...counting(0, 10), ...X264]);
    const sei = ['-c', 'copy', '-bsf:v', 'h264_metadata=display_orientation=insert:rotate=90'];
    const { probe, frames } = await look(await makeClip(scratch('sei.mp4'), ['-i', stored, ...sei]), 2);
    expect(probe.video).toMatchObject({ rotation: 90, width: 48, height: 64 });
    expect(frames).toEqual([0, 9]);
    // The frame that says so is the captioned track's, not that of the first.
    const small = ['-f', 'lavfi', '-i', 'color=red:s=32x32:r=1:d=1'];
    const behind = ['-map', '1', '-map', '0', '-c:v:0', 'mpeg4', '-c:v:1', 'copy', '-disposition:v:1', 'default'];
    const second = await makeClip(scratch('second.mp4'), ['-i', scratch('sei.mp4'), ...small, ...behind]);
    expect((await probeMedia(second)).video).toMatchObject({ index: 1, rotation: 90, width: 48, height: 64 });
  });

  test('by a matrix of zeros is none', async () => {
    const bytes = await readFile(await makeClip(scratch('plain.mp4'), [...counting(0, 10), ...X264]));
    bytes.fill(0, bytes.indexOf('tkhd') + 44, bytes.indexOf('tkhd') + 80);
    await writeFile(scratch('zeros.mp4'), bytes);
    const { probe, frames } = await look(scratch('zeros.mp4'), 2);
    expect(probe.video).toMatchObject({ rotation: 0, width: 64, height: 48 });
    expect(frames).toEqual([0, 9]);
  });
});

test('a picture in front of the video, or alone beside sound, is not in its way', async () => {
  const sound = ['-f', 'lavfi', '-i', 'sine=d=6'];
  const cover = ['-f', 'lavfi', '-i', 'color=red:s=200x200:r=1:d=1'];
  const codecs = ['-c:v', 'mjpeg', '-pix_fmt', 'yuvj420p', '-c:a', 'aac'];
  const front = [...cover, ...counting(0, 60), ...sound, '-map', '0', '-map', '1', '-map', '2', ...codecs];
  const first = await look(await makeClip(scratch('front.mkv'), front), 2);
  expect([first.probe.video?.index, first.frames, first.warnings]).toEqual([1, [0, 59], []]);
  const alone = await look(
    await makeClip(scratch('alone.mkv'), [...cover, ...sound, '-output_ts_offset', '5000', ...codecs]),
  );
  expect(alone.probe.durationSeconds).toBeCloseTo(6, 0);
  expect([alone.probe.audio?.codec, alone.frames.length]).toEqual(['aac', 2]);
  expect(alone.warnings).toEqual([expect.stringContaining('one frame')]);
});
