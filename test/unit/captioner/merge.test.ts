import { afterEach, describe, expect, it } from 'vitest';
import { ChatClient, type ChatQuestion, type ChatReply } from '../../../src/chat/chat-client.ts';
import { captionRequest } from '../../../src/captioner/caption-options.ts';
import { captionEvents, type Captioner } from '../../../src/captioner/captioner.ts';
import { timesIn, type TextModel } from '../../../src/captioner/merge.ts';
import { mergingCaptioner } from '../../../src/captioner/merging-captioner.ts';
import { isEnding } from '../../../src/output/ending.ts';
import type { CaptionEvent } from '../../../src/output/events.ts';
import { fakeCaptioner, type FakeOptions } from '../../fixtures/fake-captioner.ts';
import { fakeJudge, type FakeJudge, type FakeReply } from '../../fixtures/fake-judge.ts';

const SEGMENTS = [
  { start: 0, end: 42.5 },
  { start: 42.5, end: 90 },
  { start: 90, end: 123.25 },
];
const TIMELINE =
  '[00:00:00.000 – 00:00:42.500]\nA red ball.\n\n[00:00:42.500 – 00:01:30.000]\nA red ball.\n\n' +
  '[00:01:30.000 – 00:02:03.250]\nA red ball.';
const PARAGRAPHS = [
  { from: 1, to: 2, text: 'A red ball rolls, and rolls on.' },
  { from: 3, to: 3, text: 'Then it stops.' },
];

type Answer = (question: string, index: number) => string | Promise<string>;

/** A text model that answers from a script; questions are kept. */
function scripted(answer: Answer, usage?: ChatReply['usage']): TextModel & { readonly asked: ChatQuestion[] } {
  const asked: ChatQuestion[] = [];
  return {
    asked,
    model: 'text-1',
    chat: async (question) => {
      asked.push(question);
      const text = await answer(question.messages[0]?.content as string, asked.length - 1);
      return { text, model: 'text-1', finishReason: 'stop', usage };
    },
  };
}

/** What asks for subjects and what asks for paragraphs. */
const answers =
  (subjects: string, paragraphs: unknown): Answer =>
  (question) =>
    question.includes('Find those that are the same') ? subjects : JSON.stringify(paragraphs);

async function eventsOf(
  captioner: Captioner,
  options: Readonly<Record<string, unknown>> = { segments: 45 },
  signal?: AbortSignal,
): Promise<CaptionEvent[]> {
  const events: CaptionEvent[] = [];
  for await (const event of captionEvents(captioner, captionRequest('film.mp4', options), signal)) events.push(event);
  expect(events.filter(isEnding)).toHaveLength(1);
  return events;
}

const FILM: FakeOptions = { words: ['A red ', 'ball.'], segments: SEGMENTS };
const merging = (model: TextModel, film: FakeOptions = FILM): Captioner =>
  mergingCaptioner(fakeCaptioner(film), { model, timeoutMs: 60_000 });

describe('the captions of segments', () => {
  it('end as one text with the times of the cuts, after the same events as without', async () => {
    const model = scripted(answers('[{"name": "the ball", "looks": "red", "segments": [1, 2, 3]}]', PARAGRAPHS), {
      promptTokens: 100,
      completionTokens: 10,
    });
    const events = await eventsOf(merging(model));
    const plain = await eventsOf(fakeCaptioner(FILM));
    expect(events.filter(({ type }) => type !== 'stage').slice(0, -1)).toEqual(
      plain.filter(({ type }) => type !== 'stage').slice(0, -1),
    );
    expect(events.filter((event) => event.type === 'stage' && event.stage === 'merge')).toEqual(
      [0, 1, 2].map((done) => ({ type: 'stage', stage: 'merge', done, total: 2 })),
    );
    expect(events.at(-1)).toMatchObject({
      type: 'caption-end',
      caption:
        '[00:00:00.000 – 00:01:30.000]\nA red ball rolls, and rolls on.\n\n[00:01:30.000 – 00:02:03.250]\nThen it stops.',
      segments: SEGMENTS,
      merge: { status: 'merged', model: 'text-1', usage: { promptTokens: 200, completionTokens: 20 } },
      media: { warnings: [] },
      timings: { stages: { merge: expect.any(Number) as number } },
    });
    expect(model.asked[1]?.messages[0]?.content).toContain('- the ball: red (segments 1, 2, 3)');
  });

  it.each([
    ['behind its segments', 'It stops at 02:05.', '02:05'],
    ['before them', 'It stops at 1:29.', '1:29'],
    ['with hours', 'It stops at 01:02:03.', '01:02:03'],
    ['in seconds', 'It stops at 3 seconds.', 'at 3 seconds'],
  ])('are their timeline where the text names a time %s', async (_, text, named) => {
    const model = scripted(answers('[]', [PARAGRAPHS[0], { ...PARAGRAPHS[1], text }]));
    const end = (await eventsOf(merging(model))).at(-1);
    expect(end).toMatchObject({
      type: 'caption-end',
      caption: TIMELINE,
      merge: { status: 'refused', reason: expect.stringContaining(`the time ${named} into a part`) as string },
      media: { warnings: [expect.stringContaining('The caption is the timeline') as string] },
    });
    expect(model.asked).toHaveLength(2);
  });

  it.each(['It stops at 01:30 or 02:03.', 'It stops at 100.5 s.', 'A ratio of 16:9, 4:3 and 1,2:3.'])(
    'keep a time inside: %s',
    async (text) => {
      const model = scripted(answers('[]', [PARAGRAPHS[0], { ...PARAGRAPHS[1], text }]));
      expect((await eventsOf(merging(model))).at(-1)).toMatchObject({ merge: { status: 'merged' } });
    },
  );

  it('keep a time that the captions show themselves, such as that of a clock', async () => {
    const film = { ...FILM, words: ['The clock shows 23:59.'] };
    const text = 'The clock still shows 23:59.';
    const model = scripted(answers('[]', [PARAGRAPHS[0], { ...PARAGRAPHS[1], text }]));
    expect((await eventsOf(merging(model, film))).at(-1)).toMatchObject({ merge: { status: 'merged' } });
  });

  it.each([
    ['no JSON', 'Once upon a time'],
    ['a hole', JSON.stringify([PARAGRAPHS[0]])],
    ['another order', JSON.stringify([PARAGRAPHS[1], PARAGRAPHS[0]])],
    ['a segment twice', JSON.stringify([PARAGRAPHS[0], { from: 2, to: 3, text: 'x' }])],
    ['an unknown segment', JSON.stringify([PARAGRAPHS[0], { from: 3, to: 4, text: 'x' }])],
    ['an empty paragraph', JSON.stringify([PARAGRAPHS[0], { from: 3, to: 3, text: ' ' }])],
    ['nothing', ''],
  ])('are their timeline where no reply can be read: %s', async (_, reply) => {
    const model = scripted((_question, index) => (index === 0 ? '[]' : reply));
    expect((await eventsOf(merging(model))).at(-1)).toMatchObject({
      caption: TIMELINE,
      merge: { status: 'refused', reason: expect.stringContaining('None of 3 replies') as string },
    });
    expect(model.asked.map(({ sampling }) => sampling['temperature'])).toEqual([0, 0, 0.5, 0.8]);
  });

  it('are asked for again where a reply cannot be read, whatever stands around the next one', async () => {
    const replies = ['?', 'Here:\n```json\n[]\n```', 'Sorry.', `Sure!\n${JSON.stringify(PARAGRAPHS)}\nDone.`];
    const model = scripted((_, index) => replies[index] ?? '');
    expect((await eventsOf(merging(model))).at(-1)).toMatchObject({ merge: { status: 'merged' } });
  });

  it('of a long film are asked for in groups, which know what was found before', async () => {
    const segments = Array.from({ length: 30 }, (_, index) => ({ start: index * 60, end: index * 60 + 60 }));
    const model = scripted((question) => {
      const numbers = Array.from(question.matchAll(/^Segment (\d+):$/gm), ([, number]) => Number(number));
      if (question.includes('Find those that are the same')) return `[{"name": "name ${numbers[0]}"}]`;
      return JSON.stringify(numbers.map((number) => ({ from: number, to: number, text: `Part ${number}.` })));
    });
    const end = (await eventsOf(merging(model, { words: ['x '.repeat(1500)], segments }))).at(-1);
    expect(end).toMatchObject({ merge: { status: 'merged' } });
    const caption = end?.type === 'caption-end' ? end.caption : '';
    expect(caption.match(/^Part \d+\.$/gm)).toEqual(segments.map((_, index) => `Part ${index + 1}.`));
    expect(model.asked).toHaveLength(8);
    expect(model.asked[3]?.messages[0]?.content).toContain('Found so far:\n- name 1\n- name 9\n- name 17');
    for (const { messages } of model.asked) expect((messages[0]?.content as string).length).toBeLessThan(34_000);
  });

  it('may leave room for no instruction: they stand between marks of chance', async () => {
    const model = scripted(answers('[]', PARAGRAPHS));
    await eventsOf(merging(model));
    const marks = model.asked.map(({ messages }) => /<<<([\da-f-]{36})\n/.exec(messages[0]?.content as string)?.[1]);
    expect(new Set(marks).size).toBe(2);
    expect(marks).not.toContain(undefined);
  });
});

describe('a caption', () => {
  it('in one piece, of one segment, or for which merging is off, is not merged', async () => {
    const model = scripted(answers('[]', PARAGRAPHS));
    const one = { ...FILM, segments: SEGMENTS.slice(0, 1) };
    for (const [film, options] of [
      [FILM, {}],
      [{ words: ['A ball.'] }, { segments: 'auto' }],
      [FILM, { segments: 45, merge: false }],
      [one, { segments: 45 }],
    ] as const) {
      const end = (await eventsOf(merging(model, film), options)).at(-1);
      expect(end).toMatchObject({ type: 'caption-end' });
      expect(end).not.toHaveProperty('merge');
    }
    expect(model.asked).toHaveLength(0);
  });

  it('is refused when it asks for a text model and there is none', async () => {
    const captioner = fakeCaptioner(FILM);
    const events = await eventsOf(mergingCaptioner(captioner, undefined), { segments: 45, merge: true });
    expect(events).toMatchObject([{ type: 'caption-error', code: 'bad_request', param: 'merge' }]);
    expect(captioner.seen).toHaveLength(0);
    expect(() => captionRequest('film.mp4', { merge: true })).toThrow('merge needs segments');
  });

  it('that fails or is cancelled ends as it would without', async () => {
    const model = scripted(answers('[]', PARAGRAPHS));
    const error = { code: 'media_undecodable', message: () => 'It is broken.' } as const;
    expect((await eventsOf(merging(model, { ...FILM, error }))).at(-1)).toMatchObject({ code: 'media_undecodable' });
    const controller = new AbortController();
    const waiting = scripted(
      () =>
        new Promise((_, reject) => {
          controller.signal.addEventListener('abort', () => {
            reject(controller.signal.reason as Error);
          });
          controller.abort();
        }),
    );
    const events = await eventsOf(merging(waiting), { segments: 45 }, controller.signal);
    expect(events.at(-1)).toEqual({ type: 'caption-aborted' });
  });
});

describe('a text model behind an endpoint', () => {
  let server: FakeJudge | undefined;
  afterEach(async () => {
    await server?.close();
  });
  const serve = async (
    answer: (question: string, index: number) => FakeReply,
    timeoutMs = 60_000,
  ): Promise<Captioner> => {
    server = await fakeJudge(({ text }, index) => answer(text, index));
    const role = { name: 'text model', flag: '--merge-url', timeoutFlag: '--merge-timeout' };
    const options = { baseUrl: server.url, model: 'text-1', apiKey: 'secret', concurrency: 2, timeoutMs, role };
    return mergingCaptioner(fakeCaptioner(FILM), { model: new ChatClient({ ...options, backoffMs: 1 }), timeoutMs });
  };

  it('is asked with its key, again after errors, and named as it calls itself', async () => {
    const replies: FakeReply[] = [{ status: 503, body: 'busy' }, '[]', JSON.stringify(PARAGRAPHS)];
    const captioner = await serve((_, index) => replies[index]);
    expect((await eventsOf(captioner)).at(-1)).toMatchObject({ merge: { status: 'merged', model: 'judge-2026' } });
    expect(server?.asked.map(({ authorization }) => authorization)).toEqual(Array(3).fill('Bearer secret'));
    expect(server?.asked[0]?.body).toMatchObject({ model: 'text-1', temperature: 0 });
  });

  it.each<[string, FakeReply, number, string]>([
    ['refuses', { status: 401, body: 'no such key' }, 60_000, 'The text model answers 401: no such key'],
    ['breaks', { status: 500, body: 'x' }, 60_000, 'The text model answers 500: x'],
    ['is silent', undefined, 50, '--merge-timeout allows more'],
  ])('that %s costs no caption', async (_, reply, timeoutMs, reason) => {
    const captioner = await serve(() => reply, timeoutMs);
    expect((await eventsOf(captioner)).at(-1)).toMatchObject({
      type: 'caption-end',
      caption: TIMELINE,
      merge: { status: 'failed', reason: expect.stringContaining(reason) as string },
      media: { warnings: [expect.stringContaining(reason) as string] },
    });
  });
});

describe('times in a text', () => {
  it('are clock times and seconds that something happens at', () => {
    const text =
      'At 12 s, 0:07, (1:02:03.5) and [00:01:30.000], at about 4.5 seconds; not 4:3, 16:9 or 12 seconds long.';
    expect(timesIn(text).map(({ seconds }) => seconds)).toEqual([7, 3723, 90, 12, 4.5]);
  });
});
