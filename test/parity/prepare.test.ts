// From the file to the towers' input: every golden input through the pool, as a caption does it.
import { createHash } from 'node:crypto';
import { afterAll, describe, expect, it } from 'vitest';
import { createPreparePool } from '../../src/features/pool.ts';
import type { PreparedMedia } from '../../src/features/types.ts';
import { planMedia } from '../../src/media/plan.ts';
import { probeMedia } from '../../src/media/probe.ts';
import { resolveProfile } from '../../src/media/profile.ts';
import { largestDifference, pixelDifference } from '../fixtures/compare-features.ts';
import { golden, goldenJson, goldenTensors } from '../fixtures/golden.ts';
import { goldenInputs, overridesOf, PUBLISHED_PATCHES, type GoldenInput } from '../fixtures/media-cases.ts';
import { NORMALISATION } from '../fixtures/media-plan.ts';

const pool = createPreparePool({ threads: 2 });
afterAll(() => pool.close());

async function prepare(input: GoldenInput): Promise<PreparedMedia> {
  const profile = resolveProfile(
    'reference-cli',
    overridesOf(input.stage_a, input.stage_b, input.processor_fps),
    undefined,
  );
  const probe = await probeMedia(golden(`clips/${input.clip}`));
  const plan = planMedia(probe, profile, {
    ...PUBLISHED_PATCHES,
    useAudio: input.mode === 'av' || input.mode === 'audio',
  });
  return await pool.prepare(plan, { preprocessor: NORMALISATION, keepWaveform: true });
}

function checkFrames(input: GoldenInput & { readonly resized_sha256?: string }, media: PreparedMedia): void {
  const stack = media.frames!;
  const resized = stack.data.subarray(0, stack.frames * stack.height * stack.width * 3);
  if (input.resized_sha256 !== undefined)
    expect(createHash('sha256').update(resized).digest('hex')).toBe(input.resized_sha256);
  expect(pixelDifference(stack, goldenTensors(`inputs/${input.id}.safetensors`))).toBeLessThan(1e-5);
}

/** exactness.md, Tolerances. The waveform has tests of its own (media/); here it must only not spoil the features. */
function checkSound(clip: string, media: PreparedMedia): void {
  const facts = goldenJson<{ audio: { valid_mel_frames: number; audio_tokens: number; samples_16k: number } }>(
    `media/${clip}.json`,
  );
  const tensors = goldenTensors(`media/${clip}.safetensors`);
  const { mel, frames, tokens, samples, waveform } = media.audio!;
  expect({ frames, tokens, samples }).toEqual({
    frames: facts.audio.valid_mel_frames,
    tokens: facts.audio.audio_tokens,
    samples: facts.audio.samples_16k,
  });
  expect(waveform).toHaveLength(samples);
  const kept = tensors['mel_frames']!.data as Int32Array;
  const ours = Float32Array.from(
    { length: 128 * kept.length },
    (_, index) => mel[Math.trunc(index / kept.length) * frames + kept[index % kept.length]!]!,
  );
  expect(largestDifference(ours, tensors['input_features']!.data as Float32Array)).toBeLessThan(1e-4);
}

describe('preparing a golden input from its file', () => {
  it.each(goldenInputs().map((input) => [input.id, input] as const))(
    "%s gives the reference's features",
    async (_, input) => {
      const media = await prepare(input);
      expect(media.warnings).toEqual([]);
      if (input.mode === 'audio') expect(media.frames).toBeUndefined();
      else checkFrames(input, media);
      if (input.mode === 'av' || input.mode === 'audio') checkSound(input.clip, media);
      else expect(media.audio).toBeUndefined();
    },
  );
});
