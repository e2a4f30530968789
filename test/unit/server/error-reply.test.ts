import { expect, it } from 'vitest';
import { AvocadoError, ERRORS, type ErrorCode } from '../../../src/errors.ts';
import { asServerError, errorBody } from '../../../src/server/error-reply.ts';

it('gives every code of the table OpenAI’s four fields', () => {
  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    const { error } = errorBody({ code, message: 'A sentence.', param: 'field' }) as { error: Record<string, string> };
    expect(Object.keys(error)).toEqual(['message', 'type', 'param', 'code']);
    expect(error['type']).toBe(ERRORS[code].status >= 500 ? 'server_error' : ERRORS[code].status === 403 ? 'permission_error' : 'invalid_request_error');
  }
});

it('takes fastify’s complaints for the client’s faults and everything unknown for ours', () => {
  const fault = Object.assign(new Error('Body is not valid JSON'), { statusCode: 400, code: 'FST_ERR_CTP_INVALID_JSON_BODY' });
  expect(asServerError(fault)).toMatchObject({ code: 'bad_request', message: 'Body is not valid JSON.', cause: fault });
  expect(asServerError(new TypeError('x is not a function'))).toMatchObject({ code: 'internal' });
  expect(asServerError('thrown text')).toMatchObject({ code: 'internal' });
  const own = new AvocadoError('media_empty', 'Empty.');
  expect(asServerError(own)).toBe(own);
});
