import { readFile, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { decodeAudio } from '../../../src/media/decode-audio.ts';
import { ffmpegVersion } from '../../../src/media/ffmpeg.ts';
import { planMedia } from '../../../src/media/plan.ts';
import { resolveProfile } from '../../../src/media/profile.ts';
import type { MediaPlan } from '../../../src/media/types.ts';
import { decoderProcesses } from '../../fixtures/child-processes.ts';
import { largestDifference } from '../../fixtures/compare-numbers.ts';
import { golden, goldenJson, goldenPath, goldenTensors } from '../../fixtures/golden.ts';
import { makeClip } from '../../fixtures/make-clip.ts';
import { goldenClips, PUBLISHED_PATCHES } from '../../fixtures/media-cases.ts';
import { probeFixture } from '../../fixtures/media-plan.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();

async function planOf(path: string): Promise<MediaPlan> {
  return planMedia(await probeFixture(path), resolveProfile('paper'), { ...PUBLISHED_PATCHES, useAudio: true });
}

describe('decoded sound', () => {
  const clips = goldenClips().filter((clip) => goldenPath(`media/${clip}.safetensors`) !== undefined);

  // Here bit for bit; another build of libsoxr may round otherwise, and swresample differs above 7.3 kHz
  // (reference-model.md, Waveform).
  test.each(clips)('of %s is the reference waveform: as long, and as near as the resampler allows', async (clip) => {
    const { audio } = goldenJson<{ audio: { samples_16k: number } }>(`media/${clip}.json`);
    const tensors = goldenTensors(`media/${clip}.safetensors`);
    const expected = tensors['waveform_16k']?.data as Float32Array;
    const sums = tensors['waveform_sum_per_second']?.data as Float64Array;
    const { waveform, warnings } = await decodeAudio(await planOf(golden(`clips/${clip}`)));
    const { soxr } = await ffmpegVersion();
    expect(warnings).toEqual([]);
    expect(waveform.length).toBe(audio.samples_16k);
    expect(largestDifference(waveform.subarray(0, expected.length), expected)).toBeLessThan(soxr ? 1e-7 : 3e-2);
    const seconds = Array.from(sums.keys(), (second) =>
      waveform.slice(second * 16_000, (second + 1) * 16_000).reduce((sum, sample) => sum + sample, 0),
    );
    expect(largestDifference(seconds, sums)).toBeLessThan(soxr ? 1e-3 : 1);
  });

  test('without resampling is exact', async () => {
    const { waveform } = await decodeAudio(await planOf(golden('clips/speech-16k.wav')));
    const expected = goldenTensors('media/speech-16k.wav.safetensors')['waveform_16k']?.data as Float32Array;
    expect(waveform.subarray(0, expected.length)).toEqual(expected);
  });

  test('stops at 300 s and says so', async () => {
    const long = await makeClip(scratch('long.wav'), [
      '-f',
      'lavfi',
      '-i',
      'sine=f=300:r=8000:d=320',
      '-c:a',
      'pcm_s16le',
    ]);
    const { waveform, warnings } = await decodeAudio(await planOf(long));
    expect(waveform.length).toBe(4_800_000);
    expect(warnings).toEqual([expect.stringContaining('only the first 300 s')]);
    expect(decoderProcesses()).toEqual([]);
  });

  test('of exactly 300 s is no reason for a warning', async () => {
    const path = await makeClip(scratch('full.wav'), [
      '-f',
      'lavfi',
      '-i',
      'sine=f=300:r=16000:d=300',
      '-c:a',
      'pcm_s16le',
    ]);
    const { waveform, warnings } = await decodeAudio(await planOf(path));
    expect([waveform.length, warnings]).toEqual([4_800_000, []]);
  });

  test('that starts late is not shifted: its first sample comes first', async () => {
    const clip = golden('clips/audio-short.mp4');
    const late = await makeClip(scratch('late.mkv'), [
      '-i',
      clip,
      '-itsoffset',
      '1.5',
      '-i',
      clip,
      '-map',
      '0:v',
      '-map',
      '1:a',
      '-c',
      'copy',
    ]);
    const onTime = await decodeAudio(await planOf(clip));
    const shifted = await decodeAudio(await planOf(late));
    // Matroska drops the encoder's priming samples by another rule than mp4; a shift of 1.5 s would be 24,000 samples.
    expect(Math.abs(shifted.waveform.length - onTime.waveform.length)).toBeLessThan(2048);
  });

  test('of a track that holds garbage beside a good video is a warning, not an error', async () => {
    const plan = await planOf(golden('clips/mute-3s.mp4'));
    const audio = { index: 0, codec: 'aac', sampleRate: 44_100, channels: 2, durationSeconds: 3 };
    const broken = { ...plan, probe: { ...plan.probe, audio }, audio: { estimatedTokens: 75, durationSeconds: 3 } };
    const { waveform, warnings } = await decodeAudio(broken);
    expect(waveform.length).toBe(0);
    expect(warnings).toEqual([expect.stringContaining('nothing was heard')]);
    await expect(decodeAudio({ ...broken, video: undefined })).rejects.toMatchObject({ code: 'media_undecodable' });
  });

  test('stops at its signal with ffmpeg gone', async () => {
    const plan = await planOf(golden('clips/long-200s.mp4'));
    const stop = new AbortController();
    const decoding = decodeAudio(plan, { signal: stop.signal });
    setTimeout(() => {
      stop.abort();
    }, 30);
    await expect(decoding).rejects.toMatchObject({ code: 'aborted' });
    expect(decoderProcesses()).toEqual([]);
  });
});

/** Hz, Hz of the sample rate, channels, and ffmpeg's options of one second of sound */
type Piece = readonly [tone: number, sampleRate: number, channels: number, ...options: string[]];

/** Sound that changes: a file of one second of each piece, byte after byte. */
async function joined(name: string, pieces: readonly Piece[]): Promise<string> {
  const parts = await Promise.all(
    pieces.map(async ([tone, sampleRate, channels, ...options], index) => {
      const source = ['-f', 'lavfi', '-i', `sine=f=${tone}:r=${sampleRate}:d=1`, '-ac', String(channels)];
      const offset = name.endsWith('.ts') ? ['-output_ts_offset', String(index)] : [];
      return await readFile(await makeClip(scratch(`${index}-${name}`), [...source, ...options, ...offset]));
    }),
  );
  await writeFile(scratch(name), Buffer.concat(parts));
  return scratch(name);
}

/** Hz of a tone that starts at this second, from its zero crossings in 0.4 s of it. */
function toneAt(waveform: Float32Array, second: number): number {
  const from = Math.round((second + 0.4) * 16_000);
  const part = waveform.subarray(from, from + 6400);
  let crossings = 0;
  for (let index = 1; index < part.length; index++)
    if ((part[index - 1] ?? 0) < 0 !== (part[index] ?? 0) < 0) crossings++;
  return crossings / 0.8;
}

describe('sound that changes on the way is all heard, each part at its own pitch:', () => {
  const mp3 = ['-write_xing', '0', '-id3v2_version', '0'];
  const ac3 = ['-c:a', 'ac3'];
  const vorbis = ['-c:a', 'libvorbis'];
  test.each<readonly [name: string, pieces: readonly Piece[]]>([
    // prettier-ignore
    ['rates.mp3', [[440, 44_100, 2, ...mp3], [880, 48_000, 2, ...mp3], [660, 8000, 1, ...mp3]]],
    // prettier-ignore
    ['tagged.mp3', [[440, 44_100, 2, '-write_id3v1', '1', '-metadata', 'title=a'], [880, 48_000, 1], [660, 44_100, 2]]],
    // prettier-ignore
    ['channels.aac', [[440, 44_100, 2], [880, 44_100, 1], [660, 22_050, 6]]],
    // prettier-ignore
    ['surround.ts', [[440, 48_000, 6, ...ac3], [880, 48_000, 2, ...ac3], [660, 48_000, 6, ...ac3]]],
    // prettier-ignore
    ['chained.ogg', [[440, 44_100, 1, ...vorbis], [880, 24_000, 2, ...vorbis]]],
  ])('%s', async (name, pieces) => {
    const { waveform, warnings } = await decodeAudio(await planOf(await joined(name, pieces)));
    expect(warnings).toEqual([]);
    // encoders round up to whole frames
    expect(Math.abs(waveform.length / 16_000 - pieces.length)).toBeLessThan(0.25);
    const second = waveform.length / 16_000 / pieces.length;
    for (const [index, [tone]] of pieces.entries())
      expect(Math.abs(toneAt(waveform, index * second) - tone)).toBeLessThan(tone / 50);
  });
});

test('joined WAV files are heard up to the end of the first, with a warning', async () => {
  const path = await joined('joined.wav', [
    [440, 16_000, 1],
    [880, 44_100, 2],
  ]);
  const { waveform, warnings } = await decodeAudio(await planOf(path));
  expect(waveform.length).toBe(16_000);
  expect(warnings).toEqual([expect.stringContaining('only the first was heard')]);
});

describe('samples that are no numbers become silence, with a warning:', () => {
  const tone = 'sin(2*PI*440*t)/4';
  const wild = `aevalsrc='if(eq(n,100),0/0,if(eq(n,9000),1/0,${tone}))':s=44100:d=1`;
  test.each([
    ['float.wav', 'pcm_f32le'],
    ['float.mov', 'pcm_f32le'],
  ])('%s', async (name, codec) => {
    const path = await makeClip(scratch(name), ['-f', 'lavfi', '-i', wild, '-c:a', codec]);
    const { waveform, warnings } = await decodeAudio(await planOf(path));
    expect(warnings).toEqual(['The sound is damaged: 2 samples are no numbers or far too loud; they became silence.']);
    expect(waveform.length).toBe(16_000);
    expect(waveform.every((sample) => Math.abs(sample) < 0.3)).toBe(true);
    expect(Math.abs(toneAt(waveform, 0) - 440)).toBeLessThan(3);
  });
});
