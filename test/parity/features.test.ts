// Resize, patches and log-mel against the reference's numbers, each stage from the reference's own input.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { logMel } from '../../src/features/log-mel.ts';
import { createResizer, resizeStill } from '../../src/features/resize.ts';
import type { FrameStack } from '../../src/features/types.ts';
import { audioTokens, melFrames } from '../../src/media/audio-length.ts';
import { decodeStill } from '../../src/media/still.ts';
import { golden, goldenJson, goldenTensors } from '../fixtures/golden.ts';
import { NORMALISATION } from '../fixtures/media-plan.ts';
import { pixelDifference } from '../fixtures/compare-features.ts';
import { largestDifference } from '../fixtures/compare-numbers.ts';

/** exactness.md, Tolerances. The log-mel of the reference is the noisier side: its FFT is float32. */
const PIXEL_TOLERANCE = 1e-5;
const MEL_TOLERANCE = 1e-4;
const MEL_USUAL = 2e-5;

interface InputFacts {
  readonly id: string;
  readonly probe: { readonly upright_height: number; readonly upright_width: number };
  readonly nframes: number;
  readonly stage_a_height: number;
  readonly stage_a_width: number;
  readonly final_height: number;
  readonly final_width: number;
  readonly resized_sha256: string;
}

const INPUTS = readdirSync(dirname(golden('inputs/av-4s.mid.json')));
const withFile = (suffix: string): string[] =>
  INPUTS.filter((name) => name.endsWith(suffix)).map((name) => name.slice(0, -suffix.length));

function rgb(name: string): Uint8Array {
  return gunzipSync(readFileSync(golden(`inputs/${name}`)));
}

/** [3, height, width] as torch keeps it, to [height, width, 3] */
function interleaved<T extends Uint8Array | Float32Array>(planar: T): T {
  const area = planar.length / 3;
  return planar.map((_, index) => planar[(index % 3) * area + Math.trunc(index / 3)]!) as T;
}

describe('resize', () => {
  const pictures = goldenJson<{
    images: { index: number; source: [number, number]; target: [number, number]; content: string }[];
  }>('processing/resize.json').images;
  const tensors = goldenTensors('processing/resize.safetensors');

  it.each(pictures)(
    "of picture $index ($content) gives the reference's bytes and floats, in C++ and TypeScript",
    ({ index, source, target }) => {
      const pixels = interleaved(tensors[`${index}.in`]!.data as Uint8Array);
      const [from, to] = [source, target].map(([height, width]) => ({ height, width })) as [
        { height: number; width: number },
        { height: number; width: number },
      ];
      for (const resize of [createResizer(from, to), createResizer(from, to, {})]) {
        const bytes = new Uint8Array(to.height * to.width * 3);
        resize(pixels, bytes);
        expect(largestDifference(bytes, interleaved(tensors[`${index}.out_uint8`]!.data as Uint8Array))).toBe(0);
        const expected = tensors[`${index}.out_float`];
        if (expected === undefined) continue;
        const floats = new Float32Array(bytes.length);
        resize(pixels, floats);
        expect(largestDifference(floats, interleaved(expected.data as Float32Array))).toBe(0);
      }
    },
  );

  it.each(withFile('.frames.rgb.gz'))("of the frames of %s gives the reference's bytes", (id) => {
    const facts = goldenJson<InputFacts>(`inputs/${id}.json`);
    const source = { height: facts.probe.upright_height, width: facts.probe.upright_width };
    const target = { height: facts.stage_a_height, width: facts.stage_a_width };
    const frames = rgb(`${id}.frames.rgb.gz`);
    const [from, to] = [source.height * source.width * 3, target.height * target.width * 3];
    const resized = new Uint8Array(facts.nframes * to);
    const resize = createResizer(source, target);
    for (let frame = 0; frame < facts.nframes; frame++) {
      resize(frames.subarray(frame * from, (frame + 1) * from), resized.subarray(frame * to, (frame + 1) * to));
    }
    expect(createHash('sha256').update(resized).digest('hex')).toBe(facts.resized_sha256);
  });

  it("of a still picture gives Pillow's bytes, and its patches the reference's rows", async () => {
    const facts = goldenJson<InputFacts & { source_height: number; source_width: number }>('inputs/still.json');
    const expected = goldenTensors('inputs/still.safetensors');
    const [height, width] = [facts.source_height, facts.source_width];
    const stream = { codec: 'png', height, width };
    const data = await decodeStill(golden('clips/still.png'), stream, 1e6, { timeoutSeconds: 60 });
    const size = { height: facts.final_height, width: facts.final_width };
    const resized = Uint8Array.from(resizeStill(data, { height, width }, size));
    expect(largestDifference(resized, interleaved(expected['resized_uint8']!.data as Uint8Array))).toBe(0);
    expect(
      pixelDifference({ data: resized, frames: 1, ...size, final: size, normalisation: NORMALISATION }, expected),
    ).toBeLessThan(PIXEL_TOLERANCE);
  });
});

describe('patches', () => {
  it.each(withFile('.resized.rgb.gz'))("of the resized frames of %s are the reference's rows", (id) => {
    const facts = goldenJson<InputFacts>(`inputs/${id}.json`);
    const data = Uint8Array.from(rgb(`${id}.resized.rgb.gz`));
    const final = { height: facts.final_height, width: facts.final_width };
    const stageA = { height: facts.stage_a_height, width: facts.stage_a_width };
    const stack: FrameStack = { data, frames: facts.nframes, ...stageA, final, normalisation: NORMALISATION };
    expect(pixelDifference(stack, goldenTensors(`inputs/${id}.safetensors`))).toBeLessThan(PIXEL_TOLERANCE);
  });
});

/** Most of all values agree far better than the worst one may. */
function checkMel(waveform: Float32Array, expected: Float32Array, kept: ArrayLike<number> | undefined): void {
  const { mel, frames } = logMel(waveform);
  const columns = kept === undefined ? Array.from({ length: frames }, (_, frame) => frame) : Array.from(kept);
  const ours = Float32Array.from(
    expected,
    (_, index) => mel[Math.trunc(index / columns.length) * frames + columns[index % columns.length]!]!,
  );
  expect(expected).toHaveLength(128 * columns.length);
  expect(largestDifference(ours, expected)).toBeLessThan(MEL_TOLERANCE);
  expect(
    ours.filter((value, index) => Math.abs(value - expected[index]!) > MEL_USUAL).length / ours.length,
  ).toBeLessThan(0.02);
}

describe('log-mel', () => {
  const waves = goldenTensors('processing/mel.safetensors');
  const facts = goldenJson<{
    waves: { name: string; a?: number; b?: number; c?: number }[];
    lengths_samples_frames_tokens: [number, number, number][];
  }>('processing/mel.json');

  it.each(['sine', 'noise', 'silence', 'speech'])('of the wave "%s" is the reference\'s', (name) => {
    checkMel(waves[`${name}.wave`]!.data as Float32Array, waves[`${name}.mel`]!.data as Float32Array, undefined);
  });

  it("of more than 300 s stops there, with the reference's last frames", () => {
    const { a = 0, b = 0, c = 0 } = facts.waves.find((wave) => wave.name === 'long') ?? {};
    const wave = Float32Array.from({ length: 301 * 16_000 }, (_, q) => {
      const tone =
        a * Math.sin((2 * Math.PI * b * q) / 16_000) * (0.55 + 0.45 * Math.sin((2 * Math.PI * q) / 16_000 / c));
      return tone + 0.002 * (((q * 7919) % 1013) / 1013 - 0.5);
    });
    expect(largestDifference(wave.subarray(0, 1600), waves['long.wave_head']!.data as Float32Array)).toBeLessThan(1e-7);
    checkMel(wave, waves['long.mel']!.data as Float32Array, waves['long.mel_frames']!.data as Int32Array);
  });

  it.each(['av-4s.mp4', 'one-second.mp4', 'surround-51.mp4'])(
    "of the whole stored waveform of %s is the reference's",
    (clip) => {
      const tensors = goldenTensors(`media/${clip}.safetensors`);
      checkMel(
        tensors['waveform_16k']!.data as Float32Array,
        tensors['input_features']!.data as Float32Array,
        tensors['mel_frames']!.data as Int32Array,
      );
    },
  );

  it("gives the reference's frames and tokens for every length of its table", () => {
    for (const [samples, frames, tokens] of facts.lengths_samples_frames_tokens)
      expect([samples, melFrames(samples), audioTokens(frames)]).toEqual([samples, frames, tokens]);
  });
});

describe('the golden inputs', () => {
  it('are all there', () => {
    expect(withFile('.frames.rgb.gz').length).toBeGreaterThanOrEqual(11);
    expect(withFile('.resized.rgb.gz').length).toBeGreaterThanOrEqual(17);
  });
});
