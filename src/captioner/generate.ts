import { randomUUID } from 'node:crypto';
import { mediaRows } from '../encoder/encode-media.ts';
import type { EncodedMedia } from '../encoder/encoded-media.ts';
import type { SamplingParams, SequenceEvent, SequenceRequest } from '../engine/types.ts';
import { merge } from '../base/merge.ts';
import type { OpenModel } from './open-model.ts';
import type { PlannedRequest } from './plan-request.ts';
import { promptPrefix } from './prompt-prefix.ts';
import type { Prompt } from '../prompt/types.ts';
import { Draft } from '../output/draft.ts';
import type { CaptionEnd, CaptionEvent, CaptionRequest, MediaReport, Sample, Usage } from '../output/events.ts';
import { Pace } from '../output/pace.ts';
import type { Stopwatch } from '../output/stopwatch.ts';

/** Everything the last stage needs. */
export interface GenerateInput {
  readonly request: CaptionRequest;
  readonly planned: PlannedRequest;
  readonly prompt: Prompt;
  readonly embeds: EncodedMedia['embeds'];
  /** equal for clips with equal embeddings; undefined = nothing is kept of this one */
  readonly mediaKey: string | undefined;
  readonly media: MediaReport;
}

/** What of a model writes the caption. */
export interface GenerateModel extends Pick<OpenModel, 'tokenizer' | 'stopIds'> {
  readonly config: Pick<OpenModel['config'], 'tokens'>;
  readonly engine: Pick<OpenModel['engine'], 'submit'>;
}

/** What all samples of a request ask the engine for. Those of one request share a prefix even where nothing is kept after it. */
function sequenceOf(input: GenerateInput, model: GenerateModel): Omit<SequenceRequest, 'sampling'> {
  const { request, prompt, planned } = input;
  const { tokens } = model.config;
  return {
    ids: prompt.ids,
    positions: prompt.positions,
    ropeDelta: prompt.ropeDelta,
    mediaRows: mediaRows(prompt.ids, tokens),
    mediaEmbeds: input.embeds,
    stopIds: model.stopIds,
    maxTokens: planned.maxTokens,
    priority: request.priority,
    topLogprobs: request.topLogprobs ?? 0,
    prefix: promptPrefix(prompt, tokens, input.mediaKey ?? (request.samples > 1 ? randomUUID() : undefined)),
  };
}

/** Sample i of a request with a seed is the one sample of a request whose seed is larger by i. */
function samplingOf(sampling: SamplingParams, index: number): SamplingParams {
  const { seed } = sampling;
  if (seed === undefined || index === 0) return sampling;
  const room = Number.MAX_SAFE_INTEGER - seed;
  return { ...sampling, seed: index <= room ? seed + index : index - room - 1 };
}

type SampleEvent =
  | Extract<CaptionEvent, { type: 'text-delta' | 'stage' }>
  | { readonly type: 'done'; readonly index: number; readonly sample: Sample };

/** One sequence's events as text; ends with `done`, or throws. The first sample's prefill stands for all. */
async function* sampleEvents(
  events: AsyncIterable<SequenceEvent>,
  draft: Draft,
  index: number,
): AsyncGenerator<SampleEvent> {
  let reason: Sample['finishReason'] = 'stop';
  for await (const event of events) {
    if (event.type === 'prefill') {
      if (index === 0) yield { type: 'stage', stage: 'prefill', done: event.done, total: event.total };
    } else if (event.type === 'token') {
      yield draft.push(event);
      const { ending } = draft;
      if (ending === undefined) continue;
      reason = ending;
      break; // leaving the iteration aborts the sequence and frees its slot
    } else if (event.type === 'end') ({ reason } = event);
    else if (event.type === 'error') throw event.error;
    else throw new DOMException('The request was cancelled.', 'AbortError');
  }
  const rest = draft.flush();
  if (rest !== undefined) yield rest;
  yield { type: 'done', index, sample: draft.finish(reason) };
}

/** All samples of a request, handed to the engine at once. */
function beginSamples(input: GenerateInput, model: GenerateModel, signal: AbortSignal): AsyncGenerator<SampleEvent>[] {
  const { samples, sampling, stop, topLogprobs, repetitionGuard } = input.request;
  const sequence = sequenceOf(input, model);
  const options = { stop, details: topLogprobs !== undefined, repetitionGuard };
  const drafts = Array.from({ length: samples }, (_, index) => new Draft(model.tokenizer, { ...options, index }));
  return drafts.map((draft, index) =>
    sampleEvents(model.engine.submit({ ...sequence, sampling: samplingOf(sampling, index) }, signal), draft, index),
  );
}

/** Prefill and decoding of one prepared request; ends with `caption-end`, or throws. When a sample fails, all end. */
export async function* generate(
  input: GenerateInput,
  model: GenerateModel,
  watch: Stopwatch,
  signal: AbortSignal,
): AsyncGenerator<CaptionEvent> {
  const left = new AbortController();
  const pace = new Pace(watch);
  const samples: Sample[] = [];
  let cachedTokens = 0;
  let prefilling = false;
  try {
    for await (const event of merge(beginSamples(input, model, AbortSignal.any([signal, left.signal])))) {
      if (event.type === 'done') {
        samples[event.index] = event.sample;
        continue;
      }
      if (event.type === 'text-delta' && event.tokenIds.length > 0) pace.token();
      else if (event.type === 'stage' && !prefilling) {
        prefilling = true;
        cachedTokens = event.done; // a prompt whose beginning was taken over starts there
      }
      yield event;
    }
  } finally {
    left.abort();
  }
  yield endOf(input, samples, pace, { ...usageOf(input.prompt, samples), cachedTokens });
}

function usageOf(prompt: Prompt, samples: readonly Sample[]): Omit<Usage, 'cachedTokens'> {
  const { total, ...byModality } = prompt.counts;
  const completionTokens = samples.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0);
  return {
    promptTokens: total,
    completionTokens,
    totalTokens: total + completionTokens,
    promptTokensByModality: byModality,
  };
}

function endOf(input: GenerateInput, samples: readonly Sample[], pace: Pace, usage: Usage): CaptionEnd {
  const [first, ...others] = samples;
  if (first === undefined) throw new Error('A request of no samples was generated. This is a bug.');
  const { media, planned } = input;
  return {
    type: 'caption-end',
    ...first,
    others,
    usage,
    media,
    profile: planned.profileLabel,
    timings: pace.timings(usage.completionTokens),
  };
}
