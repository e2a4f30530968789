import { describe, expect, test } from 'vitest';
import { planMedia } from '../../../src/media/plan.ts';
import { resolveProfile } from '../../../src/media/profile.ts';
import type { AudioStream, MediaProbe, VideoStream } from '../../../src/media/types.ts';
import { goldenInputs, overridesOf, PUBLISHED_PATCHES, type GoldenInput } from '../../fixtures/media-cases.ts';

const AUDIO: AudioStream = { index: 1, codec: 'aac', sampleRate: 44_100, channels: 2, durationSeconds: 4 };

function probeOf(video: Partial<VideoStream> | undefined, audio?: AudioStream): MediaProbe {
  const stream = {
    index: 0,
    codec: 'h264',
    pixelFormat: 'yuv420p',
    storedWidth: 320,
    storedHeight: 240,
    rotation: 0,
    width: 320,
    height: 240,
    averageFps: 30,
    totalFrames: 120,
    durationSeconds: 4,
    still: false,
  };
  return {
    path: '/clip',
    container: 'mov',
    sizeBytes: 1,
    durationSeconds: 4,
    video: video && { ...stream, ...video },
    audio,
  };
}

function goldenProbe(input: GoldenInput): MediaProbe {
  const { probe } = input;
  if (probe === undefined) return probeOf({ still: true, totalFrames: 1, averageFps: 0, width: 200, height: 150 });
  return probeOf({
    width: probe.upright_width,
    height: probe.upright_height,
    totalFrames: probe.total_frames,
    averageFps: probe.avg_fps,
  });
}

describe('a plan', () => {
  const inputs = goldenInputs().filter(({ mode }) => mode !== 'audio');

  test.each(inputs.map((input) => [input.id, input] as const))(
    'of %s has the picks, sizes, grid and tokens of the reference',
    (_id, input) => {
      const profile = resolveProfile('reference-cli', overridesOf(input.stage_a, input.stage_b, input.processor_fps));
      const { video } = planMedia(goldenProbe(input), profile, { ...PUBLISHED_PATCHES, useAudio: false });
      expect(video?.stageA).toEqual({ height: input.stage_a_height, width: input.stage_a_width });
      expect(video?.final).toEqual({ height: input.final_height, width: input.final_width });
      expect(video?.gridThw).toEqual(input.video_grid_thw ?? input.image_grid_thw);
      expect(video?.tokens).toBe(input.vision_tokens);
      if (input.mode === 'image') return;
      expect(video?.frameIndices).toEqual(input.frame_indices);
      expect(video?.secondPerGrid).toBe(input.second_per_grid);
    },
  );

  test('of a still picture takes its limits from the checkpoint unless the request has limits of its own', () => {
    const large = probeOf({ still: true, totalFrames: 1, width: 4000, height: 3000 });
    const size = (overrides = {}): unknown =>
      planMedia(large, resolveProfile('paper', overrides), { ...PUBLISHED_PATCHES, useAudio: true }).video?.final;
    expect(size()).toEqual({ height: 2996, width: 4004 });
    expect(size({ processorMaxPixels: 100_000 })).toEqual({ height: 252, width: 364 });
    expect(size({ maxPixels: 100_000 })).toEqual({ height: 252, width: 364 });
    // Grown by the request, then limited by the checkpoint.
    expect(size({ minPixels: 12_900_000 })).toEqual({ height: 3080, width: 4116 });
  });

  test('estimates the sound at 25 tokens a second, and stops at 300 s', () => {
    const tokens = (durationSeconds: number): unknown =>
      planMedia(probeOf(undefined, { ...AUDIO, durationSeconds }), resolveProfile('paper'), {
        ...PUBLISHED_PATCHES,
        useAudio: true,
      }).audio;
    expect(tokens(4)).toEqual({ durationSeconds: 4, estimatedTokens: 100 });
    expect(tokens(1000)).toEqual({ durationSeconds: 300, estimatedTokens: 7500 });
  });

  test('of sound whose length the container does not tell leaves it to the decoder', () => {
    const { audio } = planMedia(probeOf(undefined, { ...AUDIO, durationSeconds: 0 }), resolveProfile('paper'), {
      ...PUBLISHED_PATCHES,
      useAudio: true,
    });
    expect(audio).toEqual({ durationSeconds: 0, estimatedTokens: 1 });
  });

  test('never asks for more pixels than memory should hold, whatever the overrides say', () => {
    const plan = (overrides = {}): unknown =>
      planMedia(
        probeOf({ width: 1920, height: 1080, totalFrames: 100_000 }),
        resolveProfile('reference-cli', overrides),
        { ...PUBLISHED_PATCHES, useAudio: false },
      );
    expect(plan).not.toThrow();
    for (const overrides of [{ minPixels: 1e9, maxPixels: 1e10 }, { nframes: 50_000 }]) {
      expect(() => plan(overrides)).toThrow(expect.objectContaining({ code: 'bad_request' }));
    }
  });

  test('of one frame beside sound is one step of it, and of one frame alone is refused', () => {
    const plan = (useAudio: boolean): unknown =>
      planMedia(probeOf({ totalFrames: 1 }, AUDIO), resolveProfile('paper'), { ...PUBLISHED_PATCHES, useAudio });
    expect(plan(true)).toMatchObject({ video: { kind: 'video', frameIndices: [0, 0], gridThw: [1, 20, 28] } });
    expect(() => plan(false)).toThrow(expect.objectContaining({ code: 'media_too_short' }));
  });

  test('without sound leaves it out, and refuses a file that has nothing else', () => {
    const options = { ...PUBLISHED_PATCHES, useAudio: false };
    expect(planMedia(probeOf({}, AUDIO), resolveProfile('paper'), options).audio).toBeUndefined();
    expect(() => planMedia(probeOf(undefined, AUDIO), resolveProfile('paper'), options)).toThrow(
      expect.objectContaining({ code: 'bad_request', param: 'audio' }),
    );
  });
});
