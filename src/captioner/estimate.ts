import type { Estimate } from './captioner.ts';
import { AvocadoError } from '../base/errors.ts';
import { checkPositions, planRequest, type PlannedRequest, type PlanningModel } from './plan-request.ts';
import { checkBudget } from '../prompt/build-prompt.ts';
import type { CaptionerContext } from './captioner-context.ts';
import type { CaptionRequest } from '../output/events.ts';

/**
 * What a caption would take, from the file's headers: nothing is decoded, no model is run. A prompt that does not fit the
 * context is told by `fits`, not thrown.
 * @throws AvocadoError for bad media or fields, as planRequest
 */
export async function estimate(
  request: CaptionRequest,
  model: PlanningModel & Pick<CaptionerContext, 'probes'>,
  signal?: AbortSignal,
): Promise<Estimate> {
  const planned = await planRequest(request, model, signal, {
    enforceBudget: false,
    probe: () => model.probes.get(request, signal),
  });
  const { counts } = planned.draft;
  return {
    kind: planned.plan.video?.kind ?? 'audio',
    durationSeconds: planned.plan.probe.durationSeconds,
    ...videoOf(planned),
    audio: audioOf(planned),
    promptTokens: counts,
    maxTokens: Math.max(0, Math.min(planned.maxTokens, model.context - counts.total)),
    context: model.context,
    fits: fits(request, planned, model),
    profile: planned.profileLabel,
  };
}

function videoOf({ plan: { video }, draft: { counts } }: PlannedRequest): Pick<Estimate, 'video'> {
  if (video === undefined) return {};
  const { frameIndices, sampleFps, final } = video;
  return {
    video: {
      frames: frameIndices.length,
      sampleFps,
      width: final.width,
      height: final.height,
      tokens: counts.video + counts.image,
    },
  };
}

function audioOf({ plan, draft: { counts } }: PlannedRequest): Estimate['audio'] {
  const used = counts.audio > 0;
  return {
    present: plan.probe.audio !== undefined,
    used,
    seconds: used ? (plan.audio?.durationSeconds ?? 0) : 0,
    tokens: counts.audio,
  };
}

/** By the checks that a caption makes. */
function fits(request: CaptionRequest, { draft, maxTokens }: PlannedRequest, model: PlanningModel): boolean {
  try {
    checkBudget(draft.counts, request.maxTokens ?? 1, model.context);
    checkPositions(draft, maxTokens, model);
    return true;
  } catch (thrown) {
    if (thrown instanceof AvocadoError && thrown.code === 'context_length_exceeded') return false;
    throw thrown;
  }
}
