import { describe, expect, it } from 'vitest';
import {
  chatCompletion,
  Chunks,
  completionHead,
  systemFingerprint,
  wireLogprobs,
  type ChatChunk,
  type ChunkOptions,
} from '../../../src/openai/completion.ts';
import { checkModel, modelCard } from '../../../src/openai/model-card.ts';
import type { CaptionEnd, TokenWithAlternatives } from '../../../src/output/events.ts';
import { thrownBy } from './thrown-by.ts';

const HEAD = completionHead('cap-1', { name: 'nano', precision: 'fp32' }, 1_741_570_283_900);
const CHOSEN = { id: 7, logprob: -0.5, bytes: [65, 32] };
const TOKEN: TokenWithAlternatives = { ...CHOSEN, top: [CHOSEN, { id: 8, logprob: -1, bytes: [0xf0, 0x9f] }] };

const END: CaptionEnd = {
  type: 'caption-end',
  caption: 'A ball.',
  finishReason: 'stop',
  tokenIds: [1, 2],
  logprobs: [-0.5, -0.25],
  others: [{ caption: 'A cat. A cat.', finishReason: 'repetition', tokenIds: [3], logprobs: [-1] }],
  usage: {
    promptTokens: 150,
    completionTokens: 3,
    totalTokens: 153,
    cachedTokens: 128,
    promptTokensByModality: { text: 26, video: 24, audio: 100, image: 0 },
  },
  media: {
    kind: 'video',
    durationSeconds: 4,
    audio: { present: true, used: true, seconds: 4, tokens: 100 },
    warnings: [],
  },
  profile: 'nano@1',
  timings: { totalSeconds: 1, firstTokenSeconds: 0.5, tokensPerSecond: 2, stages: {} },
};

const USAGE = {
  prompt_tokens: 150,
  completion_tokens: 3,
  total_tokens: 153,
  prompt_tokens_details: { cached_tokens: 128, audio_tokens: 100, image_tokens: 0, text_tokens: 26, video_tokens: 24 },
  completion_tokens_details: {
    reasoning_tokens: 0,
    audio_tokens: 0,
    accepted_prediction_tokens: 0,
    rejected_prediction_tokens: 0,
  },
};

describe('an answer in one piece', () => {
  it('has a choice for each sample, the usage, and what OpenAI has no place for under one key', () => {
    expect(chatCompletion(END, HEAD, 'nano.fp32.nano@1', { profile: 'nano@1' })).toEqual({
      id: 'chatcmpl-cap-1',
      object: 'chat.completion',
      created: 1_741_570_283,
      model: 'nano',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'A ball.', refusal: null },
          logprobs: null,
          finish_reason: 'stop',
        },
        {
          index: 1,
          message: { role: 'assistant', content: 'A cat. A cat.', refusal: null },
          logprobs: null,
          finish_reason: 'repetition',
        },
      ],
      usage: USAGE,
      system_fingerprint: 'nano.fp32.nano@1',
      avocado: { profile: 'nano@1' },
    });
  });

  it('tells every token with its alternatives where they were asked for', () => {
    const [choice] = chatCompletion({ ...END, tokens: [TOKEN], others: [] }, HEAD, '', undefined).choices;
    expect(choice!.logprobs).toEqual({
      content: [
        {
          token: 'A ',
          logprob: -0.5,
          bytes: [65, 32],
          top_logprobs: [
            { token: 'A ', logprob: -0.5, bytes: [65, 32] },
            { token: '\ufffd', logprob: -1, bytes: [0xf0, 0x9f] },
          ],
        },
      ],
      refusal: null,
    });
    expect(wireLogprobs(undefined)).toBeNull();
  });

  it('does not tell the end of the turn, which is no part of the text, but tells it as an alternative', () => {
    const end: TokenWithAlternatives = { id: 9, logprob: -2, bytes: [...Buffer.from('<|im_end|>')], top: [] };
    expect(wireLogprobs([TOKEN, end])!.content.map(({ token }) => token)).toEqual(['A ']);
    expect(wireLogprobs([{ ...TOKEN, top: [end] }])!.content[0]!.top_logprobs).toMatchObject([
      { token: '<|im_end|>', logprob: -2 },
    ]);
    expect(
      new Chunks({ head: HEAD, fingerprint: '', samples: 1, includeUsage: false }).delta({
        type: 'text-delta',
        index: 0,
        text: '',
        tokenIds: [9],
        logprobs: [-2],
        tokens: [end],
      }),
    ).toBeUndefined();
  });

  it('has a fingerprint that differs with weights, precision and profile only', () => {
    const prints = [
      ['a', 'fp32', 'p@1'],
      ['b', 'fp32', 'p@1'],
      ['a', 'int4', 'p@1'],
      ['a', 'fp32', 'p@2'],
    ].map(([name, precision, profile]) => systemFingerprint({ name: name!, precision: precision! }, profile!));
    expect(new Set(prints).size).toBe(4);
    expect(systemFingerprint({ name: 'a', precision: 'fp32' }, 'p@1')).toBe(prints[0]);
  });
});

describe('chunks', () => {
  const OPTIONS: ChunkOptions = { head: HEAD, fingerprint: 'nano.fp32.nano@1', samples: 2, includeUsage: true };

  function all(options: ChunkOptions): ChatChunk[] {
    const chunks = new Chunks(options);
    const delta = { type: 'text-delta', index: 1, text: 'A ', tokenIds: [1], logprobs: [-0.5] } as const;
    return [...chunks.first(), chunks.delta(delta)!, ...chunks.last(END, { profile: 'nano@1' })];
  }

  it('begin with a role for each choice, end with a reason for each, and then tell the usage', () => {
    const base = {
      id: 'chatcmpl-cap-1',
      object: 'chat.completion.chunk',
      created: 1_741_570_283,
      model: 'nano',
      system_fingerprint: 'nano.fp32.nano@1',
    };
    const choice = (index: number, delta: object, reason: string | null): object => ({
      ...base,
      usage: null,
      choices: [{ index, delta, logprobs: null, finish_reason: reason }],
    });
    expect(all(OPTIONS)).toEqual([
      choice(0, { role: 'assistant', content: '', refusal: null }, null),
      choice(1, { role: 'assistant', content: '', refusal: null }, null),
      choice(1, { content: 'A ' }, null),
      choice(0, {}, 'stop'),
      { ...choice(1, {}, 'repetition'), avocado: { profile: 'nano@1' } },
      { ...base, choices: [], usage: USAGE },
    ]);
  });

  it('do not mention usage unless it was asked for', () => {
    const chunks = all({ ...OPTIONS, includeUsage: false });
    expect(chunks).toHaveLength(5);
    for (const chunk of chunks) expect(chunk).not.toHaveProperty('usage');
  });

  it('leave out tokens that make no text yet, but not where every token is to be told', () => {
    const chunks = new Chunks(OPTIONS);
    const silent = { type: 'text-delta', index: 0, text: '', tokenIds: [7], logprobs: [-0.5] } as const;
    expect(chunks.delta(silent)).toBeUndefined();
    expect(chunks.delta({ ...silent, tokens: [TOKEN] })).toMatchObject({
      choices: [{ delta: { content: '' }, logprobs: { content: [{ token: 'A ' }] } }],
    });
    expect(chunks.delta({ ...silent, tokenIds: [], tokens: [] })).toBeUndefined();
  });
});

describe('the model', () => {
  const served = { name: 'nano', context: 4096 };

  it('has a card as OpenAI writes them, and the length of its context', () => {
    expect(modelCard(served, 5)).toEqual({
      id: 'nano',
      object: 'model',
      created: 5,
      owned_by: 'avocado',
      max_model_len: 4096,
    });
  });

  it('may be asked for by name or not at all; another name is told the right one', () => {
    checkModel('nano', served);
    checkModel(undefined, served);
    const error = thrownBy(() => {
      checkModel('gpt-4o', served);
    });
    expect(error).toMatchObject({
      code: 'model_not_found',
      param: 'model',
      message: 'There is no model "gpt-4o". This server serves nano: write that, or leave model out.',
    });
  });
});
