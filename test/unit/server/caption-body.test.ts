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
    [[['audio', 'yes']], 'bad_request', 'audio'],
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

  it.each([
    [{}, 'bad_request', 'media'],
    [{ media: '' }, 'bad_request', 'media'],
    [{ media: 'x', file: 'y' }, 'unknown_field', 'file'],
    [{ media: 'x', timeout: 0 }, 'bad_request', 'timeout'],
    [{ media: 'x', priority: 'urgent' }, 'bad_request', 'priority'],
  ])('%j are refused with %s', (body, code, param) => {
    expect(thrownBy(() => jsonFields(body))).toMatchObject({ code, param });
  });
});
