import { expect, test } from 'vitest';
import { audioTokens, melFrames } from '../../../src/media/audio-length.ts';
import { goldenJson } from '../../fixtures/golden.ts';

test.each([
  [16_000, 100, 25],
  [32_000, 200, 50],
  [52_800, 330, 82],
  [320, 2, 0],
  [321, 3, 1],
  [0, 0, 0],
  [10_000_000, 30_000, 7500],
])('%i samples are %i frames and %i tokens', (samples, frames, tokens) => {
  expect(melFrames(samples)).toBe(frames);
  expect(audioTokens(frames)).toBe(tokens);
});

test('frames and tokens of real clips agree with the reference', () => {
  for (const clip of ['av-4s.mp4', 'odd-99f.mp4', 'surround-51.mp4', 'speech-16k.wav']) {
    const { audio } = goldenJson<{ audio: { samples_16k: number; valid_mel_frames: number; audio_tokens: number } }>(
      `media/${clip}.json`,
    );
    expect(melFrames(audio.samples_16k)).toBe(audio.valid_mel_frames);
    expect(audioTokens(audio.valid_mel_frames)).toBe(audio.audio_tokens);
  }
});
