import { describe, expect, it } from 'vitest';
import { captionRequest, optionsOf, OPTION_PROPERTIES, valueKind } from '../../../src/captioner/caption-options.ts';
import { AvocadoError } from '../../../src/base/errors.ts';

function refusal(options: unknown): Pick<AvocadoError, 'code' | 'param' | 'message'> {
  try {
    captionRequest('a.mp4', options);
  } catch (error) {
    if (error instanceof AvocadoError) return error;
    throw error;
  }
  throw new Error(`${JSON.stringify(options)} was taken.`);
}

describe('captionRequest', () => {
  it('without options is the reference: greedy, with sound, the model’s own profile', () => {
    expect(captionRequest('a.mp4', {})).toEqual({
      path: 'a.mp4',
      prompt: undefined,
      promptId: undefined,
      systemPrompt: undefined,
      useAudio: true,
      profileName: undefined,
      profile: {},
      maxTokens: undefined,
      minTokens: 0,
      ignoreEos: false,
      stopTokenIds: [],
      stop: [],
      sampling: {
        temperature: 0,
        topP: 1,
        topK: 0,
        minP: 0,
        repetitionPenalty: undefined,
        presencePenalty: 0,
        frequencyPenalty: 0,
        seed: undefined,
      },
      priority: 'interactive',
      samples: 1,
      topLogprobs: undefined,
      repetitionGuard: false,
      carry: false,
    });
  });

  it('carries a part and its segments', () => {
    const request = captionRequest('a.mp4', { start: 1.5, end: 90, segments: 30, carry: true });
    expect(request).toMatchObject({
      part: { rule: 'time', start: 1.5, end: 90 },
      segments: { when: 'always', targetSeconds: 30 },
      carry: true,
    });
    expect(captionRequest('a.mp4', { segments: 'auto' }).segments).toEqual({ when: 'auto' });
    expect(captionRequest('a.mp4', { video_start: 2 }).part).toMatchObject({ rule: 'reference', start: 2 });
  });

  it('carries every option to its place', () => {
    const frames = { fps: 1, nframes: 2, min_frames: 3, max_frames: 4 };
    const pixels = {
      min_pixels: 5,
      max_pixels: 6,
      total_pixels: 7,
      processor_min_pixels: 8,
      processor_max_pixels: 9,
      processor_fps: 10.5,
    };
    const prompt = { prompt: 'p', system_prompt: '', audio: false, profile: 'paper', max_tokens: 11, stop: ['s'] };
    const sampling = {
      temperature: 0.5,
      top_p: 0.9,
      top_k: 40,
      min_p: 0.25,
      seed: 0,
      repetition_penalty: 1.1,
      presence_penalty: -2,
      frequency_penalty: 2,
    };
    const ending = { min_tokens: 11, ignore_eos: true, stop_token_ids: [7] };
    const telling = { n: 8, repetition_guard: true, logprobs: 0 };
    expect(captionRequest('a.mp4', { ...frames, ...pixels, ...prompt, ...sampling, ...ending, ...telling })).toEqual({
      path: 'a.mp4',
      prompt: 'p',
      promptId: undefined,
      systemPrompt: '',
      useAudio: false,
      profileName: 'paper',
      profile: {
        fps: 1,
        nframes: 2,
        minFrames: 3,
        maxFrames: 4,
        minPixels: 5,
        maxPixels: 6,
        totalPixels: 7,
        processorMinPixels: 8,
        processorMaxPixels: 9,
        processorFps: 10.5,
      },
      maxTokens: 11,
      minTokens: 11,
      ignoreEos: true,
      stopTokenIds: [7],
      stop: ['s'],
      sampling: {
        temperature: 0.5,
        topP: 0.9,
        topK: 40,
        minP: 0.25,
        repetitionPenalty: 1.1,
        presencePenalty: -2,
        frequencyPenalty: 2,
        seed: 0,
      },
      priority: 'interactive',
      samples: 8,
      topLogprobs: 0,
      carry: false,
      repetitionGuard: true,
    });
  });

  it.each([
    ['fps', 0],
    ['fps', Number.NaN],
    ['nframes', 0],
    ['nframes', 2.5],
    ['max_pixels', -1],
    ['temperature', -0.1],
    ['temperature', 2.1],
    ['top_p', 0],
    ['top_p', 1.01],
    ['top_k', -2],
    ['seed', 0.5],
    ['seed', 1e300],
    ['min_p', 1.01],
    ['min_tokens', -1],
    ['ignore_eos', 1],
    ['stop_token_ids', [-1]],
    ['stop_token_ids', 7],
    ['stop_token_ids', Array(129).fill(1)],
    ['repetition_penalty', 0],
    ['stop', ''],
    ['stop', ['']],
    ['prompt', ''],
    ['prompt_id', 1001],
    ['prompt_id', '1'],
    ['audio', 1],
    ['max_tokens', 0],
    ['profile', null],
    ['n', 0],
    ['n', 9],
    ['n', 1.5],
    ['compress', 'dtd:0'],
    ['compress', 'dtd:1.5'],
    ['compress', 'half'],
    ['repetition_guard', 'yes'],
    ['presence_penalty', 2.1],
    ['frequency_penalty', -2.1],
    ['logprobs', 21],
    ['logprobs', -1],
    ['logprobs', true],
  ])('refuses %s = %j by name', (field, value) => {
    expect(refusal({ [field]: value })).toMatchObject({
      code: 'bad_request',
      param: field,
      message: expect.stringContaining(field) as string,
    });
  });

  it('has a largest value for every number, also the ones that only limit', () => {
    for (const value of [Number.MAX_VALUE, 1e15, Infinity, -1e300]) {
      for (const [field, schema] of Object.entries(OPTION_PROPERTIES)) {
        if (valueKind(schema) !== 'number') continue;
        if (field === 'seed' && value === 1e15) continue;
        expect(refusal({ [field]: value }), `${field} ${value}`).toMatchObject({ code: 'bad_request', param: field });
      }
    }
    // As small as a positive number can be, where it would be divided by.
    for (const field of ['fps', 'processor_fps', 'repetition_penalty'])
      expect(refusal({ [field]: Number.MIN_VALUE })).toMatchObject({ param: field });
  });

  it.each([
    [0, 0],
    [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    [-1, Number.MAX_SAFE_INTEGER],
    [-(2 ** 63), 0],
    [2 ** 63 + 2 ** 40, 2 ** 40],
    [2 ** 64, 0],
  ])('takes the 64-bit seed %d as %d', (seed, taken) => {
    expect(captionRequest('a.mp4', { seed }).sampling.seed).toBe(taken);
  });

  it('takes one stop text as a list of one, and top_k -1 as off', () => {
    expect(captionRequest('a.mp4', { stop: 'END', top_k: -1 })).toMatchObject({ stop: ['END'], sampling: { topK: 0 } });
  });

  it('refuses more tokens at least than at most', () => {
    expect(refusal({ segments: 4 })).toMatchObject({ message: expect.stringContaining('must be >= 5') as string });
    expect(refusal({ segments: 'no' })).toMatchObject({ message: expect.stringContaining('auto, off') as string });
    expect(refusal({ min_tokens: 9, max_tokens: 8 })).toMatchObject({ code: 'bad_request', param: 'min_tokens' });
    expect(captionRequest('a.mp4', { min_tokens: 8, max_tokens: 8 })).toMatchObject({ minTokens: 8 });
  });

  it('names an unknown field before a wrong one', () => {
    expect(refusal({ fps: 0, fpss: 1 })).toMatchObject({ code: 'unknown_field', param: 'fpss' });
  });

  it.each([null, [], 'x', 7])('refuses %j, which is no object', (value) => {
    expect(refusal(value)).toMatchObject({ code: 'bad_request' });
  });
});

describe('optionsOf', () => {
  it.each([
    {},
    { prompt: 'Why?', start: 1, end: 2.5, segments: 'auto', audio: false, profile: 'paper', max_frames: 4, fps: 1 },
    { prompt_id: 2, system_prompt: '', video_start: 3, carry: true, n: 3, logprobs: 0, seed: -1, stop: 'END' },
    { segments: 30, max_tokens: 9, min_tokens: 2, ignore_eos: true, stop_token_ids: [1], repetition_guard: true },
    { temperature: 0.5, top_p: 0.9, top_k: 5, min_p: 0.1, repetition_penalty: 1.1, presence_penalty: 1 },
    { segments: 60, merge: false, repetition_penalty: 1 },
    { frequency_penalty: -1, end: 4, stop: ['a', 'b'], total_pixels: 100_000, processor_fps: 2 },
  ])('gives options of a request that make it again: %j', (options) => {
    const request = captionRequest('a.mp4', options);
    expect(captionRequest('a.mp4', JSON.parse(JSON.stringify(optionsOf(request))))).toEqual(request);
    expect(Object.keys(optionsOf(request)).sort()).toEqual(Object.keys(options).sort());
  });
});
