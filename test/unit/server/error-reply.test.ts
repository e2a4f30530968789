import { expect, it } from 'vitest';
import { AvocadoError, ERRORS, type ErrorCode } from '../../../src/base/errors.ts';
import { asServerError, errorBody } from '../../../src/server/wire/error-reply.ts';

const TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  429: 'rate_limit_error',
};

it('gives every code of the table OpenAI’s four fields', () => {
  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    const { error } = errorBody({ code, message: 'A sentence.', param: 'field' }) as { error: Record<string, string> };
    expect(Object.keys(error)).toEqual(['message', 'type', 'param', 'code']);
    const { status } = ERRORS[code];
    expect(error['type']).toBe(TYPES[status] ?? (status >= 500 ? 'server_error' : 'invalid_request_error'));
  }
});

it('takes fastify’s complaints for the client’s faults and everything unknown for ours', () => {
  const fault = Object.assign(new Error('Body is not valid JSON'), {
    statusCode: 400,
    code: 'FST_ERR_CTP_INVALID_JSON_BODY',
  });
  expect(asServerError(fault)).toMatchObject({ code: 'bad_request', message: 'Body is not valid JSON.', cause: fault });
  expect(
    asServerError(Object.assign(new Error('too big'), { statusCode: 413, code: 'FST_ERR_CTP_BODY_TOO_LARGE' })),
  ).toMatchObject({ code: 'media_too_large' });
  expect(asServerError(new TypeError('x is not a function'))).toMatchObject({ code: 'internal' });
  expect(asServerError('thrown text')).toMatchObject({ code: 'internal' });
  const own = new AvocadoError('media_empty', 'Empty.');
  expect(asServerError(own)).toBe(own);
});
