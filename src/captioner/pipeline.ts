// START HERE. One request, one story: probe → plan → decode → encode → prefill → generate, told as events.
import { clipOf } from '../encoder/media-key.ts';
import type { EncodedMedia } from '../encoder/encoded-media.ts';
import { fileIdentity } from '../base/file-memo.ts';
import { generate } from './generate.ts';
import { checkPositions, mediaTokens, planRequest, promptOf } from './plan-request.ts';
import { checkBudget } from '../prompt/build-prompt.ts';
import type { Prompt } from '../prompt/types.ts';
import { reportMedia } from './report-media.ts';
import type { CaptionerContext } from './captioner-context.ts';
import type { CaptionEvent, CaptionRequest, MediaReport } from '../output/events.ts';
import { endingOf } from '../output/one-ending.ts';
import { Stopwatch } from '../output/stopwatch.ts';

/**
 * Captions one file. Never throws: every request ends in exactly one of caption-end, caption-error, caption-aborted.
 * Aborting the signal, or leaving the iteration, stops whatever stage is running.
 */
export async function* caption(
  request: CaptionRequest,
  model: CaptionerContext,
  signal?: AbortSignal,
): AsyncGenerator<CaptionEvent> {
  const left = new AbortController();
  const stop = signal === undefined ? left.signal : AbortSignal.any([signal, left.signal]);
  try {
    yield* story(request, model, stop);
  } catch (thrown) {
    yield endingOf(thrown, stop);
  } finally {
    left.abort();
  }
}

async function* story(
  request: CaptionRequest,
  model: CaptionerContext,
  signal: AbortSignal,
): AsyncGenerator<CaptionEvent> {
  const watch = new Stopwatch();
  yield { type: 'stage', stage: 'probe', done: 0, total: 1 };
  const identity = await fileIdentity(request.path);
  const planned = await watch.time(
    'probe',
    planRequest(request, model, signal, { enforceBudget: true, probe: () => model.probes.get(request, signal) }),
  );
  const clip = await watch.time('probe', clipOf(request, planned, identity, model, signal));

  let understood: { readonly prompt: Prompt; readonly media: MediaReport } | undefined;
  let encoded: EncodedMedia | undefined;
  for await (const step of model.media.open(clip, signal)) {
    if (step.type === 'decoding') yield { type: 'stage', stage: 'decode', done: step.done, total: step.total };
    else if (step.type === 'encoding') yield { type: 'stage', stage: 'encode', done: step.done, total: step.total };
    else if (step.type === 'encoded') {
      encoded = step.media;
      watch.add(step.seconds);
    } else {
      const { plan, audio } = step.facts;
      const prompt = watch.timeSync('tokenize', () => promptOf(planned, mediaTokens(plan, audio?.tokens), model));
      checkBudget(prompt.counts, 1, model.context); // the sound may be longer than its container said
      checkPositions(prompt, planned.maxTokens, model);
      const media = reportMedia(step.facts, prompt);
      understood = { prompt, media };
      yield { type: 'media', media, profile: planned.profileLabel, promptTokens: prompt.counts };
    }
  }
  if (understood === undefined || encoded === undefined)
    throw new Error('Media came without their end. This is a bug.');
  yield* generate(
    { request, planned, ...understood, embeds: encoded.embeds, mediaKey: clip.key },
    model,
    watch,
    signal,
  );
}
