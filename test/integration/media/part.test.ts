import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { decodeAudio } from '../../../src/media/decode-audio.ts';
import { decodeFrames } from '../../../src/media/decode-frames.ts';
import { clockOf, partOf } from '../../../src/media/part.ts';
import { planMedia } from '../../../src/media/plan.ts';
import { probeMedia } from '../../../src/media/probe.ts';
import { resolveProfile } from '../../../src/media/profile.ts';
import type { MediaPlan, MediaProbe, PartRequest } from '../../../src/media/types.ts';
import { PUBLISHED_PATCHES } from '../../fixtures/media-cases.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';
import { makeClip } from '../../fixtures/make-clip.ts';

const scratch = scratchDirectory();
const SIZE = '64x48';

/** Frames by hash, the waveform, and what was planned. */
async function contents(probe: MediaProbe): Promise<{ frames: string[]; waveform: Float32Array; fps: number }> {
  const plan = planMedia(probe, resolveProfile('reference-cli', { fps: 5 }), { ...PUBLISHED_PATCHES, useAudio: true });
  const frames: string[] = [];
  const decoded = await decodeFrames(plan, (frame, position) => {
    frames[position] = createHash('sha256').update(frame).digest('hex').slice(0, 8);
  });
  expect(decoded.warnings).toEqual([]);
  const { waveform, warnings } =
    plan.audio === undefined ? { waveform: new Float32Array(), warnings: [] } : await decodeAudio(plan);
  expect(warnings).toEqual([]);
  return { frames, waveform, fps: plan.video?.sampleFps ?? 0 };
}

async function partContents(path: string, part: PartRequest): ReturnType<typeof contents> {
  return await contents(partOf(await probeMedia(path, { keepsTimes: true }), part));
}

const PICTURES = ['-f', 'lavfi', '-i', `testsrc2=size=${SIZE}:rate=25:duration=4`];
const NTSC = ['-f', 'lavfi', '-i', `testsrc2=size=${SIZE}:rate=30000/1001:duration=4`];
const SOUND = ['-f', 'lavfi', '-i', 'aevalsrc=0.4*sin(300*t*t)+0.2*random(0):s=48000:d=4'];
// Lossless, with frames that refer to later ones and key frames that are far apart.
const H264 = ['-c:v', 'libx264', '-qp', '0', '-bf', '3', '-g', '40', '-pix_fmt', 'yuv420p'];
const LATE = ['-output_ts_offset', '3.5'];
const LATE_PICTURES = [...SOUND, '-itsoffset', '1.6', ...PICTURES, '-fps_mode', 'passthrough', ...H264];

test.each([
  ['25 frames a second', 'mkv', [...PICTURES, ...SOUND, ...H264, '-c:a', 'pcm_s16le'], 1.32, 3.12],
  ['NTSC, both ends on a frame', 'mkv', [...NTSC, ...SOUND, ...H264, '-c:a', 'flac'], 1.001, 3.003],
  ['edit lists', 'mp4', [...PICTURES, ...SOUND, ...H264, '-c:a', 'aac', '-b:a', '320k'], 1.3, 3.11],
  ['a late start', 'mkv', [...PICTURES, ...SOUND, ...H264, '-c:a', 'pcm_s16le', ...LATE], 2, 3.4],
  ['a transport stream', 'ts', [...PICTURES, ...SOUND, ...H264, '-c:a', 'aac', '-b:a', '320k'], 1.3, 3.1],
  ['sound before its pictures in Matroska', 'mkv', [...LATE_PICTURES, '-c:a', 'pcm_s16le'], 1.1, 3.4],
  ['sound before its pictures in QuickTime', 'mov', [...LATE_PICTURES, '-c:a', 'pcm_s16le'], 1.1, 3.4],
  [
    'sound before its pictures in a transport stream',
    'ts',
    [...LATE_PICTURES, '-c:a', 'aac', '-b:a', '320k'],
    1.1,
    3.4,
  ],
] as const)(
  'a part of a file with %s is what a file with only that part would be',
  async (name, ending, make, start, end) => {
    const path = await makeClip(scratch(`${name.replaceAll(/\W/g, '-')}.${ending}`), [...make, '-shortest']);
    const part = await partContents(path, { rule: 'time', start, end });
    // The same part, cut by other means: every frame and every sample of the file, those of the part written down.
    const whole = await probeMedia(path, { keepsTimes: true });
    const { zero } = clockOf(whole);
    const [from, to] = [zero + start, zero + end].map((time) => time.toFixed(4));
    const cut = await makeClip(scratch(`cut-${name.replaceAll(/\W/g, '-')}.mkv`), [
      ...['-copyts', '-i', path],
      ...['-vf', `trim=${String(Number(from) - 1e-3)}:${String(Number(to) - 1e-3)},setpts=PTS-STARTPTS`],
      ...['-af', `atrim=${from}:${to},asetpts=PTS-STARTPTS`, '-c:v', 'ffv1', '-c:a', 'pcm_s16le'],
    ]);
    const file = await contents(await probeMedia(cut));
    expect(part.frames).toEqual(file.frames);
    expect(part.frames.length).toBeGreaterThan(5);
    expect(part.fps).toBeCloseTo(file.fps, 3);
    expect(part.waveform.length).toBe(file.waveform.length);
    const furthest = part.waveform.reduce(
      (most, level, at) => Math.max(most, Math.abs(level - (file.waveform[at] ?? 9))),
      0,
    );
    expect(furthest).toBeLessThan(1e-4);
  },
);

describe('what begins late in a part', () => {
  const planned = async (path: string, part?: PartRequest): Promise<MediaPlan> => {
    const whole = await probeMedia(path, { keepsTimes: part !== undefined });
    const probe = part === undefined ? whole : partOf(whole, part);
    return planMedia(probe, resolveProfile('reference-cli', { fps: 5 }), { ...PUBLISHED_PATCHES, useAudio: true });
  };
  /** Tenths of a second that are heard. */
  const heardTenths = async (plan: MediaPlan): Promise<string> => {
    const { waveform, warnings } = await decodeAudio(plan);
    expect(warnings).toEqual([]);
    const tenth = (at: number): Float32Array => waveform.subarray(at * 1600, (at + 1) * 1600);
    const tenths = Array.from({ length: Math.round(waveform.length / 1600) }, (_, at) => tenth(at));
    return tenths
      .map((samples) => (samples.filter((level) => Math.abs(level) > 0.1).length > 400 ? '#' : '.'))
      .join('');
  };
  const TONE = ['-f', 'lavfi', '-i', 'sine=f=440:r=48000:d=4,volume=8'];

  test.each([
    ['mkv', ['-c:a', 'pcm_s16le']],
    ['mp4', ['-c:a', 'aac', '-b:a', '320k']],
    ['ts', ['-c:a', 'ac3']],
  ])('sound, and sound behind a gap, is heard at its time (%s)', async (ending, codec) => {
    // Heard from 1 to 1.5 s and from 3 s on.
    const holes = "aselect='between(t,1,1.499)+gte(t,3)'";
    const path = await makeClip(scratch(`holes.${ending}`), [...PICTURES, ...TONE, '-af', holes, ...H264, ...codec]);
    const part = await planned(path, { rule: 'time', start: 0.5, end: 3.5 });
    expect(await heardTenths(part)).toMatch(/^\.{4,5}#{4,6}\.{14,16}#{4,6}$/);
    expect(part.audio?.durationSeconds).toBeCloseTo(3, 1);
    const last = await planned(path, { rule: 'time', start: 3.5, end: 3.9 });
    expect(await heardTenths(last)).toBe('####');
    expect(await heardTenths(await planned(path, { rule: 'time', start: 1.8, end: 2.6 }))).toBe('');
    // The reference puts what is heard of a whole file together.
    expect(await heardTenths(await planned(path))).toMatch(/^#{14,16}$/);
  });

  test('sound that changes its form is heard at its time', async () => {
    const stereo = await makeClip(scratch('stereo.ts'), [...TONE, '-t', '1', '-ac', '2', '-c:a', 'ac3']);
    const mono = await makeClip(scratch('mono.ts'), [...TONE, '-t', '1', '-ac', '1', '-c:a', 'ac3']);
    const joined = `concat:${stereo}|${mono}`;
    const late = ['-itsoffset', '2', '-i', joined, '-map', '0:v', '-map', '1:a', '-c:a', 'copy'];
    const path = await makeClip(scratch('changes.mkv'), [...PICTURES, ...late, ...H264]);
    const heard = await heardTenths(await planned(path, { rule: 'time', start: 0.5, end: 4 }));
    expect(heard).toMatch(/^\.{15}#{14,20}$/);
  });

  test('pictures are seen at their time, beside sound', async () => {
    const path = await makeClip(scratch('late.mkv'), [...LATE_PICTURES, '-c:a', 'pcm_s16le']);
    const { video } = await planned(path, { rule: 'time', start: 0.5, end: 3.1 });
    expect([video?.startSeconds, video?.frameIndices.length]).toEqual([expect.closeTo(1.1, 2), 6]);
    expect((await planned(path, { rule: 'time', start: 1.7, end: 3 })).video?.startSeconds).toBeUndefined();
    expect((await planned(path)).video?.startSeconds).toBeUndefined();
  });
});

test('parts of joined recordings are counted where the clock jumps ahead', async () => {
  const record = (name: string, ...options: readonly string[]): Promise<string> =>
    makeClip(scratch(name), [...PICTURES, ...SOUND, ...H264, '-c:a', 'ac3', ...options]);
  for (const tracks of [[], ['-vn']]) {
    const pieces = [await record('one.ts', ...tracks), await record('two.ts', '-output_ts_offset', '5000', ...tracks)];
    const path = scratch('joined.ts');
    await writeFile(path, Buffer.concat(await Promise.all(pieces.map((piece) => readFile(piece)))));
    const whole = await probeMedia(path, { keepsTimes: true });
    expect(clockOf(whole).durationSeconds).toBeCloseTo(8, 0);
    for (const start of [0.5, 3, 5]) {
      const part = partOf(whole, { rule: 'time', start, end: start + 2 });
      const profile = resolveProfile('reference-cli', { fps: 5 });
      const plan = planMedia(part, profile, { ...PUBLISHED_PATCHES, useAudio: true });
      expect(plan.video?.frameIndices.length).toBe(tracks.length === 0 ? 10 : undefined);
      const { waveform, warnings } = await decodeAudio(plan);
      expect([waveform.length / 16_000, warnings]).toEqual([2, []]);
    }
  }
});

test('sound is not called damaged where only pictures outside of the part are', async () => {
  const keys = ['-c:v', 'libx264', '-g', '60', '-sc_threshold', '0', '-pix_fmt', 'yuv420p'];
  const path = await makeClip(scratch('whole.ts'), [...PICTURES, ...SOUND, ...keys, '-c:a', 'aac']);
  // Begins between two key frames, the first of which comes after the part.
  const cut = scratch('begins-late.ts');
  await writeFile(cut, (await readFile(path)).subarray(188 * 100));
  const probe = await probeMedia(cut, { keepsTimes: true });
  expect(probe.video?.lostAtStart).toBeGreaterThan(10);
  const part = partOf(probe, { rule: 'time', start: 0.1, end: 0.3 });
  expect(part.video).toBeUndefined();
  const profile = resolveProfile('reference-cli');
  const { waveform, warnings } = await decodeAudio(planMedia(part, profile, { ...PUBLISHED_PATCHES, useAudio: true }));
  expect([waveform.length, warnings]).toEqual([3200, []]);
});

test('pictures are not called damaged where a jump lands between two key frames', async () => {
  const path = await makeClip(scratch('jump.ts'), [
    ...['-f', 'lavfi', '-i', `testsrc2=size=${SIZE}:rate=25:duration=24`, '-c:v', 'mpeg4', '-q:v', '2', '-g', '60'],
  ]);
  const whole = await probeMedia(path, { keepsTimes: true });
  for (const start of [14.5, 15.5, 17.5]) {
    const { frames } = await contents(partOf(whole, { rule: 'time', start, end: start + 1 }));
    expect(frames).toHaveLength(4);
  }
});
