import { describe, expect, it } from 'vitest';
import { checkRequest } from '../../../src/engine/check-request.ts';
import { GREEDY, requestOf } from './requests.ts';

const DECODER = { capacity: 64, hiddenSize: 2 };

describe('checkRequest', () => {
  it('passes what fits', () => {
    expect(checkRequest(requestOf({ length: 63, mediaEvery: 3 }), DECODER)).toBeUndefined();
    const penalties = { repetitionPenalty: 0.9, presencePenalty: -2, frequencyPenalty: 2 };
    const sampling = { ...GREEDY, ...penalties, temperature: 2, topP: 0.1, topK: 40, seed: -7 };
    expect(checkRequest({ ...requestOf(), topLogprobs: 20, sampling }, DECODER)).toBeUndefined();
  });

  it('says how many tokens there are and what to do when the prompt is too long', () => {
    const refusal = checkRequest(requestOf({ length: 64 }), DECODER);
    expect(refusal?.code).toBe('context_length_exceeded');
    expect(refusal?.message).toMatch(/64 tokens .* 64 .* shorter clip/);
  });

  it.each([
    ['max_tokens', { maxTokens: 0 }],
    ['max_tokens', { maxTokens: 1.5 }],
    ['temperature', { sampling: { ...GREEDY, temperature: -1 } }],
    ['temperature', { sampling: { ...GREEDY, temperature: NaN } }],
    ['top_p', { sampling: { ...GREEDY, topP: 0 } }],
    ['top_p', { sampling: { ...GREEDY, topP: 1.01 } }],
    ['top_k', { sampling: { ...GREEDY, topK: 2.5 } }],
    ['top_k', { sampling: { ...GREEDY, topK: -1 } }],
    ['repetition_penalty', { sampling: { ...GREEDY, repetitionPenalty: 0 } }],
    ['presence_penalty', { sampling: { ...GREEDY, presencePenalty: 2.1 } }],
    ['presence_penalty', { sampling: { ...GREEDY, presencePenalty: NaN } }],
    ['frequency_penalty', { sampling: { ...GREEDY, frequencyPenalty: -2.1 } }],
    ['top_logprobs', { topLogprobs: 21 }],
    ['top_logprobs', { topLogprobs: 1.5 }],
    ['seed', { sampling: { ...GREEDY, seed: 2 ** 60 } }],
  ])('names %s when it is out of range: %j', (param, change) => {
    const refusal = checkRequest({ ...requestOf(), ...change }, DECODER);
    expect([refusal?.code, refusal?.param]).toEqual(['bad_request', param]);
  });

  it.each([
    ['no ids', { ids: new Int32Array(0) }],
    ['positions of another length', { positions: new Int32Array(29) }],
    ['embeddings without rows', { mediaEmbeds: new Float32Array(2) }],
    ['rows out of order', { mediaRows: Int32Array.of(4, 3), mediaEmbeds: new Float32Array(4) }],
    ['a prefix longer than the prompt', { prefix: { key: 'clip', tokens: 11 } }],
    ['a row beyond the prompt', { mediaRows: Int32Array.of(10), mediaEmbeds: new Float32Array(2) }],
  ])('calls %s a bug', (_, change) => {
    expect(() => checkRequest({ ...requestOf(), ...change }, DECODER)).toThrow('This is a bug.');
  });
});
