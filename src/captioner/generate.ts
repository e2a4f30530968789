// The last stage: prefill and decoding of one prepared request, all its samples at once.
import { createHash, randomUUID } from 'node:crypto';
import type { FloatArray } from '../base/floats.ts';
import { mediaRows } from '../encoder/encode-media.ts';
import type { Engine } from '../engine/engine.ts';
import type { SamplingParams, SequenceEvent, SequenceRequest } from '../engine/types.ts';
import type { TokenIds } from '../model/checkpoint/config-types.ts';
import type { TokenBytes } from '../output/detokenizer.ts';
import type { CaptionEnd, CaptionEvent, CaptionRequest, MediaReport, Sample, Usage } from '../output/events.ts';
import { outputForm, type OutputForm } from '../output/output-form.ts';
import { OutputProcessor } from '../output/output-processor.ts';
import { TokenTimer, type Stopwatch } from '../output/timings.ts';
import type { Prompt } from '../prompt/types.ts';
import type { RequestPlan } from './plan.ts';

export interface GenerateInput {
  readonly request: CaptionRequest;
  readonly plan: Pick<RequestPlan, 'maxTokens' | 'profileLabel' | 'sampling' | 'output'>;
  readonly prompt: Prompt;
  /** [media tokens, hidden] in the towers' dtype */
  readonly embeds: FloatArray;
  /** equal for media with equal embeddings; undefined: nothing is cached of this one */
  readonly mediaKey: string | undefined;
  readonly media: MediaReport;
}

/** What of a model generates text. */
export interface GenerateModel {
  readonly tokenizer: TokenBytes;
  readonly stopIds: readonly number[];
  readonly config: { readonly tokens: TokenIds };
  readonly engine: Pick<Engine, 'submit'>;
}

type OnEvent = (event: CaptionEvent) => void;

/** Prefill and decoding; reports `caption-end`, or rejects. When one sample fails, all end. */
export async function generate(
  input: GenerateInput,
  model: GenerateModel,
  watch: Stopwatch,
  signal: AbortSignal,
  onEvent: OnEvent,
): Promise<void> {
  const { samples: count } = input.request;
  const { sampling } = input.plan;
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const timer = new TokenTimer(watch);
  const sequence = sequenceOf(input, model);
  let cachedTokens: number | undefined;
  const onSampleEvent = (event: CaptionEvent): void => {
    if (event.type === 'text-delta' && event.tokenIds.length > 0) timer.token();
    if (event.type === 'stage') cachedTokens ??= event.done; // prefill starts after the cached prefix
    onEvent(event);
  };
  const { part, durationSeconds } = input.media;
  const forms = Array.from({ length: count }, () =>
    outputForm(input.plan.output, part ?? { start: 0, end: durationSeconds }),
  );
  const run = (form: OutputForm | undefined, index: number): Promise<Sample> =>
    runSample(
      { ...sequence, sampling: samplingOf(sampling, index) },
      { index, form, request: input.request },
      model,
      either,
      onSampleEvent,
    );
  try {
    const samples = await Promise.all(forms.map(run));
    const warnings = forms.flatMap((form) => form?.warnings ?? []);
    onEvent(endOf(input, samples, warnings, timer, cachedTokens ?? 0));
  } finally {
    failed.abort();
  }
}

/**
 * What all samples of a request ask the engine for. Samples of one request share a prefix even when nothing is cached.
 */
export function sequenceOf(
  input: Omit<GenerateInput, 'media'>,
  model: Pick<GenerateModel, 'config' | 'stopIds'>,
): Omit<SequenceRequest, 'sampling'> {
  const { request, prompt, plan } = input;
  const { tokens } = model.config;
  const { minTokens, ignoreEos, stopTokenIds } = request;
  return {
    ids: prompt.ids,
    positions: prompt.positions,
    ropeDelta: prompt.ropeDelta,
    mediaRows: mediaRows(prompt.ids, tokens),
    mediaEmbeds: input.embeds,
    stopIds: ignoreEos ? stopTokenIds : [...model.stopIds, ...stopTokenIds],
    maxTokens: plan.maxTokens,
    // As in vLLM, the model's own end is not among the first tokens even where it ends nothing.
    suppress: minTokens === 0 ? undefined : { ids: [...model.stopIds, ...stopTokenIds], tokens: minTokens },
    priority: request.priority,
    topLogprobs: request.topLogprobs ?? 0,
    prefix: promptPrefix(prompt, tokens, input.mediaKey ?? (request.samples > 1 ? randomUUID() : undefined)),
  };
}

/** Sample i of a seeded request equals the only sample of a request whose seed is larger by i. */
function samplingOf(sampling: SamplingParams, index: number): SamplingParams {
  const { seed } = sampling;
  if (seed === undefined || index === 0) return sampling;
  const room = Number.MAX_SAFE_INTEGER - seed;
  return { ...sampling, seed: index <= room ? seed + index : index - room - 1 };
}

/** One sequence as text. The prefill of the first sample stands for all. */
function runSample(
  sequence: SequenceRequest,
  {
    index,
    form,
    request,
  }: { readonly index: number; readonly form: OutputForm | undefined; readonly request: CaptionRequest },
  model: GenerateModel,
  signal: AbortSignal,
  onEvent: OnEvent,
): Promise<Sample> {
  return new Promise((resolve, reject) => {
    const { stop, minTokens, stopTokenIds, topLogprobs, repetitionGuard } = request;
    const details = topLogprobs !== undefined;
    const options = { index, stop, minTokens, stopTokenIds, details, repetitionGuard, form };
    const output = new OutputProcessor(model.tokenizer, options);
    let done = false;
    let abort: () => void = () => undefined;
    const finish = (reason: Sample['finishReason']): void => {
      done = true;
      const rest = output.flush();
      if (rest !== undefined) onEvent(rest);
      resolve(output.finish(reason));
    };
    const take = (event: SequenceEvent): void => {
      switch (event.type) {
        case 'prefill':
          if (index === 0) onEvent({ type: 'stage', stage: 'prefill', done: event.done, total: event.total });
          return;
        case 'token':
          onEvent(output.push(event));
          if (output.ending !== undefined) finish(output.ending);
          return;
        case 'end':
          finish(event.reason);
          return;
        case 'error':
          throw event.error;
        case 'aborted':
          throw new DOMException('The request was cancelled.', 'AbortError');
        default:
          event satisfies never;
      }
    };
    const listener = (event: SequenceEvent): void => {
      if (done) return;
      try {
        take(event);
      } catch (thrown) {
        done = true;
        reject(thrown instanceof Error ? thrown : new Error(String(thrown)));
      }
      if (done) abort(); // frees the slot when a stop string or the repetition guard ended it; without effect otherwise
    };
    abort = model.engine.submit(sequence, listener, signal);
  });
}

function endOf(
  input: GenerateInput,
  samples: readonly Sample[],
  warnings: readonly string[],
  timer: TokenTimer,
  cachedTokens: number,
): CaptionEnd {
  const [first, ...others] = samples;
  if (first === undefined) throw new Error('A request of no samples was generated. This is a bug.');
  const { plan, prompt } = input;
  const media = { ...input.media, warnings: [...new Set([...input.media.warnings, ...warnings])] };
  const { total, ...byModality } = prompt.counts;
  const completionTokens = samples.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0);
  const usage: Usage = {
    promptTokens: total,
    completionTokens,
    totalTokens: total + completionTokens,
    promptTokensByModality: byModality,
    cachedTokens,
  };
  const timings = timer.timings(completionTokens);
  return { type: 'caption-end', ...first, others, usage, media, profile: plan.profileLabel, timings };
}

/** Tokens from the first of the prompt to the one that closes the media: after them comes the user's text. */
function prefixTokens(ids: Int32Array, tokens: TokenIds): number {
  const { video, image, audio, visionEnd, audioEnd } = tokens;
  const ofMedia: ReadonlySet<number> = new Set([video, image, audio, visionEnd, audioEnd]);
  for (let end = ids.length; end > 0; end--) if (ofMedia.has(ids[end - 1] ?? -1)) return end;
  return 0;
}

function bytesOf(values: Int32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/**
 * The part of a prompt that does not depend on the question about the media.
 * @param mediaKey equal where the media embeddings are; undefined: not shared, no prefix
 */
export function promptPrefix(
  { ids, positions }: Pick<Prompt, 'ids' | 'positions'>,
  tokens: TokenIds,
  mediaKey: string | undefined,
): SequenceRequest['prefix'] {
  const count = prefixTokens(ids, tokens);
  if (mediaKey === undefined || count === 0) return undefined;
  const hash = createHash('sha256')
    .update(mediaKey)
    .update('\0')
    .update(bytesOf(ids.subarray(0, count)));
  for (let axis = 0; axis < 3; axis++) {
    hash.update(bytesOf(positions.subarray(axis * ids.length, axis * ids.length + count)));
  }
  return { key: hash.digest('hex'), tokens: count };
}
