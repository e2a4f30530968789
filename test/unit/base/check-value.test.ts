import { Type } from '../../../src/base/schema.ts';
import { describe, expect, it } from 'vitest';
import { checkFields, checkValue } from '../../../src/base/check-value.ts';
import { thrownBy } from '../openai/thrown-by.ts';

const SCHEMA = Type.Object({
  stop: Type.Optional(Type.Union([Type.String(), Type.Array(Type.String({ minLength: 1 }), { maxItems: 2 })])),
  temperature: Type.Optional(Type.Number({ minimum: 0 })),
  options: Type.Optional(Type.Object({ usage: Type.Boolean() })),
  priority: Type.Optional(Type.Enum(['interactive', 'batch'])),
});

describe('checkValue', () => {
  it('returns what is right as it is, unknown fields included', () => {
    const value = { stop: ['a'], temperature: 1, options: { usage: true }, other: 1 };
    expect(checkValue(SCHEMA, value, '')).toBe(value);
  });

  it.each([
    [{ stop: 5 }, 'stop', 'stop must be string or array.'],
    [{ stop: [1] }, 'stop[0]', 'stop[0] must be string.'],
    [{ stop: ['a', 'b', 'c'] }, 'stop', 'stop must not have more than 2 items.'],
    [{ temperature: -1 }, 'temperature', 'temperature must be >= 0.'],
    [{ temperature: 'hot' }, 'temperature', 'temperature must be number.'],
    [{ options: {} }, 'options.usage', 'options.usage is missing.'],
    [{ options: { usage: 1 } }, 'options.usage', 'options.usage must be boolean.'],
    [{ priority: 'high' }, 'priority', 'priority must be one of interactive, batch.'],
  ])('of %j names %s', (value, param, message) => {
    expect(thrownBy(() => checkValue(SCHEMA, value, ''))).toMatchObject({ code: 'bad_request', param, message });
    expect(thrownBy(() => checkValue(SCHEMA, value, 'messages[3].content'))).toMatchObject({
      param: `messages[3].content.${param}`,
    });
  });

  it('of something else than an object names the body, or where it lies', () => {
    expect(thrownBy(() => checkValue(SCHEMA, [], ''))).toMatchObject({
      code: 'bad_request',
      param: undefined,
      message: 'The body must be object.',
    });
    expect(thrownBy(() => checkValue(SCHEMA, 'text', 'messages[0]'))).toMatchObject({
      param: 'messages[0]',
      message: 'messages[0] must be object.',
    });
  });
});

describe('checkFields', () => {
  const closed = Type.Object(
    { top_p: Type.Optional(Type.Number({ maximum: 1 })), stop: Type.Array(Type.String(), { maxItems: 2 }) },
    { additionalProperties: false },
  );
  const flag = (field: string): string => `--${field.replace('_', '-')}`;

  it.each([
    [{ stop: [], top_p: 7 }, 'bad_request', 'top_p', '--top-p must be <= 1.'],
    [{ stop: ['a', 1] }, 'bad_request', 'stop', '--stop must be string.'],
    [{}, 'bad_request', 'stop', '--stop is missing.'],
    [{ top_p: 7, seed: 1 }, 'unknown_field', 'seed', '--seed is not a field this request has.'],
    [[], 'bad_request', undefined, 'The request must be object.'],
    [{ stop: Array.from({ length: 1001 }, () => '') }, 'bad_request', 'stop', '--stop must have at most 1000 items.'],
  ])('of %j names the field as its front end does', (value, code, param, message) => {
    const error = thrownBy(() => checkFields(closed, value, flag));
    expect(error).toMatchObject({ code, param, message: expect.stringContaining(message) as string });
  });
});
