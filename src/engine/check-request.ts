import { AvocadoError } from '../base/errors.ts';
import type { Decoder } from '../model/execution/thinker.ts';
import type { SamplingParams, SequenceRequest } from './types.ts';

/** OpenAI's limits. */
const MOST_TOP_LOGPROBS = 20;
const LARGEST_PENALTY = 2;

/**
 * Why this decoder cannot take the request, or undefined.
 * @throws Error when its arrays contradict each other, which no user can cause
 */
export function checkRequest(
  request: SequenceRequest,
  decoder: Pick<Decoder, 'capacity' | 'hiddenSize'>,
): AvocadoError | undefined {
  checkShapes(request, decoder.hiddenSize);
  const { ids, maxTokens, topLogprobs } = request;
  if (ids.length + 1 > decoder.capacity) {
    return new AvocadoError(
      'context_length_exceeded',
      `The prompt has ${ids.length} tokens and the engine holds ${decoder.capacity} for prompt and caption together. Use a shorter clip, fewer frames or a smaller max_pixels.`,
    );
  }
  if (!(Number.isInteger(maxTokens) && maxTokens >= 1)) {
    return new AvocadoError('bad_request', `max_tokens must be a whole number of at least 1, not ${maxTokens}.`, {
      param: 'max_tokens',
    });
  }
  if (!(Number.isInteger(topLogprobs) && topLogprobs >= 0 && topLogprobs <= MOST_TOP_LOGPROBS)) {
    const rule = `a whole number of 0 to ${MOST_TOP_LOGPROBS}`;
    return new AvocadoError('bad_request', `top_logprobs must be ${rule}, not ${topLogprobs}.`, {
      param: 'top_logprobs',
    });
  }
  return checkSampling(request.sampling);
}

function checkShapes(request: SequenceRequest, hiddenSize: number): void {
  const { ids, positions, mediaRows, mediaEmbeds, prefix } = request;
  if (ids.length === 0) throw new Error('A sequence without prompt ids was submitted. This is a bug.');
  if (positions.length !== 3 * ids.length)
    throw new Error(`${positions.length} positions for ${ids.length} ids, expected [3, ids]. This is a bug.`);
  if (mediaEmbeds.length !== mediaRows.length * hiddenSize) {
    throw new Error(
      `${mediaEmbeds.length} embedding values for ${mediaRows.length} rows of ${hiddenSize}. This is a bug.`,
    );
  }
  if (prefix !== undefined && !(Number.isInteger(prefix.tokens) && prefix.tokens >= 0 && prefix.tokens <= ids.length)) {
    throw new Error(`A prefix of ${prefix.tokens} tokens in a prompt of ${ids.length}. This is a bug.`);
  }
  for (let index = 0, previous = -1; index < mediaRows.length; index++) {
    const row = mediaRows[index] ?? -1;
    if (row <= previous || row >= ids.length)
      throw new Error(`Media row ${row} after ${previous} in a prompt of ${ids.length}. This is a bug.`);
    previous = row;
  }
}

function checkSampling(sampling: SamplingParams): AvocadoError | undefined {
  const { temperature, topP, topK, minP, repetitionPenalty, presencePenalty, frequencyPenalty, seed } = sampling;
  const refuse = (param: string, rule: string, value: number) =>
    new AvocadoError('bad_request', `${param} must be ${rule}, not ${value}.`, { param });
  if (!(temperature >= 0 && temperature < Infinity)) return refuse('temperature', '0 (greedy) or more', temperature);
  if (!(topP > 0 && topP <= 1)) return refuse('top_p', 'above 0 and at most 1', topP);
  if (!(Number.isInteger(topK) && topK >= 0)) return refuse('top_k', 'a whole number of at least 0 (off)', topK);
  if (!(minP >= 0 && minP <= 1)) return refuse('min_p', 'between 0 (off) and 1', minP);
  if (!(repetitionPenalty > 0 && repetitionPenalty < Infinity))
    return refuse('repetition_penalty', 'above 0 (1 is off)', repetitionPenalty);
  const fits = (penalty: number) => Math.abs(penalty) <= LARGEST_PENALTY;
  if (!fits(presencePenalty)) return refuse('presence_penalty', 'between -2 and 2', presencePenalty);
  if (!fits(frequencyPenalty)) return refuse('frequency_penalty', 'between -2 and 2', frequencyPenalty);
  if (seed !== undefined && !Number.isSafeInteger(seed))
    return refuse('seed', 'a whole number between -(2^53 - 1) and 2^53 - 1', seed);
  return undefined;
}
