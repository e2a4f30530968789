import { describe, expect, it } from 'vitest';
import { bodyOf, linesOf, readInput } from '../../../src/jobs/read-input.ts';
import type { NewItem } from '../../../src/jobs/types.ts';
import { signatureHeaders } from '../../../src/jobs/webhooks.ts';

/** In pieces of a few bytes, which cut characters. */
async function* bytes(text: string, size = 5): AsyncGenerator<Uint8Array> {
  const all = Buffer.from(text);
  for (let at = 0; at < all.length; at += size) yield all.subarray(at, at + size);
}

async function read(kind: 'job' | 'batch', text: string): Promise<{ end: unknown; items: NewItem[] }> {
  const items: NewItem[] = [];
  const end = await readInput({ kind, endpoint: '/v1/captions' }, bytes(text), (block) => {
    items.push(...block);
    return Promise.resolve(true);
  });
  return { end, items };
}

describe('an input file', () => {
  it('is read line by line, whatever the pieces and the line ends', async () => {
    const found: unknown[] = [];
    for await (const line of linesOf(bytes('\uFEFF{"a":"ü🎈"}\r\n\n  \n{"b":2}'))) found.push(line);
    expect(found.map((line) => JSON.stringify(line))).toEqual([
      JSON.stringify({ number: 1, text: '{"a":"ü🎈"}\r' }),
      JSON.stringify({ number: 4, text: '{"b":2}' }),
    ]);
  });

  it('of a job has an item in each line, and a bad line is an item that failed', async () => {
    const { end, items } = await read(
      'job',
      [
        '{"media":"m\\u0000","id":"a\\u0000"}',
        'x',
        '[1]',
        '{}',
        '{"media":"m","fields":3}',
        '{"media":"m","id":5}',
      ].join('\n'),
    );
    expect(end).toEqual({ total: 6 });
    expect(items.map(({ n, customId, error }) => [n, customId, error?.code])).toEqual([
      [0, 'a\0', undefined],
      [1, '1', 'bad_request'],
      [2, '2', 'bad_request'],
      [3, '3', 'bad_request'],
      [4, '4', 'bad_request'],
      [5, '5', undefined],
    ]);
    expect(bodyOf(items[0]!.payload, '{"max_tokens":3,"media":"other"}')).toEqual({ max_tokens: 3, media: 'm\0' });
  });

  it('of a batch is right in full, or fails with what is wrong in which line', async () => {
    const good = (id: string): string =>
      JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/captions', body: { media: 'm' } });
    expect((await read('batch', good('a'))).end).toEqual({ total: 1 });
    const text = [
      good('a'),
      good('a'),
      '{',
      '{}',
      good('b').replace('POST', 'GET'),
      good('c').replace('captions', 'x'),
      good('d').replace('{"media":"m"}', '7'),
      good('e').replace('{"media":"m"}', '{"stream":true}'),
    ].join('\n');
    const { end } = await read('batch', text);
    expect((end as { errors: { code: string; line: number }[] }).errors.map(({ code, line }) => [code, line])).toEqual([
      ['duplicate_custom_id', 2],
      ['invalid_json_line', 3],
      ['missing_required_parameter', 4],
      ['invalid_method', 5],
      ['mismatched_url', 6],
      ['missing_required_parameter', 7],
      ['invalid_request', 8],
    ]);
    expect((await read('batch', '\n\n')).end).toMatchObject({ errors: [{ code: 'empty_file' }] });
  });
});

describe('a line of an input file that would hold up the server', () => {
  const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
  const many = `[${'0,'.repeat(100_000)}0]`;

  it('is an item of a job that failed; the others are read', async () => {
    const lines = [deep, many, '1'].map((value) => `{"media":"m","fields":{"a":${value}}}`).join('\n');
    const items: NewItem[] = [];
    const end = await readInput({ kind: 'job', endpoint: '/v1/captions' }, bytes(lines, 65_536), (block) => {
      items.push(...block);
      return Promise.resolve(true);
    });
    expect(end).toEqual({ total: 3 });
    expect(items.map(({ error }) => error?.message)).toEqual([
      'Line 1 has more than 100 brackets in each other.',
      'Line 2 has more than 100000 commas and brackets.',
      undefined,
    ]);
  });

  it('is a fault of a batch', async () => {
    const line = `{"custom_id":"a","method":"POST","url":"/v1/captions","body":{"media":"m","stop":${deep}}}`;
    expect((await read('batch', line)).end).toMatchObject({
      errors: [{ code: 'invalid_json_line', line: 1, message: expect.stringContaining('brackets') as string }],
    });
  });
});

describe('a message to a webhook', () => {
  it('is signed as the standard’s own example is', () => {
    // The example of the specification's reference libraries.
    const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
    const headers = signatureHeaders(secret, 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1_614_265_330, '{"test": 2432232314}');
    expect(headers).toEqual({
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
      'content-type': 'application/json',
    });
  });
});
