import { describe, expect, it } from 'vitest';
import { readChatRequest } from '../../../src/openai/chat-request.ts';
import { thrownBy } from './thrown-by.ts';

const MESSAGES = [{ role: 'user', content: [{ type: 'video_url', video_url: { url: 'media://lib/a.mp4' } }] }];
const chat = (fields: object): ReturnType<typeof readChatRequest> => readChatRequest({ messages: MESSAGES, ...fields });

describe('a chat request', () => {
  it('with messages alone leaves everything to the defaults', () => {
    expect(chat({})).toMatchObject({
      model: undefined,
      options: {},
      priority: 'interactive',
      timeoutSeconds: undefined,
      answer: { stream: false, includeUsage: false },
      ignored: [],
    });
  });

  it.each([
    [{ max_tokens: 5 }, { max_tokens: 5 }],
    [{ max_completion_tokens: 5 }, { max_tokens: 5 }],
    [{ max_tokens: 5, max_completion_tokens: 5 }, { max_tokens: 5 }],
    [{ max_tokens: null, max_completion_tokens: 7 }, { max_tokens: 7 }],
    [
      { temperature: 0.5, top_p: 0.9, top_k: 20, seed: 1 },
      { temperature: 0.5, top_p: 0.9, top_k: 20, seed: 1 },
    ],
    [{ top_k: -1 }, { top_k: -1 }],
    [{ stop: 'END' }, { stop: 'END' }],
    [{ stop: ['a', 'b'] }, { stop: ['a', 'b'] }],
    [{ n: 3 }, { n: 3 }],
    [
      { min_tokens: 3, ignore_eos: true, stop_token_ids: [7], min_p: 0.1 },
      { min_tokens: 3, ignore_eos: true, stop_token_ids: [7], min_p: 0.1 },
    ],
    [{ logprobs: true }, { logprobs: 0 }],
    [{ logprobs: true, top_logprobs: 5 }, { logprobs: 5 }],
    [{ logprobs: false }, {}],
    [
      { presence_penalty: 1, frequency_penalty: -1, repetition_penalty: 1.1 },
      { presence_penalty: 1, frequency_penalty: -1, repetition_penalty: 1.1 },
    ],
    [{ audio: false }, { audio: false }],
    [{ mm_processor_kwargs: { use_audio_in_video: false } }, { audio: false }],
    [{ audio: true, mm_processor_kwargs: { use_audio_in_video: true } }, { audio: true }],
    [
      { mm_processor_kwargs: { fps: 1, max_pixels: 100_352, total_pixels: 1_000_000 } },
      { fps: 1, max_pixels: 100_352, total_pixels: 1_000_000 },
    ],
    [{ media_io_kwargs: { video: { fps: 2, num_frames: 32 } } }, { fps: 2, max_frames: 32 }],
    [{ media_io_kwargs: { video: { num_frames: 32 } } }, { nframes: 32 }],
    [{ media_io_kwargs: { video: { num_frames: -1, fps: -1 } } }, {}],
    [
      { mm_processor_kwargs: { fps: 1 }, media_io_kwargs: { video: { num_frames: 32 } } },
      { fps: 1, max_frames: 32 },
    ],
    [
      { profile: 'paper', prompt_id: 2, repetition_guard: true },
      { profile: 'paper', prompt_id: 2, repetition_guard: true },
    ],
  ])('%j becomes the caption options %j', (fields, options) => {
    expect(chat(fields)).toMatchObject({ ignored: [] });
    expect(chat(fields).options).toEqual(options);
  });

  it('reads how it is to be answered, when and by whom', () => {
    const fields = {
      model: 'nano',
      stream: true,
      stream_options: { include_usage: true, continuous_usage_stats: false },
      priority: 'batch',
      timeout: 1.5,
    };
    expect(chat(fields)).toMatchObject({
      model: 'nano',
      priority: 'batch',
      timeoutSeconds: 1.5,
      answer: { stream: true, includeUsage: true },
    });
    expect(chat({ model: '' }).model).toBeUndefined();
    expect(chat({ model: null }).model).toBeUndefined();
  });

  it('names options as the client does', () => {
    const { nameField } = chat({
      max_completion_tokens: 5,
      media_io_kwargs: { video: { num_frames: 32 } },
      logprobs: true,
    });
    expect(['max_tokens', 'nframes', 'logprobs', 'seed'].map(nameField)).toEqual([
      'max_completion_tokens',
      'media_io_kwargs.video.num_frames',
      'top_logprobs',
      'seed',
    ]);
  });

  it.each([
    [{ max_tokens: 5, max_completion_tokens: 6 }, 'max_completion_tokens'],
    [{ max_tokens: 0 }, 'max_tokens'],
    [{ max_completion_tokens: 1.5 }, 'max_completion_tokens'],
    [{ temperature: 2.5 }, 'temperature'],
    [{ temperature: '0' }, 'temperature'],
    [{ top_p: 0 }, 'top_p'],
    [{ top_k: -2 }, 'top_k'],
    [{ seed: 0.5 }, 'seed'],
    [{ min_p: 2 }, 'min_p'],
    [{ stop_token_ids: ['a'] }, 'stop_token_ids[0]'],
    [{ stop: '' }, 'stop'],
    [{ stop: ['a', 3] }, 'stop[1]'],
    [{ n: 9 }, 'n'],
    [{ n: 0 }, 'n'],
    [{ stream: 'true' }, 'stream'],
    [{ stream_options: true }, 'stream_options'],
    [{ stream_options: { include_usage: 'yes' } }, 'stream_options.include_usage'],
    [{ logprobs: 5 }, 'logprobs'],
    [{ top_logprobs: 3 }, 'top_logprobs'],
    [{ logprobs: true, top_logprobs: 21 }, 'top_logprobs'],
    [{ presence_penalty: 3 }, 'presence_penalty'],
    [{ repetition_penalty: 0 }, 'repetition_penalty'],
    [{ mm_processor_kwargs: { fps: 0 } }, 'mm_processor_kwargs.fps'],
    [{ mm_processor_kwargs: { max_pixels: 5, fps: 'fast' } }, 'mm_processor_kwargs.fps'],
    [{ mm_processor_kwargs: { fps: 1 }, media_io_kwargs: { video: { fps: 2 } } }, 'media_io_kwargs.video.fps'],
    [{ mm_processor_kwargs: { use_audio_in_video: false }, audio: true }, 'mm_processor_kwargs.use_audio_in_video'],
    [{ media_io_kwargs: { video: { num_frames: 0 } } }, 'media_io_kwargs.video.num_frames'],
    [{ priority: 1 }, 'priority'],
    [{ timeout: 0 }, 'timeout'],
    [{ repetition_guard: 'on' }, 'repetition_guard'],
    [{ model: 5 }, 'model'],
  ])('refuses %j, naming %s', (fields, param) => {
    expect(thrownBy(() => chat(fields))).toMatchObject({ code: 'bad_request', param });
  });

  it('has no more fields and parts than anyone means', () => {
    const many = (count: number): object =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`field${index}`, 1]));
    expect(chat(many(200)).ignored).toHaveLength(200);
    expect(thrownBy(() => chat(many(100_000)))).toMatchObject({ code: 'bad_request', param: undefined });
    expect(thrownBy(() => chat({ mm_processor_kwargs: many(100_000) }))).toMatchObject({
      code: 'bad_request',
      param: 'mm_processor_kwargs',
    });
    expect(thrownBy(() => chat({ logit_bias: many(100_000) }))).toMatchObject({
      code: 'unsupported_field',
      param: 'logit_bias',
    });
    const parts = Array.from({ length: 100_000 }, () => ({ type: 'text', text: 'a' }));
    expect(thrownBy(() => chat({ messages: [{ role: 'user', content: parts }] }))).toMatchObject({
      code: 'bad_request',
      param: 'messages[0].content',
    });
    expect(thrownBy(() => chat({ messages: parts }))).toMatchObject({
      code: 'bad_request',
      param: 'messages',
      message: 'messages must have at most 1000 items.',
    });
    expect(thrownBy(() => chat({ stop: parts }))).toMatchObject({ code: 'bad_request', param: 'stop' });
  });

  it.each([undefined, null, 'text', [], 5])('refuses the body %j', (body) => {
    expect(thrownBy(() => readChatRequest(body))).toMatchObject({ code: 'bad_request' });
  });
});

describe('fields that mean nothing here', () => {
  it.each([
    {
      user: 'u',
      store: true,
      metadata: { a: 'b' },
      service_tier: 'auto',
      safety_identifier: 'x',
      prompt_cache_key: 'k',
      prompt_cache_retention: '24h',
    },
    {
      parallel_tool_calls: true,
      reasoning_effort: 'low',
      verbosity: 'low',
      modalities: ['text'],
      response_format: { type: 'text' },
    },
    { tool_choice: 'none' },
    { tool_choice: 'auto', tools: [], functions: [], function_call: 'auto' },
    { logit_bias: {} },
    {
      tools: null,
      response_format: null,
      logit_bias: null,
      prediction: null,
      web_search_options: null,
      modalities: null,
    },
    { skip_special_tokens: true, no_such_field: {}, guided_decoding_backend: 'auto' },
    { best_of: 1, use_beam_search: false, length_penalty: 1, echo: false, add_generation_prompt: true },
    { guided_json: null, structured_outputs: {}, regex: '', bad_words: [], prompt_logprobs: null, extra_body: {} },
  ])('are put aside and named: %j', (fields) => {
    expect(chat(fields)).toMatchObject({ options: {}, ignored: Object.keys(fields) });
  });

  it('are named inside objects as well', () => {
    const fields = {
      stream_options: { include_obfuscation: false },
      mm_processor_kwargs: { size: {}, fps: 1 },
      media_io_kwargs: { image: {}, video: { backend: 'x' } },
    };
    expect(chat(fields)).toMatchObject({
      options: { fps: 1 },
      ignored: [
        'stream_options.include_obfuscation',
        'mm_processor_kwargs.size',
        'media_io_kwargs.image',
        'media_io_kwargs.video.backend',
      ],
    });
  });

  it('do not include supported fields that are null: these have their defaults', () => {
    const fields = {
      temperature: null,
      stop: null,
      stream: null,
      stream_options: null,
      n: null,
      audio: null,
      media_io_kwargs: { video: null },
    };
    expect(chat(fields)).toMatchObject({ options: {}, ignored: [] });
  });
});

describe('fields of a file', () => {
  const VIDEO = { url: 'media://lib/a.mp4' };
  const withPart = (part: object, fields: object = {}) =>
    readChatRequest({ messages: [{ role: 'user', content: [part] }], ...fields });

  it.each([
    [
      { type: 'video_url', video_url: { ...VIDEO, fps: 1, max_pixels: 784 } },
      { fps: 1, max_pixels: 784 },
    ],
    [
      { type: 'video_url', video_url: VIDEO, nframes: 8, min_pixels: 784 },
      { nframes: 8, min_pixels: 784 },
    ],
    [
      { type: 'input_video', input_video: { data: 'AAAA', num_frames: 8 }, total_pixels: 9 },
      { nframes: 8, total_pixels: 9 },
    ],
    [{ type: 'video_url', video_url: { ...VIDEO, fps: -1, num_frames: -1, max_frames: null } }, {}],
    [
      { type: 'video_url', video_url: { ...VIDEO, use_audio_in_video: false }, min_frames: 4 },
      { audio: false, min_frames: 4 },
    ],
    [
      { type: 'image_url', image_url: { url: 'data:,x', max_pixels: 784 }, min_pixels: 7 },
      { max_pixels: 784, min_pixels: 7 },
    ],
  ])('are options in Qwen’s message format: %j', (part, options) => {
    expect(withPart(part)).toMatchObject({ options, ignored: [] });
  });

  it('are named with their place, where they are wrong and where they mean nothing', () => {
    const { nameField } = withPart({ type: 'video_url', video_url: { ...VIDEO, fps: 'fast' } });
    expect(nameField('fps')).toBe('messages[0].content[0].video_url.fps');
    const part = { type: 'image_url', image_url: { url: 'data:,x', detail: 'low', fps: 2 }, uuid: '1' };
    const at = 'messages[0].content[0]';
    expect(withPart(part).ignored).toEqual([`${at}.uuid`, `${at}.image_url.detail`, `${at}.image_url.fps`]);
    const audio = { type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' }, max_pixels: 3 };
    expect(withPart(audio).ignored).toEqual([`${at}.max_pixels`]);
  });

  it('must agree with each other and with the fields of the body', () => {
    const fps = { type: 'video_url', video_url: { ...VIDEO, fps: 1 } };
    const other = { mm_processor_kwargs: { fps: 2 } };
    expect(withPart(fps, { mm_processor_kwargs: { fps: 1 } }).options).toEqual({ fps: 1 });
    for (const bad of [() => withPart({ ...fps, fps: 2 }), () => withPart(fps, other)])
      expect(thrownBy(bad)).toMatchObject({ code: 'bad_request', param: 'messages[0].content[0].video_url.fps' });
  });

  it('may name a part of it', () => {
    const part = { type: 'video_url', video_url: VIDEO, video_start: 1.5, video_end: 3 };
    expect(withPart(part).options).toEqual({ video_start: 1.5, video_end: 3 });
  });

  it.each(['resized_height', 'resized_width'])('are refused by name: %s', (name) => {
    const param = `messages[0].content[0].video_url.${name}`;
    expect(thrownBy(() => withPart({ type: 'video_url', video_url: { ...VIDEO, [name]: 1 } }))).toMatchObject({
      code: 'unsupported_field',
      param,
      message: expect.stringContaining(param) as string,
    });
  });
});

describe('fields that ask for what a captioner cannot do', () => {
  it.each([
    [{ tools: [{ type: 'function', function: { name: 'f' } }] }, 'tools'],
    [{ functions: [{ name: 'f' }] }, 'functions'],
    [{ tool_choice: 'required' }, 'tool_choice'],
    [{ function_call: { name: 'f' } }, 'function_call'],
    [{ response_format: { type: 'json_object' } }, 'response_format'],
    [{ response_format: { type: 'json_schema', json_schema: {} } }, 'response_format'],
    [{ modalities: ['text', 'audio'] }, 'modalities'],
    [{ audio: { voice: 'alloy', format: 'wav' } }, 'audio'],
    [{ logit_bias: { 50256: -100 } }, 'logit_bias'],
    [{ prediction: { type: 'content', content: 'x' } }, 'prediction'],
    [{ web_search_options: {} }, 'web_search_options'],
    [{ guided_json: { type: 'object' } }, 'guided_json'],
    [{ guided_regex: 'a+' }, 'guided_regex'],
    [{ guided_choice: ['a'] }, 'guided_choice'],
    [{ structured_outputs: { json: {} } }, 'structured_outputs'],
    [{ regex: 'a+' }, 'regex'],
    [{ grammar: 'root ::= "a"' }, 'grammar'],
    [{ bad_words: ['a'] }, 'bad_words'],
    [{ allowed_token_ids: [1] }, 'allowed_token_ids'],
    [{ best_of: 2 }, 'best_of'],
    [{ use_beam_search: true }, 'use_beam_search'],
    [{ echo: true }, 'echo'],
    [{ prompt_logprobs: 1 }, 'prompt_logprobs'],
    [{ include_stop_str_in_output: true }, 'include_stop_str_in_output'],
    [{ skip_special_tokens: false }, 'skip_special_tokens'],
    [{ extra_body: { min_p: 0.1 } }, 'extra_body'],
    [{ stream: true, stream_options: { continuous_usage_stats: true } }, 'stream_options.continuous_usage_stats'],
  ])('are refused by name: %j', (fields, param) => {
    const error = thrownBy(() => chat(fields));
    expect(error).toMatchObject({ code: 'unsupported_field', param });
    expect(error.message).toContain(param);
  });
});
