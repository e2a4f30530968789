import { describe, expect, it } from 'vitest';
import { formFields, jsonFields } from '../../../src/server/wire/caption-body.ts';
import { thrownBy } from '../openai/thrown-by.ts';

describe('form fields', () => {
  it('are text, read as the type of their option', () => {
    const fields = formFields([
      ['prompt', '42'],
      ['fps', '2.5'],
      ['audio', 'false'],
      ['stream', 'true'],
      ['priority', 'batch'],
      ['timeout', '30'],
    ]);
    expect(fields).toEqual({
      options: { prompt: '42', fps: 2.5, audio: false },
      stream: true,
      tokenIds: false,
      timeoutSeconds: 30,
      priority: 'batch',
    });
  });

  it.each([
    ['True', true],
    ['1', true],
    ['on', true],
    ['YES', true],
    ['False', false],
    ['0', false],
    ['off', false],
    ['no', false],
    ['', undefined],
  ])('take %j as a switch', (text, audio) => {
    expect(formFields([['audio', text]]).options['audio']).toBe(audio);
  });

  it('are absent where they are empty, but for a system prompt', () => {
    const names = ['prompt', 'fps', 'stop', 'stop_token_ids', 'seed', 'priority', 'timeout', 'stream', 'system_prompt'];
    expect(formFields(names.map((name) => [name, ''] as const))).toMatchObject({
      options: { system_prompt: '' },
      stream: undefined,
      timeoutSeconds: undefined,
    });
  });

  it('may list token ids in one field or in several', () => {
    const texts = ['7', '8,9', '[10, 11]'];
    const { options } = formFields(texts.map((text) => ['stop_token_ids', text] as const));
    expect(options).toEqual({ stop_token_ids: [7, 8, 9, 10, 11] });
  });

  it('may repeat stop, and may come as JSON in options', () => {
    expect(
      formFields([
        ['stop', 'a'],
        ['options', '{"max_tokens": 5, "token_ids": true}'],
        ['stop', 'b'],
      ]),
    ).toMatchObject({ options: { stop: ['a', 'b'], max_tokens: 5 }, tokenIds: true, priority: 'interactive' });
  });

  it.each([
    [[['fps', 'fast']], 'bad_request', 'fps'],
    [[['audio', 'maybe']], 'bad_request', 'audio'],
    [[['audio', 'toString']], 'bad_request', 'audio'],
    [[['stop_token_ids', '1,x']], 'bad_request', 'stop_token_ids'],
    [[['fps', ' ']], 'bad_request', 'fps'],
    [[['__proto__', 'x']], 'unknown_field', '__proto__'],
    [[['toString', 'x']], 'unknown_field', 'toString'],
    [[['options', '{']], 'bad_request', 'options'],
    [[['options', '[1]']], 'bad_request', 'options'],
    [[['media', 'x']], 'unknown_field', 'media'],
    [
      [
        ['fps', '1'],
        ['fps', '2'],
      ],
      'bad_request',
      'fps',
    ],
    [
      [
        ['fps', '1'],
        ['options', '{"fps": 2}'],
      ],
      'bad_request',
      'fps',
    ],
  ] as [[string, string][], string, string][])('%j are refused with %s', (fields, code, param) => {
    expect(thrownBy(() => formFields(fields))).toMatchObject({ code, param });
  });
});

describe('JSON fields', () => {
  it('name the file and have the options of a form', () => {
    expect(jsonFields({ media: 'media://clips/a.mp4', stream: false, top_p: 0.5 })).toEqual({
      media: 'media://clips/a.mp4',
      options: { top_p: 0.5 },
      stream: false,
      tokenIds: false,
      timeoutSeconds: undefined,
      priority: 'interactive',
    });
  });

  it('are absent where they are null, and stop may be one text', () => {
    const nulls = Object.fromEntries(['prompt', 'fps', 'stop_token_ids', 'seed', 'stream'].map((name) => [name, null]));
    expect(jsonFields({ media: 'x', ...nulls, stop: 'END' })).toMatchObject({
      options: { stop: 'END' },
      stream: undefined,
    });
    expect(formFields([['options', JSON.stringify({ ...nulls, fps: 1 })]]).options).toEqual({ fps: 1 });
  });

  it('are named where there are many that nobody knows', () => {
    const unknown = Object.fromEntries(Array.from({ length: 9 }, (_, index) => [`k${index}`, 1]));
    expect(thrownBy(() => jsonFields({ media: 'x', ...unknown }))).toMatchObject({
      code: 'unknown_field',
      param: 'k0',
      message: expect.stringMatching(/^k0 and 8 others \(k1, k2, k3, k4, …\) are not fields /) as string,
    });
  });

  it.each([
    [{}, 'bad_request', 'media'],
    [{ media: null }, 'bad_request', 'media'],
    [{ media: 'x', fpss: null }, 'unknown_field', 'fpss'],
    [JSON.parse('{"media": "x", "__proto__": {"fps": 1}}'), 'unknown_field', '__proto__'],
    [{ media: '' }, 'bad_request', 'media'],
    [{ media: 'x', file: 'y' }, 'unknown_field', 'file'],
    [{ media: 'x', timeout: 0 }, 'bad_request', 'timeout'],
    [{ media: 'x', priority: 'urgent' }, 'bad_request', 'priority'],
  ])('%j are refused with %s', (body, code, param) => {
    expect(thrownBy(() => jsonFields(body))).toMatchObject({ code, param });
  });
});
