// The reward service as a trainer uses it: real sockets, the world judge, and a judge that misbehaves.
import { afterEach, describe, expect, it } from 'vitest';
import { endpointJudge } from '../../src/lab/rewards/judges/endpoint-judge.ts';
import type { Judge } from '../../src/lab/rewards/judges/judge.ts';
import { worldJudge } from '../../src/lab/rewards/judges/open-judge.ts';
import { readPrompts } from '../../src/lab/rewards/judges/prompts.ts';
import { fakeJudge, type FakeReply, type FakeQuestion, type FakeJudge } from '../fixtures/fake-judge.ts';
import { serveRewards, type ServedRewards } from '../fixtures/served-rewards.ts';

const REFERENCE =
  'On a plain gray background there is a small red circle on the left. At first, the red circle moves left while a man says "go left now".';
const GUESS = REFERENCE.replace('moves left', 'moves right').replace('a man', 'a woman');

interface Item {
  readonly id?: string;
  readonly total: number | null;
  readonly errors: readonly { readonly reward: string; readonly code: string; readonly message: string }[];
  readonly [reward: string]: unknown;
}

let service: ServedRewards | undefined;
let fake: FakeJudge | undefined;
afterEach(async () => {
  await service?.close();
  await fake?.close();
  service = fake = undefined;
});

async function score(body: unknown): Promise<readonly Item[]> {
  service ??= await serveRewards();
  const { status, body: answer } = await service.post('/v1/rewards', body);
  expect(status).toBe(200);
  return answer['items'] as readonly Item[];
}

async function judgedBy(
  answer: (asked: FakeQuestion) => FakeReply,
  { deadlineSeconds = 300, timeoutMs = 60_000 } = {},
): Promise<void> {
  fake = await fakeJudge(answer);
  const judge = endpointJudge(fake.endpoint({ timeoutMs }), {
    prompts: await readPrompts(undefined),
    seesVideo: false,
  });
  service = await serveRewards({ judge, deadlineSeconds });
}

function item(completion: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return { completion, completion_tokens: 50, reference: { caption: REFERENCE }, ...more };
}

describe('POST /v1/rewards', () => {
  it('gives the paper’s rewards and their sum, in order', async () => {
    const items = await score({
      items: [
        item(REFERENCE, { id: 'r0', sample_id: 's1', finish_reason: 'stop' }),
        item(GUESS, { completion_tokens: 224 }),
      ],
    });
    expect(items).toEqual([
      {
        id: 'r0',
        sample_id: 's1',
        finish_reason: 'stop',
        total: 3,
        checklist: { value: 1, matched: 5, total: 5 },
        dialogue: { value: 1, N: 1, M: 1, s_content: 1, s_speaker: 1, pairs: [[1, 1]], speaker_mode: 'exact' },
        length: { value: 1, tokens: 50 },
        errors: [],
      },
      {
        total: 1.4,
        checklist: { value: 0.4, matched: 2, total: 5 },
        dialogue: { value: 0.5, N: 1, M: 1, s_content: 1, s_speaker: 0, pairs: [[1, 1]], speaker_mode: 'exact' },
        length: { value: 0.5, tokens: 224 },
        errors: [],
      },
    ]);
  });

  it('reports judge, prompts and normalisation with the scores', async () => {
    service = await serveRewards();
    const { body } = await service.post('/v1/rewards', { items: [item('x')] });
    expect(body).toMatchObject({ judge: { kind: 'world', model: null, prompt_hash: null }, normalisation: 'raw' });
  });

  it('gives only the requested rewards, with their weights', async () => {
    const [first] = await score({ items: [item(GUESS)], rewards: ['length', 'precision'], weights: [0.5, 2] });
    expect(first).toEqual({
      total: 1.5,
      length: { value: 1, tokens: 50 },
      precision: { value: 0.5, claims: 4, false_claims: 2 },
      errors: [],
    });
  });

  it('gives null with a reason for a reward that cannot be computed, and still scores the others', async () => {
    const items = await score({
      items: [
        { completion: GUESS, reference: { caption: REFERENCE } },
        item(REFERENCE),
        item(REFERENCE, { reference: {} }),
      ],
    });
    expect(items[0]).toMatchObject({
      total: null,
      length: { value: null },
      checklist: { value: 0.4 },
      errors: [{ reward: 'length', code: 'no_token_count' }],
    });
    expect(items[0]!.errors[0]!.message).toContain('--tokenizer');
    expect(items[1]!.total).toBe(3);
    expect(items[2]!.errors.map(({ code }) => code)).toEqual(['no_reference', 'no_reference']);
  });

  it('sums the available rewards when a partial sum is requested', async () => {
    const [first] = await score({
      items: [{ completion: REFERENCE, reference: { caption: REFERENCE } }],
      options: { partial: 'sum' },
    });
    expect(first!.total).toBe(2);
  });

  it('leaves out the dialogue reward without speech when emptyBoth is skip', async () => {
    const silent = 'On a plain gray background there is a small red circle on the left. There is no sound.';
    const asked = { items: [item(silent, { reference: { caption: silent } })], rewards: ['checklist', 'dialogue'] };
    expect((await score(asked))[0]!.total).toBe(2);
    expect((await score({ ...asked, options: { emptyBoth: 'skip' } }))[0]).toMatchObject({
      total: 1,
      dialogue: { value: null, N: 0, M: 0 },
      errors: [],
    });
  });

  it('scores a step of 512 captions in one request', async () => {
    const body = {
      items: Array.from({ length: 512 }, (_, index) =>
        item(index % 2 === 0 ? GUESS : REFERENCE, { id: String(index) }),
      ),
      rewards: ['checklist', 'dialogue', 'length', 'precision'],
    };
    const items = await score(body);
    expect(items.map(({ id }) => id)).toEqual(body.items.map(({ id }) => id));
  });

  it.each<[name: string, body: unknown, status: number, code: string, param: string | null]>([
    ['no JSON', '{', 400, 'bad_request', null],
    ['no items', { items: [] }, 400, 'bad_request', 'items'],
    ['an item without a caption', { items: [item('x'), { id: 'a' }] }, 400, 'bad_request', 'items[1].completion'],
    ['a field that does not exist', { items: [item('x', { caption: 'x' })] }, 400, 'unknown_field', 'items[0].caption'],
    [
      'an option that does not exist',
      { items: [item('x')], options: { gamma: 0.5 } },
      400,
      'unknown_field',
      'options.gamma',
    ],
    ['a reward that does not exist', { items: [item('x')], rewards: ['beauty'] }, 400, 'bad_request', 'rewards[0]'],
    ['a weight too many', { items: [item('x')], rewards: ['length'], weights: [1, 2] }, 400, 'bad_request', 'weights'],
    [
      'a negative count',
      { items: [item('x', { completion_tokens: -1 })] },
      400,
      'bad_request',
      'items[0].completion_tokens',
    ],
    [
      'more items than anyone means',
      { items: Array.from({ length: 1001 }, () => ({ completion: '' })) },
      400,
      'bad_request',
      'items',
    ],
    ['too large a body', JSON.stringify({ items: [item('x'.repeat(33 * 1024 ** 2))] }), 413, 'media_too_large', null],
  ])('refuses %s', async (_name, body, status, code, param) => {
    service = await serveRewards();
    const answer = await service.post('/v1/rewards', body);
    expect(answer).toMatchObject({ status, body: { error: { code, param } } });
  });
});

describe('POST /v1/rewards/NAME', () => {
  it.each([
    ['checklist', [1, 0.4]],
    ['dialogue', [1, 0.5]],
    ['length', [1, 1]],
    ['precision', [1, 0.5]],
  ])('%s gives the values of one reward', async (name, values) => {
    service = await serveRewards();
    expect(await service.post(`/v1/rewards/${name}`, { items: [item(REFERENCE), item(GUESS)] })).toMatchObject({
      status: 200,
      body: { values, errors: [[], []] },
    });
  });

  it('gives null for a reward that cannot be computed', async () => {
    service = await serveRewards();
    const { body } = await service.post('/v1/rewards/length', { items: [{ completion: 'x' }, item('x')] });
    expect(body).toMatchObject({ values: [null, 1], errors: [[{ code: 'no_token_count' }], []] });
  });
});

describe('a judge that misbehaves', () => {
  it.each<[name: string, answer: FakeReply, code: string]>([
    ['is silent', undefined, 'judge_timeout'],
    ['talks nonsense', 'Lovely!', 'parse_failed'],
    ['is broken', { status: 500, body: 'x' }, 'judge_unreachable'],
    ['refuses', { status: 403, body: 'x' }, 'judge_refused'],
  ])('and %s costs a batch its verdicts, not the rest', async (_name, answer, code) => {
    await judgedBy(() => answer, { timeoutMs: answer === undefined ? 50 : 60_000 });
    const [first] = await score({ items: [item('A man talks.')], rewards: ['checklist', 'length', 'precision'] });
    expect(first).toMatchObject({
      total: null,
      checklist: { value: null },
      length: { value: 1 },
      errors: [
        { reward: 'checklist', code },
        { reward: 'precision', code: 'no_claims' },
      ],
    });
  });

  it('delays a batch no longer than its deadline', async () => {
    await judgedBy(() => ({ status: 429, headers: { 'retry-after': '100' }, body: '' }), { deadlineSeconds: 0.3 });
    const began = performance.now();
    const items = await score({ items: [item('one'), item('two')], rewards: ['checklist', 'length'] });
    expect(performance.now() - began).toBeLessThan(90_000); // the judge asked for 100 s
    expect(items).toMatchObject([
      { total: null, length: { value: 1 }, errors: [{ code: 'deadline' }] },
      { total: null, errors: [{ code: 'deadline' }] },
    ]);
  });

  it('gets no more questions when the trainer has disconnected', async () => {
    fake = await fakeJudge(() => undefined);
    service = await serveRewards({
      judge: endpointJudge(fake.endpoint(), { prompts: await readPrompts(undefined), seesVideo: false }),
    });
    const leaving = new AbortController();
    const answer = service
      .post('/v1/rewards', { items: [item('one')], rewards: ['checklist'] }, leaving.signal)
      .catch(() => 'gone');
    while (fake.asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    leaving.abort();
    expect(await answer).toBe('gone');
    while (fake.left() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  });
});

describe('a service that stops', () => {
  it('answers the batches that it has begun', async () => {
    const world = worldJudge();
    let begin: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const judge: Judge = {
      ...world,
      checklist: async (...asked) => {
        begin();
        await new Promise((resolve) => setTimeout(resolve, 500));
        return world.checklist(...asked);
      },
    };
    service = await serveRewards({ judge, drainMs: 60_000 });
    const answer = service.post('/v1/rewards', { items: [item(REFERENCE)] });
    await begun;
    await service.close();
    expect(await answer).toMatchObject({ status: 200, body: { items: [{ total: 3 }] } });
  });
});

describe('the other routes', () => {
  it('/healthz and /metrics report the state of the service and null rewards', async () => {
    await score({ items: [{ completion: 'x' }, item('x')] });
    expect(await (await fetch(`${service!.url}/healthz`)).json()).toEqual({ status: 'ok', judge: 'world' });
    const text = await (await fetch(`${service!.url}/metrics`)).text();
    expect(text).toContain('avocado_reward_items_total 2');
    expect(text).toContain('avocado_reward_nulls_total{reward="length",reason="no_token_count"} 1');
    expect(text).toContain('avocado_reward_request_duration_seconds_count 1');
  });

  it('errors have one shape', async () => {
    service = await serveRewards();
    expect(await (await fetch(`${service.url}/v2`)).json()).toMatchObject({ error: { code: 'not_found' } });
    const wrong = await fetch(`${service.url}/v1/rewards`);
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'POST']);
    const form = await fetch(`${service.url}/v1/rewards`, { method: 'POST', body: new FormData() });
    expect(await form.json()).toMatchObject({
      error: { code: 'bad_request', message: expect.stringContaining('application/json') as unknown },
    });
  });
});
