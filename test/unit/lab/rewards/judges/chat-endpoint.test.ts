import { afterEach, describe, expect, it } from 'vitest';
import { retryAfterMs } from '../../../../../src/base/retry-after.ts';
import { withoutReasoning } from '../../../../../src/chat/chat-client.ts';
import { ChatEndpoint } from '../../../../../src/lab/rewards/judges/chat-endpoint.ts';
import { Unscored } from '../../../../../src/lab/rewards/types.ts';
import { fakeJudge, type FakeReply, type FakeQuestion, type FakeJudge } from '../../../../fixtures/fake-judge.ts';

let judge: FakeJudge | undefined;
afterEach(async () => {
  await judge?.close();
  judge = undefined;
});

async function serve(
  answer: (asked: FakeQuestion, index: number) => FakeReply | Promise<FakeReply>,
): Promise<FakeJudge> {
  judge = await fakeJudge(answer);
  return judge;
}

const signal = (): AbortSignal => new AbortController().signal;
const failureOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'no failure',
    (error: unknown) => error,
  );

describe('ChatEndpoint', () => {
  it('asks one question with its key, returns the reply, and takes the model name from the server', async () => {
    const { endpoint, asked } = await serve(() => 'Yes.');
    const chat = endpoint();
    expect(await chat.ask('Is it?', 0, signal())).toBe('Yes.');
    expect(chat.model).toBe('judge-2026');
    expect(asked).toMatchObject([
      {
        path: '/v1/chat/completions',
        authorization: 'Bearer secret',
        text: 'Is it?',
        body: { model: 'judge', temperature: 0 },
      },
    ]);
  });

  it('caches replies and shares concurrent questions; a repeat is another question', async () => {
    const { endpoint, asked } = await serve((_, index) => `reply ${index}`);
    const chat = endpoint();
    const batch = signal();
    expect(await Promise.all([chat.ask('a', 0, batch), chat.ask('a', 0, batch)])).toEqual(['reply 0', 'reply 0']);
    expect(await chat.ask('a', 0, signal())).toBe('reply 0');
    expect(await chat.ask('a', 1, signal())).toBe('reply 1');
    expect(asked.map(({ body }) => body['temperature'])).toEqual([0, 0.5]);
  });

  it('waits as long as a 429 says, and tries again after errors of the server', async () => {
    const answers: FakeReply[] = [
      { status: 429, headers: { 'retry-after': '0.3' }, body: '{}' },
      { status: 503, body: 'busy' },
      { status: 200, body: '<html>' },
      'fine',
    ];
    const { endpoint, asked } = await serve((_, index) => answers[index]);
    expect(await endpoint().ask('a', 0, signal())).toBe('fine');
    expect(asked).toHaveLength(4);
    expect(asked[1]!.atMs - asked[0]!.atMs).toBeGreaterThanOrEqual(290);
  });

  it('is not asked again at once by a 429 that says so', async () => {
    const { endpoint, asked } = await serve((_, index) =>
      index === 0 ? { status: 429, headers: { 'retry-after': '0' }, body: '{}' } : 'fine',
    );
    expect(await endpoint({ backoffMs: 300 }).ask('a', 0, signal())).toBe('fine');
    expect(asked[1]!.atMs - asked[0]!.atMs).toBeGreaterThanOrEqual(140);
  });

  it('gives up after eight attempts', async () => {
    const { endpoint, asked } = await serve(() => ({ status: 500, body: 'broken' }));
    expect(await failureOf(endpoint().ask('a', 0, signal()))).toMatchObject({
      code: 'judge_unreachable',
      message: 'The judge answers 500: broken',
    });
    expect(asked).toHaveLength(8);
  });

  it('reports a judge that does not answer or does not exist', async () => {
    const { endpoint } = await serve(() => undefined);
    expect(await failureOf(endpoint({ timeoutMs: 20 }).ask('a', 0, signal()))).toMatchObject({ code: 'judge_timeout' });
    const nowhere = new ChatEndpoint({
      baseUrl: 'http://127.0.0.1:9/v1',
      model: 'x',
      apiKey: undefined,
      concurrency: 1,
      timeoutMs: 60_000,
      backoffMs: 1,
    });
    expect(await failureOf(nowhere.ask('a', 0, signal()))).toMatchObject({ code: 'judge_unreachable' });
  });

  it.each(['null', '[]', '"x"', '', '{}', '{"choices":5}', '{"choices":[null]}', '{"choices":[{"message":null}]}'])(
    'says that the answer %j is none, not that nothing answers',
    async (body) => {
      const { endpoint } = await serve(() => ({ status: 200, body }));
      const { message } = (await failureOf(endpoint().ask('a', 0, signal()))) as Error;
      expect(message).toContain('does not answer as OpenAI’s does: check --judge. It answers: ');
      expect(message).toContain(body === '' ? 'nothing' : body);
    },
  );

  it('says once that nothing answers while it tries again', async () => {
    const { url, close } = await serve(() => 'unused');
    await close();
    const told: string[] = [];
    const options = { apiKey: undefined, concurrency: 2, timeoutMs: 5000, backoffMs: 1 };
    const endpoint = new ChatEndpoint({ ...options, baseUrl: url, model: 'm', onWait: (text) => told.push(text) });
    await Promise.all([failureOf(endpoint.ask('a', 0, signal())), failureOf(endpoint.ask('b', 0, signal()))]);
    expect(told).toEqual([
      `Nothing answers at ${url}/chat/completions: start the judge, or correct --judge. It is asked up to 7 times more.`,
    ]);
  });

  it('does not repeat a rejected request', async () => {
    const { endpoint, asked } = await serve(() => ({ status: 401, body: '{"error":{"message":"bad key"}}' }));
    const failure = await failureOf(endpoint().ask('a', 0, signal()));
    expect(failure).toMatchObject({ code: 'judge_refused' });
    expect(String(failure)).toContain('bad key');
    expect(String(failure)).not.toContain('secret');
    expect(asked).toHaveLength(1);
  });

  it('permanently drops a field that the server does not know, and reports it', async () => {
    const { endpoint, asked } = await serve(({ body }) =>
      'temperature' in body ? { status: 400, body: '{"error":{"message":"Unsupported value: temperature"}}' } : 'fine',
    );
    const chat = endpoint();
    expect(await Promise.all([chat.ask('a', 0, signal()), chat.ask('b', 0, signal())])).toEqual(['fine', 'fine']);
    expect(chat.droppedFields).toEqual(['temperature']);
    const before = asked.length;
    await chat.ask('c', 0, signal());
    expect(asked).toHaveLength(before + 1);
    expect(asked.at(-1)!.body).toMatchObject({ max_tokens: 8192 });
  });

  it('never exceeds its concurrency', async () => {
    let asked = 0;
    let threeCame = (): void => undefined;
    const three = new Promise<void>((resolve) => (threeCame = resolve));
    const { endpoint, mostOpen } = await serve(async () => {
      if (++asked === 3) threeCame();
      await three;
      await new Promise((resolve) => setTimeout(resolve, 10));
      return 'x';
    });
    const chat = endpoint({ concurrency: 3 });
    const batch = signal();
    await Promise.all(Array.from({ length: 20 }, (_, index) => chat.ask(`question ${index}`, 0, batch)));
    expect(mostOpen()).toBe(3);
  });

  it('stops running and waiting questions with the signal’s reason, and frees their permits', async () => {
    const fake = await serve(({ text }) => (text === 'later' ? 'x' : undefined));
    const chat = fake.endpoint({ concurrency: 1 });
    const ending = new AbortController();
    const asked = [chat.ask('a', 0, ending.signal), chat.ask('b', 0, ending.signal)].map(failureOf);
    while (fake.asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    ending.abort(new Unscored('deadline', 'Too late.'));
    expect(await Promise.all(asked)).toMatchObject([{ code: 'deadline' }, { code: 'deadline' }]);
    expect(await failureOf(chat.ask('c', 0, ending.signal))).toMatchObject({ code: 'deadline' });
    expect(await chat.ask('later', 0, signal())).toBe('x');
    expect(fake.left()).toBe(1);
  });
});

describe('the reply of a judge', () => {
  it.each([
    ['<think>hm, {"a": 1}</think>\n{"a": 2}', '{"a": 2}'],
    ['hm</think> yes', 'yes'],
    ['<think>and so on without end', ''],
    [' plain ', 'plain'],
  ])('is read without its reasoning: %j', (text, rest) => {
    expect(withoutReasoning(text)).toBe(rest);
  });

  it.each([
    ['2', 2000],
    ['0.5', 500],
    [null, undefined],
    ['soon', undefined],
    ['Thu, 01 Jan 1970 00:00:05 GMT', 4000],
    ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
    ['-3', 0],
    ['99999999999', 3600_000],
    ['Fri, 31 Dec 9999 23:59:59 GMT', 3600_000],
  ] as const)('may ask to wait: %s', (header, ms) => {
    expect(retryAfterMs(header, 1000)).toBe(ms);
  });
});
