import { describe, expect, it } from 'vitest';
import { encodeMedia, mediaOrder, mediaRows } from '../../../src/encoder/encode-media.ts';
import { MonitoredEncoders } from '../../../src/encoder/monitored-encoders.ts';
import type { FrameStack, PreparedMedia } from '../../../src/features/types.ts';
import type { TokenIds } from '../../../src/model/checkpoint/config-types.ts';
import type { Towers } from '../../../src/model/execution/thinker.ts';
import type { MediaTokens } from '../../../src/prompt/types.ts';

const CONFIG = { vision: { mergeSize: 2 }, positionIdPerSeconds: 25, secondsPerChunk: 2 };
const TOKENS = { video: 1, image: 2, audio: 3 } as TokenIds;

/** Two steps of two tokens each, and sound. */
const VIDEO: MediaTokens = { kind: 'video', gridThw: [2, 2, 4], secondPerGrid: 2, audioTokens: 60 };

describe('mediaOrder', () => {
  it('is the order of the placeholders: a chunk of pictures, a chunk of sound', () => {
    const { vision, audio } = mediaOrder(VIDEO, CONFIG);
    expect([...vision]).toEqual([0, 1, 52, 53]);
    expect([audio.length, audio[0], audio[49], audio[50], audio[59]]).toEqual([60, 2, 51, 54, 63]);
  });

  it('is plain counting for media of one kind', () => {
    expect([...mediaOrder({ kind: 'image', gridThw: [1, 2, 4] }, CONFIG).vision]).toEqual([0, 1]);
    expect([...mediaOrder({ kind: 'audio', audioTokens: 3 }, CONFIG).audio]).toEqual([0, 1, 2]);
  });
});

describe('mediaRows', () => {
  it('finds placeholders of every kind', () => {
    expect([...mediaRows(Int32Array.of(9, 1, 3, 9, 2, 9), TOKENS)]).toEqual([1, 2, 4]);
  });
});

function framesOf(steps: number, height: number, width: number): Partial<FrameStack> {
  return { data: new Uint8Array(2 * steps * height * width * 3), frames: 2 * steps, height, width };
}

describe('encodeMedia', () => {
  /** Embeddings that tell their tower and their number. */
  const numbered = (sign: number, from: number, count: number): Float32Array<ArrayBuffer> =>
    Float32Array.from({ length: count * 2 }, (_, index) => sign * (1 + from + (index >> 1)));
  const cut = (): Promise<Float32Array<ArrayBuffer>> => Promise.resolve(new Float32Array(0));

  function setUp(): { readonly media: PreparedMedia; readonly towers: Towers; readonly runs: string[] } {
    const runs: string[] = [];
    const media = {
      plan: { video: { gridThw: VIDEO.kind === 'video' ? VIDEO.gridThw : undefined } },
      frames: framesOf(2, 28, 56),
      audio: { mel: new Float32Array(0), frames: 240, tokens: 60 },
    } as unknown as PreparedMedia;
    let seen = 0;
    const towers: Towers = {
      dtype: 'float32',
      encodeVision: async (_patches, steps) => {
        runs.push(`vision ${steps}`);
        seen += steps;
        return numbered(1, (seen - steps) * 2, steps * 2);
      },
      encodeAudio: async (_mel, frames, options) => {
        runs.push(`audio ${frames}`);
        options?.onProgress?.(40);
        options?.onProgress?.(60);
        return numbered(-1, 0, 60);
      },
    };
    return { media, towers, runs };
  }

  it('puts both towers’ outputs where their rows are, and tells how far it is', async () => {
    const { media, towers, runs } = setUp();
    const progress: string[] = [];
    const order = mediaOrder(VIDEO, CONFIG);
    const { embeds } = await encodeMedia(media, order, towers, cut, {
      hiddenSize: 2,
      onProgress: (done, total) => progress.push(`${done}/${total}`),
    });
    expect(runs).toEqual(['vision 2', 'audio 240']);
    expect(progress).toEqual(['4/64', '44/64', '64/64']);
    expect([0, 1, 2, 51, 52, 53, 54, 63].map((row) => embeds[row * 2 + 1])).toEqual([1, 2, -1, -50, 3, 4, -51, -60]);
  });

  it('starts both towers at once where they compute at once, with the same embeddings and all of the progress', async () => {
    const { media, towers, runs } = setUp();
    const order = mediaOrder(VIDEO, CONFIG);
    const inTurn = await encodeMedia(media, order, setUp().towers, cut, { hiddenSize: 2 });
    let hear: () => void = () => undefined;
    const heard = new Promise<void>((resolve) => (hear = resolve));
    const both: Towers = {
      dtype: 'float32',
      parallel: true,
      // Ends only after the sound has been encoded.
      encodeVision: async (...run) => {
        await heard;
        return towers.encodeVision(...run);
      },
      encodeAudio: async (...run) => {
        const part = await towers.encodeAudio(...run);
        hear();
        return part;
      },
    };
    const progress: string[] = [];
    const { embeds } = await encodeMedia(media, order, new MonitoredEncoders(both), cut, {
      hiddenSize: 2,
      onProgress: (done, total) => progress.push(`${done}/${total}`),
    });
    expect(runs).toEqual(['audio 240', 'vision 2']);
    expect(progress).toEqual(['40/64', '60/64', '64/64']);
    expect(embeds).toEqual(inTurn.embeds);
  });

  it('keeps the bits of towers that compute in 16', async () => {
    const { media, towers } = setUp();
    const half: Towers = {
      dtype: 'bfloat16',
      encodeVision: async (...run) => Uint16Array.from(await towers.encodeVision(...run)),
      encodeAudio: async (...run) => Uint16Array.from(await towers.encodeAudio(...run), Math.abs),
    };
    const { embeds, dtype } = await encodeMedia(media, mediaOrder(VIDEO, CONFIG), half, cut, { hiddenSize: 2 });
    expect([embeds.constructor, dtype]).toEqual([Uint16Array, 'bfloat16']);
    expect([0, 1, 2, 51, 52, 53, 54, 63].map((row) => embeds[row * 2 + 1])).toEqual([1, 2, 1, 50, 3, 4, 51, 60]);
  });

  it('keeps two runs under way and gives the patches of a finished one back', async () => {
    const { towers } = setUp();
    const wide = {
      plan: { video: { gridThw: [4, 64, 64] } },
      frames: framesOf(4, 896, 896),
    } as unknown as PreparedMedia;
    const given: (number | undefined)[] = [];
    let made = 0;
    const order = { vision: Int32Array.from({ length: 8 }, (_, index) => index), audio: new Int32Array(0) };
    await encodeMedia(
      wide,
      order,
      towers,
      (_steps, used) => {
        given.push(used?.[0]);
        return Promise.resolve(Float32Array.of(++made));
      },
      { hiddenSize: 2 },
    );
    expect(given).toEqual([undefined, undefined, undefined, 1]);
  });

  it('starts no run for a request that is cancelled', async () => {
    const { media, towers, runs } = setUp();
    const encoding = encodeMedia(media, mediaOrder(VIDEO, CONFIG), towers, cut, {
      hiddenSize: 2,
      signal: AbortSignal.abort(),
    });
    await expect(encoding).rejects.toMatchObject({ name: 'AbortError' });
    expect(runs).toEqual([]);
  });
});
