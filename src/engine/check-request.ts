import { AvocadoError } from '../errors.ts';
import type { Decoder } from '../model/thinker.ts';
import type { SamplingParams, SequenceRequest } from './types.ts';

/**
 * Why this decoder cannot take the request, or undefined.
 * @throws Error when its arrays contradict each other, which no user can cause
 */
export function checkRequest(request: SequenceRequest, decoder: Pick<Decoder, 'capacity' | 'hiddenSize'>): AvocadoError | undefined {
  checkShapes(request, decoder.hiddenSize);
  const { ids, maxTokens } = request;
  if (ids.length + 1 > decoder.capacity) {
    return new AvocadoError('context_length_exceeded', `The prompt has ${ids.length} tokens and the engine holds ${decoder.capacity} for prompt and caption together. Use a shorter clip, fewer frames or a smaller max_pixels.`);
  }
  if (!(Number.isInteger(maxTokens) && maxTokens >= 1)) {
    return new AvocadoError('bad_request', `max_tokens must be a whole number of at least 1, not ${maxTokens}.`, { param: 'max_tokens' });
  }
  return checkSampling(request.sampling);
}

function checkShapes(request: SequenceRequest, hiddenSize: number): void {
  const { ids, positions, mediaRows, mediaEmbeds } = request;
  if (ids.length === 0) throw new Error('A sequence without prompt ids was submitted. This is a bug.');
  if (positions.length !== 3 * ids.length) throw new Error(`${positions.length} positions for ${ids.length} ids, expected [3, ids]. This is a bug.`);
  if (mediaEmbeds.length !== mediaRows.length * hiddenSize) {
    throw new Error(`${mediaEmbeds.length} embedding values for ${mediaRows.length} rows of ${hiddenSize}. This is a bug.`);
  }
  for (let index = 0, previous = -1; index < mediaRows.length; index++) {
    const row = mediaRows[index] ?? -1;
    if (row <= previous || row >= ids.length) throw new Error(`Media row ${row} after ${previous} in a prompt of ${ids.length}. This is a bug.`);
    previous = row;
  }
}

function checkSampling(sampling: SamplingParams): AvocadoError | undefined {
  const { temperature, topP, topK, repetitionPenalty, seed } = sampling;
  const refuse = (param: string, rule: string, value: number) => new AvocadoError('bad_request', `${param} must be ${rule}, not ${value}.`, { param });
  if (!(temperature >= 0 && temperature < Infinity)) return refuse('temperature', '0 (greedy) or more', temperature);
  if (!(topP > 0 && topP <= 1)) return refuse('top_p', 'above 0 and at most 1', topP);
  if (!(Number.isInteger(topK) && topK >= 0)) return refuse('top_k', 'a whole number of at least 0 (off)', topK);
  if (!(repetitionPenalty > 0 && repetitionPenalty < Infinity)) return refuse('repetition_penalty', 'above 0 (1 is off)', repetitionPenalty);
  if (seed !== undefined && !Number.isSafeInteger(seed)) return refuse('seed', 'a whole number between -(2^53 - 1) and 2^53 - 1', seed);
  return undefined;
}
