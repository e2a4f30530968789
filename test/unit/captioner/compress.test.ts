import { describe, expect, it } from 'vitest';
import { toFloat32, type FloatArray } from '../../../src/base/floats.ts';
import { compressVideo } from '../../../src/captioner/compress.ts';
import { mediaOrder, mediaRows } from '../../../src/encoder/encode-media.ts';
import type { ModelConfig } from '../../../src/model/checkpoint/config-types.ts';
import type { MediaTokens, Prompt } from '../../../src/prompt/types.ts';
import { narrow } from '../../fixtures/narrow.ts';

const HIDDEN = 2;
const TOKENS = { video: 1, image: 2, audio: 3 };
const CONFIG = {
  vision: { mergeSize: 2 },
  positionIdPerSeconds: 25,
  secondsPerChunk: 2,
  tokens: TOKENS,
  text: { hiddenSize: HIDDEN },
} as unknown as ModelConfig;

/** Three steps of two cells, and sound: one chunk of pictures and one of sound after each step. */
const VIDEO: MediaTokens = { kind: 'video', gridThw: [3, 2, 4], secondPerGrid: 2, audioTokens: 120 };

/** Angles of each vision token: how a cell looks. Cell 0 turns in the last step, cell 1 by a little in each. */
const ANGLES = [0, 0, 0, 0.1, 1.5, 0.2];

function input(media: MediaTokens) {
  const { vision, audio } = mediaOrder(media, CONFIG);
  const embeds = new Float32Array((vision.length + audio.length) * HIDDEN);
  const ids = [7, 8];
  for (const [token, row] of vision.entries()) {
    embeds.set([Math.cos(ANGLES[token]!), Math.sin(ANGLES[token]!)], row * HIDDEN);
    ids[2 + row] = TOKENS.video;
  }
  for (const [token, row] of audio.entries()) {
    embeds.set([100 + token, 0], row * HIDDEN);
    ids[2 + row] = TOKENS.audio;
  }
  ids.push(9);
  const positions = [0, 1, 2].flatMap((axis) => ids.map((_, row) => 1000 * axis + row));
  const counts = { text: 3, video: vision.length, audio: audio.length, image: 0, total: ids.length };
  const prompt: Prompt = { ids: Int32Array.from(ids), positions: Int32Array.from(positions), ropeDelta: -40, counts };
  return { prompt, embeds, dtype: 'float32' as const, media };
}

const keptVision = (embeds: FloatArray): number[] =>
  [...embeds.keys()]
    .filter((index) => index % HIDDEN === 0 && Math.abs(embeds[index]!) < 100)
    .map((index) => Math.round(10 * Math.atan2(embeds[index + 1]!, embeds[index]!)) / 10);

describe('compressVideo', () => {
  it('keeps the first step and the cells that changed most, and all of the sound', async () => {
    const { prompt, embeds, video } = await compressVideo(input(VIDEO), 0.5, CONFIG);
    expect(video).toEqual({ kept: 3, of: 6 });
    expect(keptVision(embeds)).toEqual([0, 0, 1.5]);
    expect(prompt.counts).toEqual({ text: 3, video: 3, audio: 120, image: 0, total: 126 });
    expect(mediaRows(prompt.ids, CONFIG.tokens).length * HIDDEN).toBe(embeds.length);
    expect([prompt.ids.at(0), prompt.ids.at(1), prompt.ids.at(-1)]).toEqual([7, 8, 9]);
  });

  it.each(['float16', 'bfloat16'] as const)('chooses by the numbers of %s and keeps their bits', async (dtype) => {
    const exact = input(VIDEO);
    const bits = narrow(exact.embeds, dtype);
    const { embeds } = await compressVideo({ ...exact, embeds: bits, dtype }, 0.5, CONFIG);
    const rounded = { ...exact, embeds: toFloat32(bits, dtype) };
    expect(embeds).toEqual(
      narrow((await compressVideo(rounded, 0.5, CONFIG)).embeds as Float32Array<ArrayBuffer>, dtype),
    );
    expect(keptVision(toFloat32(embeds, dtype))).toEqual([0, 0, 1.5]);
  });

  it('keeps the positions of what stays and of what is generated', async () => {
    const whole = input(VIDEO);
    const { prompt } = await compressVideo(whole, 0.7, CONFIG);
    const [times, heights] = [
      prompt.positions.subarray(0, prompt.ids.length),
      prompt.positions.subarray(prompt.ids.length),
    ];
    for (const [row, time] of times.entries()) {
      expect(prompt.ids[row]).toBe(whole.prompt.ids[time]);
      expect(heights[row]).toBe(1000 + time);
    }
    expect(prompt.ids.length + prompt.ropeDelta).toBe(whole.prompt.ids.length + whole.prompt.ropeDelta);
    expect([...times]).toEqual([...times].toSorted((one, other) => one - other));
  });

  it('drops nothing at 1, never the first step, and nothing of pictures and sound files', async () => {
    const whole = input(VIDEO);
    expect(await compressVideo(whole, 1, CONFIG)).toEqual({
      prompt: whole.prompt,
      embeds: whole.embeds,
      video: { kept: 6, of: 6 },
    });
    expect(keptVision((await compressVideo(whole, 0.01, CONFIG)).embeds)).toEqual([0, 0]);
    const still = input({ kind: 'image', gridThw: [1, 2, 4] });
    expect(await compressVideo(still, 0.1, CONFIG)).toMatchObject({ prompt: still.prompt, video: undefined });
  });
});
