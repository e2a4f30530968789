import { describe, expect, it } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { prepareFeatures, type Decoders } from '../../../src/features/prepare.ts';
import type { AudioPlan, MediaPlan, VideoPlan } from '../../../src/media/types.ts';
import { DEFAULT_PROFILE, NORMALISATION, probeOf } from '../../fixtures/media-plan.ts';

const VIDEO: VideoPlan = {
  kind: 'video',
  frameIndices: [0, 1, 2, 3],
  sampleFps: 2,
  stageA: { height: 28, width: 56 },
  final: { height: 28, width: 56 },
  gridThw: [2, 2, 4],
  secondPerGrid: 1,
  tokens: 4,
};
const AUDIO: AudioPlan = { estimatedTokens: 25, durationSeconds: 1 };
const OPTIONS = { preprocessor: NORMALISATION, keepWaveform: false };
const TONE = Float32Array.from({ length: 16_000 }, (_, index) => Math.sin(index / 5));
const never = new AbortController().signal;

function planOf(video: VideoPlan | undefined, audio: AudioPlan | undefined): MediaPlan {
  return {
    probe: probeOf({ height: 30, width: 60, hasVideo: video !== undefined, hasAudio: audio !== undefined }),
    profile: DEFAULT_PROFILE,
    video,
    audio,
  };
}

/** Decoders that give grey frames whose level is their position, and a quiet tone. */
function decoders(changes: Partial<Decoders> = {}): Decoders {
  return {
    frames: async (plan, onFrame) => {
      for (const position of plan.video!.frameIndices.keys()) {
        await onFrame(new Uint8Array(30 * 60 * 3).fill(position * 10), position);
      }
      return { plan: plan.video!, warnings: [], decoderLog: [] };
    },
    audio: async () => ({ waveform: TONE, warnings: [], decoderLog: [] }),
    ...changes,
  };
}

describe('prepareFeatures', () => {
  it.each([false, true])('resizes each frame into its place and hears the sound, here: %s', async (resizesHere) => {
    const media = await prepareFeatures(planOf(VIDEO, AUDIO), { ...OPTIONS, resizesHere }, decoders(), never);
    const size = 28 * 56 * 3;
    for (let frame = 0; frame < 4; frame++) {
      const pixels = media.frames?.data.subarray(frame * size, (frame + 1) * size);
      expect(pixels?.every((value) => value === frame * 10)).toBe(true);
    }
    expect(media.audio).toMatchObject({ frames: 100, tokens: 25, samples: 16_000, waveform: undefined });
    expect(Object.keys(media.seconds).sort()).toEqual(['audio', 'decode', 'mel', 'resize']);
  });

  it('tells of frames as they are ready, and of a decoder that starts over', async () => {
    const heard: string[] = [];
    const early = {
      begin: ({ frames }: { readonly frames: number }) => void heard.push(`begin ${frames}`),
      arrived: (position: number) => void heard.push(`arrived ${position}`),
      startOver: () => void heard.push('start over'),
    };
    const once = await prepareFeatures(
      planOf(VIDEO, undefined),
      { ...OPTIONS, resizesHere: true, early },
      decoders(),
      never,
    );
    expect(heard).toEqual(['begin 4', 'arrived 0', 'arrived 1', 'arrived 2', 'arrived 3']);
    expect(once.startedOver).toBe(false);
    heard.length = 0;
    const frames: Decoders['frames'] = async (plan, onFrame) => {
      for (const position of [0, 1, 0, 1, 2, 3]) await onFrame(new Uint8Array(30 * 60 * 3), position);
      return { plan: plan.video!, warnings: [], decoderLog: [] };
    };
    const options = { ...OPTIONS, resizesHere: true, early };
    const again = await prepareFeatures(planOf(VIDEO, undefined), options, decoders({ frames }), never);
    expect(heard.slice(0, 4)).toEqual(['begin 4', 'arrived 0', 'arrived 1', 'start over']);
    expect(again.startedOver).toBe(true);
  });

  it('keeps the waveform only when asked', async () => {
    const media = await prepareFeatures(
      planOf(undefined, AUDIO),
      { ...OPTIONS, keepWaveform: true },
      decoders(),
      never,
    );
    expect(media.audio?.waveform).toHaveLength(16_000);
    expect(media.frames).toBeUndefined();
  });

  it('reports what the decoder changed in the plan, the stack and a warning', async () => {
    const shorter: VideoPlan = { ...VIDEO, frameIndices: [0, 1], gridThw: [1, 2, 4], tokens: 2 };
    const frames: Decoders['frames'] = async (_, onFrame) => {
      for (const position of [0, 1, 2]) await onFrame(new Uint8Array(30 * 60 * 3), position);
      return { plan: shorter, warnings: ['Only 2 of 4.'], decoderLog: ['bad block'] };
    };
    const media = await prepareFeatures(planOf(VIDEO, undefined), OPTIONS, decoders({ frames }), never);
    expect(media.plan.video).toEqual(shorter);
    expect(media.frames?.frames).toBe(2);
    expect(media.warnings).toEqual(['Only 2 of 4.']);
    expect(media.decoderLog).toEqual(['bad block']);
  });

  it('has no sound when none could be decoded, and says so', async () => {
    const audio: Decoders['audio'] = async () => ({
      waveform: new Float32Array(0),
      warnings: ['Nothing was heard.'],
      decoderLog: [],
    });
    const media = await prepareFeatures(planOf(VIDEO, AUDIO), OPTIONS, decoders({ audio }), never);
    expect(media.audio).toBeUndefined();
    expect(media.warnings).toContain('Nothing was heard.');
  });

  it('hears the sound beside a video that cannot be decoded, and fails where neither can', async () => {
    const frames: Decoders['frames'] = async () => {
      throw new AvocadoError('media_undecodable', 'No frame came.');
    };
    const media = await prepareFeatures(planOf(VIDEO, AUDIO), OPTIONS, decoders({ frames }), never);
    expect([media.plan.video, media.frames, media.audio?.tokens]).toEqual([undefined, undefined, 25]);
    expect(media.warnings).toEqual(['No frame came. Only the sound is captioned.']);
    const silent: Decoders['audio'] = async () => ({ waveform: new Float32Array(0), warnings: [], decoderLog: [] });
    for (const [plan, audio] of [
      [planOf(VIDEO, AUDIO), silent],
      [planOf(VIDEO, undefined), undefined],
    ] as const) {
      const failing = decoders(audio === undefined ? { frames } : { frames, audio });
      await expect(prepareFeatures(plan, OPTIONS, failing, never)).rejects.toMatchObject({ code: 'media_undecodable' });
    }
  });

  it('stops the other decoder when one fails, waits for it, and throws the first failure', async () => {
    let ended = false;
    const frames: Decoders['frames'] = (_, __, options) =>
      new Promise((___, reject) => {
        options?.signal?.addEventListener('abort', () => {
          setTimeout(() => {
            ended = true;
            reject(new AvocadoError('aborted', 'stopped'));
          }, 20);
        });
      });
    const audio: Decoders['audio'] = async () => {
      throw new AvocadoError('media_timeout', 'Too slow.');
    };
    await expect(
      prepareFeatures(planOf(VIDEO, AUDIO), OPTIONS, decoders({ frames, audio }), never),
    ).rejects.toMatchObject({ code: 'media_timeout' });
    expect(ended).toBe(true);
  });

  it('resizes pictures as Pillow does, which rounds between the passes', async () => {
    const still: VideoPlan = { ...VIDEO, kind: 'image', frameIndices: [0], gridThw: [1, 2, 4] };
    const checker = Uint8Array.from({ length: 30 * 60 * 3 }, (_, index) => (index * 7919) % 251);
    const frames: Decoders['frames'] = async (plan, onFrame) => {
      await onFrame(checker, 0);
      return { plan: plan.video!, warnings: [], decoderLog: [] };
    };
    const asPicture = await prepareFeatures(planOf(still, undefined), OPTIONS, decoders({ frames }), never);
    const asVideo = await prepareFeatures(
      planOf({ ...still, kind: 'video' }, undefined),
      OPTIONS,
      decoders({ frames }),
      never,
    );
    expect(asPicture.frames?.data).toHaveLength(28 * 56 * 3);
    expect(asPicture.frames?.data).not.toEqual(asVideo.frames?.data);
  });
});
