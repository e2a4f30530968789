import { describe, expect, test } from 'vitest';
import { decodeAudio } from '../../../src/media/decode-audio.ts';
import { ffmpegVersion } from '../../../src/media/ffmpeg.ts';
import { planMedia } from '../../../src/media/plan.ts';
import { probeMedia } from '../../../src/media/probe.ts';
import { resolveProfile } from '../../../src/media/profile.ts';
import type { MediaPlan } from '../../../src/media/types.ts';
import { decoderProcesses } from '../../fixtures/child-processes.ts';
import { golden, goldenJson, goldenPath, goldenTensors } from '../../fixtures/golden.ts';
import { makeClip } from '../../fixtures/make-clip.ts';
import { goldenClips, PUBLISHED_PATCHES } from '../../fixtures/media-cases.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();

async function planOf(path: string): Promise<MediaPlan> {
  return planMedia(await probeMedia(path), resolveProfile('paper'), { ...PUBLISHED_PATCHES, useAudio: true });
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs((a[i] ?? Number.NaN) - (b[i] ?? Number.NaN)));
  return largest;
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
