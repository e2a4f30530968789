import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import type { CaptionEvent } from '../../../src/output/events.ts';
import { fakeCaptioner } from '../../fixtures/fake-captioner.ts';
import { fakeSource } from '../../fixtures/fake-source.ts';
import { IDLE, job, runJob, serve, typesOf } from './serving.ts';

const WORDS = ['text-delta', 'text-delta', 'text-delta', 'text-delta', 'text-delta'];
const SLOW = { words: Array.from({ length: 500 }, (_, index) => `word${index} `), wordDelayMs: 5 };
const NEVER = [Infinity];

function last(events: readonly CaptionEvent[]): CaptionEvent {
  return events.at(-1)!;
}

describe('a caption', () => {
  it('is fetched, probed, weighed and captioned, and its file released', async () => {
    const captioner = fakeCaptioner();
    const { service, queued, fetched, cancelled } = serve(captioner);
    const source = fakeSource({ delaysMs: [1, 300, 1] });
    const events = await runJob(service, job({ max_tokens: 99 }, { source, priority: 'batch' }));
    expect(typesOf(events)).toEqual(['fetch', 'fetch', 'probe', 'media', ...WORDS, 'caption-end']);
    expect(events.filter((event) => event.type === 'stage').map(({ done, total }) => [done, total])).toEqual([
      [1, 3],
      [3, 3],
      [0, 1],
    ]);
    expect(captioner.seen[0]!.request).toMatchObject({
      path: source.path,
      contentHash: 'c0ffee',
      maxTokens: 99,
      priority: 'batch',
    });
    expect(last(events)).toMatchObject({
      timings: { stages: { queue: expect.any(Number) as number, fetch: expect.any(Number) as number, probe: 0.05 } },
    });
    const { timings } = last(events) as Extract<CaptionEvent, { type: 'caption-end' }>;
    expect(timings.totalSeconds).toBeGreaterThan(0.3);
    expect(timings.firstTokenSeconds).toBeLessThanOrEqual(timings.totalSeconds);
    expect(timings.stages['fetch']).toBeGreaterThan(0.3);
    expect([source.released > 0, queued, fetched, cancelled]).toEqual([true, ['batch'], ['url'], []]);
    expect(service.stats()).toMatchObject(IDLE);
  });

  it('of a file that lies here already tells nothing of fetching', async () => {
    const { service } = serve(fakeCaptioner());
    const events = await runJob(service, job({}, { source: fakeSource({ kind: 'upload', delaysMs: [1] }) }));
    expect(typesOf(events).slice(0, 2)).toEqual(['probe', 'media']);
  });

  it('names the file as the client does, in errors, warnings and estimates', async () => {
    const source = fakeSource({ displayName: '$&.mov' });
    const failing = serve(
      fakeCaptioner({ error: { code: 'media_undecodable', message: (path) => `${path} cannot be decoded.` } }),
    );
    expect(last(await runJob(failing.service, job({}, { source })))).toEqual({
      type: 'caption-error',
      code: 'media_undecodable',
      message: '$&.mov cannot be decoded.',
    });
    await expect(failing.service.admit('e').estimate(job({}, { source }))).rejects.toMatchObject({
      code: 'media_undecodable',
      message: '$&.mov cannot be decoded.',
    });
    const warning = serve(fakeCaptioner({ warning: (path) => `${path} ends early.` }));
    expect(last(await runJob(warning.service, job({}, { source })))).toMatchObject({
      media: { warnings: ['$&.mov ends early.'] },
    });
  });

  it('names the file as the client does in each of its segments', async () => {
    const captioner = fakeCaptioner({ segments: [{ start: 0, end: 4 }], segmentError: (path) => `${path} is broken.` });
    const task = job({ segments: 5 }, { source: fakeSource({ displayName: '$&.mov' }) });
    const events = await runJob(serve(captioner).service, task);
    const segment = { error: { message: '$&.mov is broken.' }, media: { warnings: ['$&.mov is broken.'] } };
    expect(events.find(({ type }) => type === 'segment-end')).toMatchObject(segment);
    expect(last(events)).toMatchObject({ segments: [segment] });
  });

  it('that does not fit the context ends before a frame is decoded', async () => {
    const captioner = fakeCaptioner({ estimate: { fits: false } });
    const { service, queued } = serve(captioner);
    const source = fakeSource();
    expect(last(await runJob(service, job({}, { source })))).toEqual({
      type: 'caption-error',
      code: 'context_length_exceeded',
      message: `${source.displayName} is too long.`,
    });
    expect([captioner.seen, queued]).toEqual([[], []]);
    expect(service.stats()).toMatchObject(IDLE);
  });

  it('ends in the error of whatever went wrong: download, estimate, captioner', async () => {
    const unreachable = new AvocadoError('media_unreachable', 'Nobody answers.', { param: 'media' });
    const { service, cancelled } = serve(fakeCaptioner({ throws: new Error('out of cheese') }));
    expect(last(await runJob(service, job({}, { source: fakeSource({ fails: unreachable }) })))).toEqual({
      type: 'caption-error',
      code: 'media_unreachable',
      message: 'Nobody answers.',
      param: 'media',
    });
    expect(last(await runJob(service, job()))).toMatchObject({ type: 'caption-error', code: 'internal' });
    expect(cancelled).toEqual([]);
    expect(service.stats()).toMatchObject(IDLE);
  });
});

describe('the queue', () => {
  it('holds requests back until the engine has room, telling them their place', async () => {
    const captioner = fakeCaptioner({ wordDelayMs: 20 });
    const { service } = serve(captioner); // two slots
    const all = await Promise.all(['a', 'b', 'c', 'd'].map((id) => runJob(service, job(), id)));
    expect(all.map((events) => typesOf(events).filter((type) => type === 'queued').length)).toEqual([
      0,
      0,
      1,
      expect.any(Number) as number,
    ]);
    expect(all[3]!.filter((event) => event.type === 'stage' && event.stage === 'queued')[0]).toEqual({
      type: 'stage',
      stage: 'queued',
      done: 0,
      total: 1,
    });
    expect(all.map((events) => last(events).type)).toEqual([
      'caption-end',
      'caption-end',
      'caption-end',
      'caption-end',
    ]);
    const { timings } = last(all[3]!) as Extract<CaptionEvent, { type: 'caption-end' }>;
    expect(timings.stages['queue']).toBeGreaterThan(0.05);
    expect(service.stats()).toMatchObject(IDLE);
  });

  it('prepares ahead as many as it is told', async () => {
    const captioner = fakeCaptioner(SLOW);
    const { service } = serve(captioner, { prepareAhead: 1 });
    const running = ['a', 'b', 'c', 'd'].map((id) => runJob(service, job(), id));
    await vi.waitFor(() => {
      expect(service.stats()).toMatchObject({
        alive: 4,
        waiting: { interactive: 1, batch: 0 },
        byStage: { generate: 3, queued: 1 },
      });
    });
    expect(captioner.seen).toHaveLength(3);
    for (const id of ['a', 'b', 'c', 'd']) service.cancel(id);
    await Promise.all(running);
  });

  it('refuses with the seconds after which it makes sense to ask again', async () => {
    const captioner = fakeCaptioner(SLOW);
    const { service, rejected } = serve(captioner, { maxRequests: 1 });
    const running = runJob(service, job(), 'a');
    expect(() => service.admit('b')).toThrow(
      expect.objectContaining({ code: 'queue_full', retryAfterSeconds: expect.any(Number) as number }) as Error,
    );
    service.cancel('a');
    await running;
    expect(rejected).toEqual(['queue_count']);
  });

  const LONG_PROMPT = { text: 1e7, video: 0, audio: 0, image: 0, total: 1e7 };

  it('refuses what turns out to be too much beside the others, when it is weighed', async () => {
    const captioner = fakeCaptioner((request) =>
      request.maxTokens === 1 ? { estimate: { promptTokens: LONG_PROMPT } } : SLOW,
    );
    const { service, rejected } = serve(captioner);
    const running = runJob(service, job(), 'a');
    await vi.waitFor(() => {
      expect(captioner.seen).toHaveLength(1);
    });
    const events = await runJob(service, job({ max_tokens: 1 }), 'b');
    expect(last(events)).toMatchObject({
      type: 'caption-error',
      code: 'queue_full',
      retryAfterSeconds: expect.any(Number) as number,
    });
    service.cancel('a');
    await running;
    expect(last(await runJob(service, job({ max_tokens: 1 }), 'c'))).toMatchObject({ type: 'caption-end' }); // alone
    expect(rejected).toEqual(['queue_work']);
  });

  it('has less to do as captions go forward', async () => {
    const captioner = fakeCaptioner({ ...SLOW, estimate: { durationSeconds: 100 } });
    const { service } = serve(captioner);
    const seconds: number[] = [];
    await runJob(service, job(), 'a', (_event, admitted) => {
      seconds.push(service.stats().queueWorkSeconds);
      if (seconds.length === 60) admitted.abort();
    });
    const [atFirst, , afterMedia] = seconds;
    expect(afterMedia).toBeLessThan(atFirst!);
    expect(seconds[58]).toBeLessThan(seconds[20]!);
    expect(service.stats()).toMatchObject(IDLE);
  });
});

describe('a request that is given up', () => {
  it.each([
    ['fetch', job({}, { source: fakeSource({ delaysMs: NEVER }) })],
    ['generate', job()],
  ] as const)('in %s by its client ends as aborted, counted once', async (stage, of) => {
    const captioner = fakeCaptioner(SLOW);
    const { service, cancelled } = serve(captioner);
    const events = await runJob(service, of, 'a', (event, admitted) => {
      if (event.type === (stage === 'fetch' ? 'stage' : 'text-delta'))
        setTimeout(() => {
          admitted.abort();
        }, 5);
    });
    expect(last(events)).toEqual({ type: 'caption-aborted' });
    expect(events.filter(({ type }) => type.startsWith('caption-'))).toHaveLength(1);
    expect(cancelled).toEqual([stage]);
    expect(service.stats()).toMatchObject(IDLE);
  });

  it('while it waits for its turn or for the engine leaves its place', async () => {
    const captioner = fakeCaptioner(SLOW);
    const { service, cancelled } = serve(captioner);
    const running = ['a', 'b', 'c'].map((id) => runJob(service, job(), id));
    await vi.waitFor(() => {
      expect(service.stats().byStage).toEqual({ generate: 2, queued: 1 });
    });
    expect(service.cancel('c')).toBe(true);
    expect(last(await running[2]!)).toEqual({ type: 'caption-aborted' });
    expect(service.stats()).toMatchObject({ alive: 2, waiting: IDLE.waiting });
    const restarting = serve({ ...captioner, submit: () => new Promise(() => undefined) });
    const waiting = runJob(restarting.service, job(), 'd');
    await vi.waitFor(() => {
      expect(restarting.service.stats().byStage).toEqual({ probe: 1 });
    });
    restarting.service.cancel('d');
    expect(last(await waiting)).toEqual({ type: 'caption-aborted' });
    for (const id of ['a', 'b']) service.cancel(id);
    await Promise.all(running);
    expect([cancelled, restarting.cancelled]).toEqual([['queued', 'generate', 'generate'], ['probe']]);
  });

  it('while its body comes is counted there, a bad one is not', () => {
    const { service, cancelled } = serve(fakeCaptioner());
    const [left, bad] = [service.admit('a'), service.admit('b')];
    left.abort();
    left.end();
    left.end();
    bad.end();
    expect(cancelled).toEqual(['receive']);
    expect(service.stats()).toMatchObject(IDLE);
    expect(service.cancel('a')).toBe(false);
  });

  it.each([
    ['fetching', job({}, { source: fakeSource({ delaysMs: NEVER }), timeoutSeconds: 0.05 }), 'fetch'],
    ['writing its caption', job({}, { timeoutSeconds: 1 }), 'generate'],
  ] as const)('by its deadline while %s ends as deadline_exceeded', async (doing, of, stage) => {
    const { service, cancelled } = serve(fakeCaptioner(SLOW));
    const events = await runJob(service, of);
    expect(last(events)).toMatchObject({
      type: 'caption-error',
      code: 'deadline_exceeded',
      message: expect.stringContaining(doing) as string,
    });
    expect(cancelled).toEqual([stage]);
    expect(service.stats()).toMatchObject(IDLE);
  });

  it('has its file released even if nobody ever looks at its events, or stops looking', async () => {
    const captioner = fakeCaptioner(SLOW);
    const { service, cancelled } = serve(captioner);
    const [unread, dropped] = [fakeSource(), fakeSource()];
    const admitted = service.admit('a');
    admitted.run(job({}, { source: unread }));
    admitted.end();
    const second = service.admit('b');
    for await (const event of second.run(job({}, { source: dropped }))) if (event.type === 'text-delta') break;
    second.end();
    expect([unread.released, dropped.released].every((times) => times > 0)).toBe(true);
    expect(cancelled).toEqual(['fetch', 'generate']);
    await sleep(20);
    expect(captioner.endings).not.toContain('caption-end'); // aborted, not run to its end
    expect(service.stats()).toMatchObject(IDLE);
  });

  it('cannot be: its answer is there already', async () => {
    const { service, cancelled } = serve(fakeCaptioner());
    const events = await runJob(service, job(), 'a', (event, admitted) => {
      if (event.type === 'caption-end') admitted.abort();
    });
    expect([last(events).type, cancelled]).toEqual(['caption-end', []]);
  });
});

describe('a stop', () => {
  it('lets in nobody, waits for those inside, and gives them up after a while', async () => {
    const { service, rejected, cancelled } = serve(fakeCaptioner(SLOW));
    let reason: unknown;
    let begin: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const running = runJob(service, job(), 'a', ({ type }, { signal }) => {
      if (type === 'text-delta') begin();
      // One listener, however many events there are.
      signal.onabort = () => {
        reason = signal.reason;
      };
    });
    await begun;
    const stopped = service.stop(50);
    expect(service.stats()).toMatchObject({ stopping: true, alive: 1 });
    expect(() => service.admit('b')).toThrow(expect.objectContaining({ code: 'engine_unavailable' }) as Error);
    await stopped;
    expect(last(await running)).toEqual({ type: 'caption-aborted' });
    expect([rejected, cancelled, reason]).toEqual([
      ['stopping'],
      ['generate'],
      expect.objectContaining({ code: 'engine_unavailable' }),
    ]);
    await service.stop(1000); // nobody is left
  });

  it('is not needed to refuse when the engine will not come back', () => {
    const captioner = fakeCaptioner();
    captioner.state = { ...captioner.state, state: 'stopped', text: 'It died too often.' };
    expect(() => serve(captioner).service.admit('a')).toThrow(
      expect.objectContaining({ code: 'engine_unavailable' }) as Error,
    );
  });
});

describe('an estimate', () => {
  it('tells what a caption would take, and how long it would wait, and costs no turn', async () => {
    const captioner = fakeCaptioner(SLOW);
    const { service } = serve(captioner);
    const source = fakeSource();
    const free = service.admit('free');
    const idle = await free.estimate(job({}, { source }));
    free.end();
    expect(idle).toMatchObject({ fits: true, promptTokens: { total: 150 }, queueSeconds: 0 });
    expect(idle.workSeconds).toBeGreaterThan(0);
    const running = ['a', 'b'].map((id) => runJob(service, job(), id));
    await vi.waitFor(() => {
      expect(captioner.seen).toHaveLength(2);
    });
    const busy = service.admit('busy');
    expect((await busy.estimate(job({}, { source }))).queueSeconds).toBeGreaterThan(0);
    busy.end();
    expect(source.released).toBeGreaterThanOrEqual(2);
    for (const id of ['a', 'b']) service.cancel(id);
    await Promise.all(running);
    expect(service.stats()).toMatchObject(IDLE);
  });

  it('ends with its client and its deadline too', async () => {
    const { service, cancelled } = serve({ ...fakeCaptioner(), estimate: () => new Promise(() => undefined) });
    const late = service.admit('late');
    await expect(late.estimate(job({}, { timeoutSeconds: 0.02 }))).rejects.toMatchObject({ code: 'deadline_exceeded' });
    const left = service.admit('left');
    const asked = left.estimate(job());
    left.abort();
    await expect(asked).rejects.toMatchObject({ code: 'aborted' });
    for (const admitted of [late, left]) admitted.end();
    expect(cancelled).toEqual(['probe', expect.stringMatching(/fetch|probe/)]);
  });
});

describe('an engine that hangs', () => {
  it('does not hold up a request that was aborted before it started', async () => {
    const { service } = serve({ ...fakeCaptioner(), submit: () => new Promise(() => undefined) });
    const running = runJob(service, job({}, { timeoutSeconds: 0.02 }));
    expect(last(await running)).toMatchObject({ type: 'caption-error', code: 'deadline_exceeded' });
    expect(service.stats()).toMatchObject(IDLE);
  });

  it('holds up a running one for no longer than its grace period', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const captioner = fakeCaptioner();
      const submit: typeof captioner.submit = async (_request, { admit }) => {
        await admit?.(await captioner.estimate(job().request as never));
        await new Promise(() => undefined);
      };
      const { service } = serve({ ...captioner, submit });
      const running = runJob(service, job({}, { source: fakeSource({ kind: 'upload', delaysMs: [] }) }), 'a');
      await vi.waitFor(() => {
        expect(service.stats().byStage).toEqual({ queued: 1 });
      });
      service.cancel('a');
      await vi.advanceTimersByTimeAsync(400);
      expect(service.stats().alive).toBe(1);
      await vi.advanceTimersByTimeAsync(200);
      expect(last(await running)).toEqual({ type: 'caption-aborted' });
    } finally {
      vi.useRealTimers();
    }
  });
});
