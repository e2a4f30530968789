// START HERE. One request, one story: probe → plan → decode → encode → prefill → generate, told as events.
import { encodeMedia } from './encode-media.ts';
import { asAvocadoError } from './errors.ts';
import { generate } from './generate.ts';
import type { OpenModel } from './open-model.ts';
import { checkPositions, mediaTokens, planRequest, promptOf } from './plan-request.ts';
import { checkBudget } from './prompt/build-prompt.ts';
import { reportMedia } from './report-media.ts';
import type { CaptionEvent, CaptionRequest } from './stream/events.ts';
import { Stopwatch } from './stream/stopwatch.ts';

/**
 * Captions one file. Never throws: every request ends in exactly one of caption-end, caption-error, caption-aborted.
 * Aborting the signal, or leaving the iteration, stops whatever stage is running.
 */
export async function* caption(request: CaptionRequest, model: OpenModel, signal?: AbortSignal): AsyncGenerator<CaptionEvent> {
  const left = new AbortController();
  const stop = signal === undefined ? left.signal : AbortSignal.any([signal, left.signal]);
  try {
    yield* story(request, model, stop);
  } catch (thrown) {
    const error = asAvocadoError(thrown);
    if (stop.aborted || error.code === 'aborted') yield { type: 'caption-aborted' };
    else yield { type: 'caption-error', code: error.code, message: error.message, ...(error.param === undefined ? {} : { param: error.param }) };
  } finally {
    left.abort();
  }
}

async function* story(request: CaptionRequest, model: OpenModel, signal: AbortSignal): AsyncGenerator<CaptionEvent> {
  const watch = new Stopwatch();
  yield { type: 'stage', stage: 'probe', done: 0, total: 1 };
  const planned = await watch.time('probe', planRequest(request, model, signal));

  yield { type: 'stage', stage: 'decode', done: 0, total: planned.plan.video?.frameIndices.length ?? 1 };
  const media = await model.pool.prepare(planned.plan, { preprocessor: model.preprocessor, keepWaveform: false }, signal);
  watch.add(media.seconds);
  const prompt = watch.timeSync('tokenize', () => promptOf(planned, mediaTokens(media.plan, media.audio?.tokens), model));
  checkBudget(prompt.counts, 1, model.context); // the sound may be longer than its container said
  checkPositions(prompt, planned.maxTokens, model);
  const report = reportMedia(media, prompt);
  yield { type: 'media', media: report, profile: planned.profileLabel, promptTokens: prompt.counts };

  yield { type: 'stage', stage: 'encode', done: 0, total: 1 };
  const { tokens, text } = model.config;
  const cut = model.pool.patches.bind(model.pool);
  const embeddings = await encodeMedia(media, prompt, model.thinker.towers, cut, { tokens, hiddenSize: text.hiddenSize, signal });
  watch.add({ vision: embeddings.visionSeconds, audio_tower: embeddings.audioSeconds });

  yield* generate({ planned, prompt, embeddings, media: report, sampling: request.sampling, stop: request.stop }, model, watch, signal);
}
