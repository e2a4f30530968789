import { encodeMedia, mediaOrder } from './encode-media.ts';
import type { PreparedMedia } from '../features/types.ts';
import type { MediaPlan } from '../media/types.ts';
import type { Towers } from '../model/execution/thinker.ts';
import type { OpenModel } from '../captioner/open-model.ts';
import { mediaTokens } from '../captioner/plan-request.ts';

/** What is said about decoded media, and needed to build a prompt for them: everything but pixels and samples. */
export interface MediaFacts {
  /** as asked, its pictures shortened to what could be decoded */
  readonly plan: MediaPlan;
  readonly audio: { readonly tokens: number; readonly samples: number } | undefined;
  readonly warnings: readonly string[];
}

/** A clip as the decoder takes it. Depends on the file, the profile and whether the sound is wanted, on no prompt. */
export interface EncodedMedia {
  readonly facts: MediaFacts;
  /** [media tokens, hidden] f32, in the order of the prompt rows they replace */
  readonly embeds: Float32Array<ArrayBuffer>;
}

/** The way there, step by step. `encoded` comes last, with the seconds of work by stage. */
export type MediaStep =
  | { readonly type: 'decoding'; readonly done: number; readonly total: number }
  /** `intact`: the file did not change while it was read */
  | { readonly type: 'decoded'; readonly facts: MediaFacts; readonly intact: boolean }
  | { readonly type: 'encoding'; readonly done: number; readonly total: number }
  | { readonly type: 'encoded'; readonly media: EncodedMedia; readonly seconds: Readonly<Record<string, number>> };

/** What of a model makes media ready. */
export interface MediaModel extends Pick<OpenModel, 'pool' | 'preprocessor' | 'config'> {
  readonly towers: Towers;
}

function factsOf({ plan, audio, warnings }: PreparedMedia): MediaFacts {
  return { plan, audio: audio && { tokens: audio.tokens, samples: audio.samples }, warnings };
}

export interface PrepareHooks {
  /** told every step, also the last */
  readonly onStep: (step: MediaStep) => void;
  /** asked once, when the file has been read */
  readonly isIntact: () => Promise<boolean>;
}

/**
 * decode → encode. Cancelling stops whichever is running.
 * @throws AvocadoError `media_*`, `engine_error`, `aborted`
 */
export async function prepareMedia(
  plan: MediaPlan,
  model: MediaModel,
  { onStep, isIntact }: PrepareHooks,
  signal: AbortSignal,
): Promise<void> {
  const frames = plan.video?.frameIndices.length ?? 1;
  onStep({ type: 'decoding', done: 0, total: frames });
  const prepared = await model.pool.prepare(plan, { preprocessor: model.preprocessor, keepWaveform: false }, signal);
  onStep({ type: 'decoding', done: frames, total: frames });
  const facts = factsOf(prepared);
  const tokens = mediaTokens(facts.plan, facts.audio?.tokens);
  onStep({ type: 'decoded', facts, intact: await isIntact() });

  const order = mediaOrder(tokens, model.config);
  onStep({ type: 'encoding', done: 0, total: order.vision.length + order.audio.length });
  const cut = model.pool.patches.bind(model.pool);
  const { embeds, visionSeconds, audioSeconds } = await encodeMedia(prepared, order, model.towers, cut, {
    hiddenSize: model.config.text.hiddenSize,
    signal,
    onProgress: (done, total) => {
      onStep({ type: 'encoding', done, total });
    },
  });
  onStep({
    type: 'encoded',
    media: { facts, embeds },
    seconds: { ...prepared.seconds, vision: visionSeconds, audio_tower: audioSeconds },
  });
}
