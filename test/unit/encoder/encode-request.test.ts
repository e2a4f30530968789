import { describe, expect, it } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { encodeRequest, type EncoderModel, type EncodeStep } from '../../../src/encoder/encode-request.ts';
import type { EarlySteps } from '../../../src/features/early-steps.ts';
import { StepSender } from '../../../src/features/early-steps.ts';
import type { FrameStack, PreparedMedia } from '../../../src/features/types.ts';
import type { MediaPlan, VideoPlan } from '../../../src/media/types.ts';
import { DEFAULT_PROFILE, NORMALISATION, probeOf } from '../../fixtures/media-plan.ts';

const STEPS = 6;
const SIZE = { height: 896, width: 896 };
const FRAME = 896 * 896 * 3;

const video: VideoPlan = {
  kind: 'video',
  frameIndices: Array.from({ length: 2 * STEPS }, (_, index) => index),
  sampleFps: 2,
  stageA: SIZE,
  final: SIZE,
  gridThw: [STEPS, 64, 64], // one step a run
  secondPerGrid: 1,
  tokens: STEPS * 1024,
};
const plan: MediaPlan = { probe: probeOf(SIZE), profile: DEFAULT_PROFILE, video, audio: undefined };

/** Frames whose level is their number and `shift`. */
function stackOf(shift: number): FrameStack {
  const data = new Uint8Array(2 * STEPS * FRAME);
  for (let frame = 0; frame < 2 * STEPS; frame++) data.fill(frame + shift, frame * FRAME, (frame + 1) * FRAME);
  return { data, frames: 2 * STEPS, ...SIZE, final: SIZE, normalisation: NORMALISATION };
}

function prepared(frames: FrameStack, startedOver: boolean): PreparedMedia {
  return { plan, frames, audio: undefined, startedOver, warnings: [], decoderLog: [], seconds: { decode: 1 } };
}

type Prepare = EncoderModel['pool']['prepare'];

/** A model whose embeddings tell the level of the first frame of their step; `runs` has one entry a run. */
function modelOf(prepare: Prepare, runs: number[], fail?: AvocadoError): EncoderModel {
  return {
    pool: {
      prepare,
      patches: (steps: FrameStack) => Promise.resolve(Float32Array.of(steps.data[0]!)),
    },
    decodeTimeoutSeconds: 10,
    preprocessor: NORMALISATION,
    config: {
      text: { hiddenSize: 1 },
      vision: { mergeSize: 2 },
      positionIdPerSeconds: 25,
      secondsPerChunk: 2,
    },
    towers: {
      dtype: 'float32',
      encodeVision: (patches: Float32Array) => {
        if (fail !== undefined) return Promise.reject(fail);
        runs.push(patches[0]!);
        return Promise.resolve(new Float32Array(1024).fill(patches[0]!));
      },
      encodeAudio: () => Promise.reject(new Error('There is no sound.')),
    },
  } as unknown as EncoderModel;
}

async function encode(model: EncoderModel, signal = new AbortController().signal) {
  const events: EncodeStep['type'][] = [];
  const request = encodeRequest(plan, model, undefined, undefined);
  const result = await request.encode((step) => events.push(step.type), signal);
  const levels = Array.from({ length: STEPS }, (_, step) => result.media.embeds[step * 1024]);
  return { levels, events };
}

const LEVELS = Array.from({ length: STEPS }, (_, step) => 2 * step);
async function untilRuns(runs: readonly number[], count: number): Promise<void> {
  while (runs.length < count) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Frames up to `frames` of a stack arrive, and so many of their steps are encoded. */
async function arrive(early: EarlySteps | undefined, stack: FrameStack, frames: number, runs: number[], count: number) {
  const sender = senderOf(early, stack);
  for (let frame = 0; frame < frames; frame++) sender.arrived(frame);
  await untilRuns(runs, count);
  return sender;
}

/** The thread's end of `early`, with frames of `stack`. */
function senderOf(early: EarlySteps | undefined, stack: FrameStack): StepSender {
  const sender = new StepSender(early!.port);
  sender.begin(stack);
  return sender;
}

describe('the encoding of a video', () => {
  it('begins while its frames still arrive, and gives the same embeddings as after all of them', async () => {
    const runs: number[] = [];
    const runsBeforeTheEnd: number[] = [];
    const early: Prepare = async (_plan, _options, _signal, steps) => {
      const sender = await arrive(steps, stackOf(0), 8, runs, 4);
      runsBeforeTheEnd.push(...runs);
      sender.close();
      return prepared(stackOf(0), false);
    };
    const { levels, events } = await encode(modelOf(early, runs));
    expect(levels).toEqual(LEVELS);
    expect(runsBeforeTheEnd).toEqual([0, 2, 4, 6]);
    expect(runs).toEqual(LEVELS); // every step once
    expect(events.slice(0, 4)).toEqual(['decoding', 'decoding', 'decoded', 'encoding']);

    const late: Prepare = (_plan, _options, _signal, steps) => {
      steps?.close();
      return Promise.resolve(prepared(stackOf(0), false));
    };
    expect((await encode(modelOf(late, []))).levels).toEqual(LEVELS);
  });

  it('is that of the second decoding where the decoder started over', async () => {
    const runs: number[] = [];
    const twice: Prepare = async (_plan, _options, _signal, steps) => {
      const sender = await arrive(steps, stackOf(100), 12, runs, 1);
      sender.startOver();
      sender.close();
      return prepared(stackOf(0), true);
    };
    expect((await encode(modelOf(twice, runs))).levels).toEqual(LEVELS);
    expect(runs[0]).toBe(100);
    expect(runs.slice(-STEPS)).toEqual(LEVELS);
  });

  it('fails as the tower does, and stops the decoder', async () => {
    const failure = new AvocadoError('engine_error', 'no memory');
    let isStopped = false;
    const endless: Prepare = (_plan, _options, signal, steps) => {
      const sender = senderOf(steps, stackOf(0));
      sender.arrived(0);
      sender.arrived(1);
      return new Promise((_, reject) => {
        signal!.addEventListener('abort', () => {
          isStopped = true;
          sender.close();
          reject(new AvocadoError('aborted', 'stopped'));
        });
      });
    };
    await expect(encode(modelOf(endless, [], failure))).rejects.toBe(failure);
    expect(isStopped).toBe(true);
  });

  it('fails as the decoder does, and encodes no further', async () => {
    const failure = new AvocadoError('media_undecodable', 'broken');
    const runs: number[] = [];
    const broken: Prepare = async (_plan, _options, _signal, steps) => {
      const sender = await arrive(steps, stackOf(0), 4, runs, 2);
      sender.close();
      throw failure;
    };
    await expect(encode(modelOf(broken, runs))).rejects.toBe(failure);
    expect(runs).toEqual([0, 2]);
  });

  it('ends when its request is cancelled', async () => {
    const controller = new AbortController();
    const waiting: Prepare = (_plan, _options, signal, steps) =>
      new Promise((_, reject) => {
        signal!.addEventListener('abort', () => {
          steps?.close();
          reject(new AvocadoError('aborted', 'stopped'));
        });
        setTimeout(() => {
          controller.abort();
        }, 10);
      });
    await expect(encode(modelOf(waiting, []), controller.signal)).rejects.toMatchObject({ code: 'aborted' });
  });
});
