import { describe, expect, it, vi } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { type Estimate } from '../../../src/captioner/captioner.ts';
import type { EngineProcess } from '../../../src/engine-process/open-engine-process.ts';
import type { CaptionEvent } from '../../../src/output/events.ts';
import { delta, endOf } from './fake-engine.ts';
import {
  collect,
  type Collected,
  engines,
  ESTIMATE,
  openReady,
  REQUEST,
  settle,
  types,
  useFakeEngines,
} from './opened-engine.ts';

useFakeEngines();

describe('a crash', () => {
  it('ends what runs with engine_unavailable; what comes meanwhile waits for the next process', async () => {
    const faults: string[] = [];
    const engine = await openReady({ onFault: (sentence) => faults.push(sentence) });
    const running = collect(engine);
    await settle();
    engines[0]!.say({ type: 'events', batches: [{ id: engines[0]!.captions()[0]!, events: [delta('A')] }] });
    engines[0]!.beat();
    engines[0]!.die('was ended by SIGKILL');
    await running.done;
    expect(running.events).toEqual([
      delta('A'),
      {
        type: 'caption-error',
        code: 'engine_unavailable',
        message: 'The engine process was ended by SIGKILL. Send the request again.',
      },
    ]);
    expect(engine.status()).toMatchObject({
      state: 'restarting',
      restarts: 1,
      pid: undefined,
      text: 'The engine process was ended by SIGKILL. It is started again in 0.2 s.',
    });
    expect(faults).toEqual([engine.status().text]);
    expect(engine.stats()).toMatchObject({ running: 0, waiting: 0, freeSlots: 0, busy: false });

    const queued = collect(engine);
    await vi.advanceTimersByTimeAsync(200);
    expect(engine.status()).toMatchObject({ state: 'restarting', pid: 1001 });
    engines[1]!.start();
    await settle();
    expect(engine.status()).toMatchObject({ state: 'ready', restarts: 1 });
    engines[1]!.say({ type: 'events', batches: [{ id: engines[1]!.captions()[0]!, events: [endOf('A')] }] });
    await queued.done;
    expect(types(queued)).toEqual(['caption-end']);
  });

  it('where there is no room for another process is answered with a later try', async () => {
    let isFull = false;
    const engine = await openReady({}, (start) => {
      if (isFull) throw new Error('spawn ENOMEM');
      return start();
    });
    isFull = true;
    engines[0]!.die('was ended by SIGKILL');
    await vi.advanceTimersByTimeAsync(200);
    expect(engine.status()).toMatchObject({
      state: 'restarting',
      pid: undefined,
      text: 'The engine process could not be started (spawn ENOMEM). It is started again in 0.4 s.',
    });
    isFull = false;
    await vi.advanceTimersByTimeAsync(400);
    engines[1]!.start();
    expect(engine.status()).toMatchObject({ state: 'ready', restarts: 2 });
  });

  it('is answered with ever longer pauses, also when restarts are refused, until one is healthy for a minute', async () => {
    const engine = await openReady();
    engines[0]!.die('was ended by SIGKILL');
    await vi.advanceTimersByTimeAsync(199);
    expect(engines).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(engines).toHaveLength(2);
    engines[1]!.say({ type: 'failed', error: { code: 'checkpoint_invalid', message: 'config.json is not JSON.' } });
    engines[1]!.die('ended with exit code 1');
    await settle();
    expect(engine.status()).toMatchObject({
      state: 'restarting',
      text: 'The engine process cannot start: config.json is not JSON. It is started again in 0.4 s.',
    });
    await vi.advanceTimersByTimeAsync(400);
    expect(engines).toHaveLength(3);
    engines[2]!.start();
    for (let second = 0; second < 61; second++) {
      engines[2]!.beat({ busy: false });
      await vi.advanceTimersByTimeAsync(1000);
    }
    engines[2]!.die('was ended by SIGKILL');
    await settle();
    expect(engine.status()).toMatchObject({ restarts: 3, text: expect.stringContaining('in 0.2 s') as string });
  });

  it('leaves nobody with two endings or none, however often it happens', async () => {
    const engine = await openReady({ restart: { firstMs: 1, mostMs: 1, healthyMs: 1 } });
    const all: Collected[] = [];
    for (let life = 0; life < 20; life++) {
      all.push(collect(engine), collect(engine), collect(engine));
      await settle();
      const [first] = engines[life]!.captions();
      engines[life]!.say({ type: 'events', batches: [{ id: first!, events: [delta('A'), endOf('A')] }] });
      engines[life]!.die('was ended by SIGKILL');
      engines[life]!.say({
        type: 'events',
        batches: engines[life]!.captions().map((id) => ({ id, events: [endOf('too late')] })),
      });
      await vi.advanceTimersByTimeAsync(1);
      all.push(collect(engine));
      engines[life + 1]!.start();
    }
    await settle();
    engines[20]!.die('was ended by SIGKILL');
    await Promise.all(all.map(({ done }) => done));
    const endings = all.map(({ events }) => events.filter(({ type }) => type.startsWith('caption-')).length);
    expect(endings).toEqual(all.map(() => 1));
  });
});

describe('a hang', () => {
  it('of the whole process is seen by its silence; it is killed and replaced', async () => {
    const engine = await openReady({ heartbeatTimeoutMs: 3000 });
    engines[0]!.beat();
    const running = collect(engine);
    await vi.advanceTimersByTimeAsync(4000);
    await running.done;
    expect(engines[0]!.killed).toBe(true);
    expect(running.events).toEqual([
      {
        type: 'caption-error',
        code: 'engine_unavailable',
        message: expect.stringMatching(/gave no sign of life for 3\.\d s, and was killed/) as string,
      },
    ]);
    expect(engines).toHaveLength(2);
    expect(engine.status()).toMatchObject({ state: 'restarting', restarts: 1 });
  });

  it('of a run is seen by work without progress', async () => {
    const engine = await openReady({ stallMs: 8000 });
    for (let second = 0; second < 12 && !engines[0]!.killed; second++) {
      engines[0]!.beat({ busy: true, progress: 3 });
      await vi.advanceTimersByTimeAsync(1000);
    }
    expect(engines[0]!.killed).toBe(true);
    expect(engine.status().restarts).toBe(1);
  });

  it('ends the requests even if the killed process does not go', async () => {
    const engine = await openReady({ heartbeatTimeoutMs: 3000 });
    engines[0]!.kill = () => undefined;
    engines[0]!.beat();
    const running = collect(engine);
    await vi.advanceTimersByTimeAsync(4000);
    await running.done;
    expect(types(running)).toEqual(['caption-error']);
    expect(engine.status()).toMatchObject({ state: 'restarting', pid: 1000 });
    expect(engines).toHaveLength(1);
    engines[0]!.die('was ended by SIGKILL');
  });
});

describe('a device that failed', () => {
  it('ends its requests as those of a crash, and its process is killed and replaced', async () => {
    const engine = await openReady();
    const running = collect(engine);
    engines[0]!.say({ type: 'broken', why: 'The run failed: CUDA failure 700.' });
    await running.done;
    expect(engines[0]!.killed).toBe(true);
    expect(running.events).toEqual([
      {
        type: 'caption-error',
        code: 'engine_unavailable',
        message:
          'The engine process was killed, as its device failed. The run failed: CUDA failure 700. Send the request again.',
      },
    ]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(engines).toHaveLength(2);
    expect(engine.status()).toMatchObject({ state: 'restarting', restarts: 1 });
  });
});

describe('a caption that waits to be admitted', () => {
  interface Gate {
    readonly admit: (estimate: Estimate) => Promise<void>;
    readonly open: () => void;
    readonly refuse: (error: Error) => void;
    asked: number;
  }

  function gate(): Gate {
    let open: () => void = () => undefined;
    let refuse: (error: Error) => void = () => undefined;
    const made: Gate = {
      asked: 0,
      admit: () => {
        made.asked += 1;
        return new Promise<void>((resolve, reject) => {
          open = resolve;
          refuse = reject;
        });
      },
      open: () => {
        open();
      },
      refuse: (error) => {
        refuse(error);
      },
    };
    return made;
  }

  function submit(engine: EngineProcess, admit: Gate['admit']): CaptionEvent[] {
    const events: CaptionEvent[] = [];
    const { signal } = new AbortController();
    void engine.submit(REQUEST, { signal, admit, onEvent: (event) => events.push(event) });
    return events;
  }

  it('is planned at once, and started when it is admitted', async () => {
    const engine = await openReady();
    const waiting = gate();
    const events = submit(engine, waiting.admit);
    await settle();
    expect(engines[0]!.heard.at(-1)).toMatchObject({ type: 'caption', id: 0, gated: true });
    engines[0]!.say({ type: 'estimated', id: 0, estimate: ESTIMATE });
    await settle();
    expect([waiting.asked, engines[0]!.heard.some(({ type }) => type === 'start')]).toEqual([1, false]);
    waiting.open();
    await settle();
    expect(engines[0]!.heard.at(-1)).toEqual({ type: 'start', id: 0 });
    engines[0]!.say({ type: 'events', batches: [{ id: 0, events: [endOf('A')] }] });
    expect(events.map(({ type }) => type)).toEqual(['caption-end']);
  });

  it('ends in the error it is refused with, and is aborted in the engine', async () => {
    const engine = await openReady();
    const waiting = gate();
    const events = submit(engine, waiting.admit);
    await settle();
    engines[0]!.say({ type: 'estimated', id: 0, estimate: ESTIMATE });
    await settle();
    waiting.refuse(new AvocadoError('queue_full', 'Full.', { retryAfterSeconds: 3 }));
    await settle();
    expect(events).toEqual([{ type: 'caption-error', code: 'queue_full', message: 'Full.', retryAfterSeconds: 3 }]);
    expect(engines[0]!.heard.at(-1)).toEqual({ type: 'abort', id: 0 });
  });

  it('survives a crash: the next process plans it again, and it is admitted once', async () => {
    const engine = await openReady();
    const waiting = gate();
    const events = submit(engine, waiting.admit);
    await settle();
    engines[0]!.say({ type: 'estimated', id: 0, estimate: ESTIMATE });
    await settle();
    engines[0]!.die('was ended by SIGSEGV');
    await vi.advanceTimersByTimeAsync(1000);
    engines[1]!.start();
    await settle();
    expect(engines[1]!.captions()).toEqual([0]);
    engines[1]!.say({ type: 'estimated', id: 0, estimate: ESTIMATE });
    await settle();
    expect([waiting.asked, events]).toEqual([1, []]);
    waiting.open();
    await settle();
    expect(engines[1]!.heard.at(-1)).toEqual({ type: 'start', id: 0 });
  });

  it('ends with the engine once it has started', async () => {
    const engine = await openReady();
    const waiting = gate();
    const events = submit(engine, waiting.admit);
    await settle();
    engines[0]!.say({ type: 'estimated', id: 0, estimate: ESTIMATE });
    waiting.open();
    await settle();
    engines[0]!.die('was ended by SIGSEGV');
    await settle();
    expect(events).toMatchObject([{ type: 'caption-error', code: 'engine_unavailable' }]);
  });
});
