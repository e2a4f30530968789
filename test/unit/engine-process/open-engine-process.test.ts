import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { captionRequest } from '../../../src/captioner/caption-options.ts';
import { captionEvents, type Estimate } from '../../../src/captioner/captioner.ts';
import {
  openEngineProcess,
  type EngineProcess,
  type EngineProcessOptions,
} from '../../../src/engine-process/open-engine-process.ts';
import type { CaptionEvent } from '../../../src/output/events.ts';
import { engineSettings } from '../../../src/settings/engine-settings.ts';
import { delta, endOf, fakeFork, MODEL, type FakeEngine } from './fake-engine.ts';

const OPTIONS: EngineProcessOptions = { settings: engineSettings({ modelDir: '/models/fake', slots: 2 }) };
const REQUEST = captionRequest('/clips/a.mp4', {});
const ESTIMATE = { kind: 'video', promptTokens: { total: 10 } } as unknown as Estimate;

let fork: () => FakeEngine;
let engines: FakeEngine[];
let opened: EngineProcess | undefined;

beforeEach(() => {
  vi.useFakeTimers();
  ({ fork, engines } = fakeFork());
});
afterEach(async () => {
  const closing = opened?.close();
  opened = undefined;
  await vi.advanceTimersByTimeAsync(20_000);
  await closing;
  vi.useRealTimers();
});

/** Lets promises settle. */
async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

async function open(options: Partial<EngineProcessOptions> = {}): Promise<EngineProcess> {
  const opening = openEngineProcess({ ...OPTIONS, ...options }, fork);
  engines[0]!.say({ type: 'described', model: MODEL });
  opened = await opening;
  return opened;
}

async function openReady(options: Partial<EngineProcessOptions> = {}): Promise<EngineProcess> {
  const engine = await open(options);
  engines[0]!.start();
  return engine;
}

interface Collected {
  readonly events: CaptionEvent[];
  readonly done: Promise<void>;
  ended: boolean;
}

/** Reads a caption to its end. */
function collect(engine: EngineProcess, signal?: AbortSignal): Collected {
  const events: CaptionEvent[] = [];
  const read = async (): Promise<void> => {
    for await (const event of captionEvents(engine, REQUEST, signal)) events.push(event);
  };
  const done = read().then(() => {
    collected.ended = true;
  });
  const collected: Collected = { events, done, ended: false };
  return collected;
}

function types({ events }: Collected): string[] {
  return events.map(({ type }) => type);
}

describe('starting', () => {
  it('resolves when the model is known, and tells how it goes until it is ready', async () => {
    const shown: unknown[] = [];
    const engine = await open({ onProgress: (...told) => shown.push(told) });
    expect(engines[0]!.heard[0]).toMatchObject({ type: 'open', settings: { modelDir: '/models/fake', slots: 2 } });
    expect(engine.model).toEqual(MODEL);
    expect(engine.status()).toMatchObject({ state: 'loading', restarts: 0, pid: 1000 });
    engines[0]!.say({ type: 'progress', text: 'Loading decoder', done: 2, total: 3 });
    expect(engine.status()).toMatchObject({ state: 'loading', text: 'Loading decoder', done: 2, total: 3 });
    const ready = engine.ready();
    engines[0]!.start();
    await ready;
    expect(engine.status()).toEqual({ state: 'ready', text: '', done: 1, total: 1, restarts: 0, pid: 1000 });
    expect(engine.model.runtime).toBe('fake 1');
    expect(shown).toEqual([['Loading decoder', 2, 3]]);
  });

  it("fails with the engine's own error when it names one before the model is known", async () => {
    const opening = openEngineProcess(OPTIONS, fork);
    engines[0]!.say({
      type: 'failed',
      error: { code: 'checkpoint_not_found', message: 'No checkpoint at /models/fake.' },
    });
    engines[0]!.die('ended with exit code 1');
    await expect(opening).rejects.toMatchObject({
      code: 'checkpoint_not_found',
      message: 'No checkpoint at /models/fake.',
    });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(engines).toHaveLength(1);
  });

  it('is not tried again when the device is refused: ready() tells why, captions end at once', async () => {
    const engine = await open();
    const ready = engine.ready();
    const waiting = collect(engine);
    await settle();
    engines[0]!.say({ type: 'failed', error: { code: 'device_unavailable', message: 'CUDA cannot be used.' } });
    engines[0]!.die('ended with exit code 1');
    await expect(ready).rejects.toMatchObject({ code: 'device_unavailable' });
    await waiting.done;
    expect(waiting.events).toEqual([
      {
        type: 'caption-error',
        code: 'engine_unavailable',
        message: 'The engine could not be started: CUDA cannot be used.',
      },
    ]);
    expect(engine.status()).toMatchObject({ state: 'stopped', text: 'CUDA cannot be used.', pid: undefined });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(engines).toHaveLength(1);
  });

  it('is given up after three crashes, with advice', async () => {
    const opening = openEngineProcess(OPTIONS, fork);
    const failure = expect(opening).rejects.toMatchObject({
      code: 'engine_unavailable',
      message: expect.stringMatching(/was ended by SIGKILL\. It has been tried 3 times\. .*memory/) as string,
    });
    for (let life = 0; life < 3; life++) {
      engines[life]!.die('was ended by SIGKILL');
      await vi.advanceTimersByTimeAsync(1000);
    }
    await failure;
    expect(engines).toHaveLength(3);
  });

  it('goes on after one crash, and those who wait do not notice', async () => {
    const engine = await open();
    const waiting = collect(engine);
    engines[0]!.die('was ended by SIGSEGV');
    await vi.advanceTimersByTimeAsync(200);
    engines[1]!.start();
    await settle();
    engines[1]!.say({ type: 'events', batches: [{ id: engines[1]!.captions()[0]!, events: [endOf('A')] }] });
    await waiting.done;
    expect(types(waiting)).toEqual(['caption-end']);
  });
});

describe('captions', () => {
  it("carry the engine's events in order, each to its own reader", async () => {
    const engine = await openReady();
    const [first, second] = [collect(engine), collect(engine)];
    await settle();
    const [one, two] = engines[0]!.captions();
    engines[0]!.say({
      type: 'events',
      batches: [
        { id: two!, events: [delta('B')] },
        { id: one!, events: [delta('A'), delta('a')] },
      ],
    });
    engines[0]!.say({
      type: 'events',
      batches: [
        { id: one!, events: [endOf('Aa')] },
        { id: two!, events: [endOf('B')] },
      ],
    });
    await Promise.all([first.done, second.done]);
    expect(first.events).toEqual([delta('A'), delta('a'), endOf('Aa')]);
    expect(second.events).toEqual([delta('B'), endOf('B')]);
  });

  it("that are aborted wait for the engine's word, and say nothing but that", async () => {
    const engine = await openReady();
    const controller = new AbortController();
    const caption = collect(engine, controller.signal);
    await settle();
    const [id] = engines[0]!.captions();
    engines[0]!.say({ type: 'events', batches: [{ id: id!, events: [delta('A')] }] });
    await settle();
    controller.abort();
    expect(engines[0]!.heard.at(-1)).toEqual({ type: 'abort', id });
    engines[0]!.say({ type: 'events', batches: [{ id: id!, events: [delta('late')] }] });
    await settle();
    expect(caption.ended).toBe(false);
    engines[0]!.say({ type: 'events', batches: [{ id: id!, events: [endOf('A late')] }] });
    await caption.done;
    expect(caption.events).toEqual([delta('A'), { type: 'caption-aborted' }]);
  });

  it('that have ended before an abort keep their ending', async () => {
    const engine = await openReady();
    const controller = new AbortController();
    const caption = collect(engine, controller.signal);
    await settle();
    engines[0]!.say({
      type: 'events',
      batches: [{ id: engines[0]!.captions()[0]!, events: [delta('A'), endOf('A')] }],
    });
    controller.abort();
    await caption.done;
    expect(types(caption)).toEqual(['text-delta', 'caption-end']);
    expect(engines[0]!.heard.some(({ type }) => type === 'abort')).toBe(false);
  });

  it('that nobody reads on are aborted', async () => {
    const engine = await openReady();
    const reading = (async () => {
      for await (const event of captionEvents(engine, REQUEST)) if (event.type === 'text-delta') break;
    })();
    await settle();
    const [id] = engines[0]!.captions();
    engines[0]!.say({ type: 'events', batches: [{ id: id!, events: [delta('A'), delta('b')] }] });
    await reading;
    expect(engines[0]!.heard.at(-1)).toEqual({ type: 'abort', id });
  });

  it('that are aborted while they wait for a start never reach the engine', async () => {
    const engine = await open();
    const controller = new AbortController();
    const caption = collect(engine, controller.signal);
    await settle();
    controller.abort();
    await caption.done;
    expect(types(caption)).toEqual(['caption-aborted']);
    engines[0]!.start();
    await settle();
    expect(engines[0]!.captions()).toEqual([]);
    const late = collect(engine, controller.signal);
    await late.done;
    expect(types(late)).toEqual(['caption-aborted']);
  });
});

describe('estimates', () => {
  it('come back, or throw what the engine threw', async () => {
    const engine = await openReady();
    const [good, bad] = [engine.estimate(REQUEST), engine.estimate(REQUEST)];
    const refused = expect(bad).rejects.toMatchObject({
      code: 'media_empty',
      message: 'The file is empty.',
      param: 'file',
    });
    await settle();
    const [one, two] = engines[0]!.heard.flatMap((message) => (message.type === 'estimate' ? [message.id] : []));
    engines[0]!.say(
      {
        type: 'estimate-failed',
        id: two!,
        error: { code: 'media_empty', message: 'The file is empty.', param: 'file' },
      },
      { type: 'estimated', id: one!, estimate: ESTIMATE },
    );
    expect(await good).toEqual(ESTIMATE);
    await refused;
  });

  it('can be aborted, and end with the engine', async () => {
    const engine = await openReady();
    const controller = new AbortController();
    const aborted = expect(engine.estimate(REQUEST, controller.signal)).rejects.toMatchObject({ code: 'aborted' });
    const left = expect(engine.estimate(REQUEST)).rejects.toMatchObject({ code: 'engine_unavailable' });
    await settle();
    controller.abort();
    await aborted;
    expect(engines[0]!.heard.at(-1)).toMatchObject({ type: 'abort' });
    engines[0]!.die('was ended by SIGKILL');
    await left;
    await expect(engine.estimate(REQUEST, controller.signal)).rejects.toMatchObject({ code: 'aborted' });
  });
});

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

describe('closing', () => {
  it('asks the engine to end, waits for it, and refuses what comes after', async () => {
    const engine = await openReady();
    const running = collect(engine);
    await settle();
    const closing = engine.close();
    expect(engines[0]!.heard.at(-1)).toEqual({ type: 'close' });
    expect(engine.status()).toMatchObject({ state: 'stopped' });
    engines[0]!.say({ type: 'events', batches: [{ id: engines[0]!.captions()[0]!, events: [endOf('A')] }] });
    await running.done;
    expect(types(running)).toEqual(['caption-end']);
    engines[0]!.die('ended with exit code 0');
    await closing;
    const late = collect(engine);
    await late.done;
    expect(late.events).toEqual([
      { type: 'caption-error', code: 'engine_unavailable', message: expect.stringContaining('stopped') as string },
    ]);
    await expect(engine.ready()).rejects.toMatchObject({ code: 'engine_unavailable' });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(engines).toHaveLength(1);
  });

  it('kills an engine that does not end within ten seconds', async () => {
    const engine = await openReady({ heartbeatTimeoutMs: 60_000 });
    const closing = engine.close();
    await vi.advanceTimersByTimeAsync(9000);
    expect(engines[0]!.killed).toBe(false);
    await vi.advanceTimersByTimeAsync(2000);
    await closing;
    expect(engines[0]!.killed).toBe(true);
  });

  it('during the pause before a restart starts nothing', async () => {
    const engine = await openReady();
    engines[0]!.die('was ended by SIGKILL');
    const waiting = collect(engine);
    await settle();
    await engine.close();
    await waiting.done;
    expect(types(waiting)).toEqual(['caption-error']);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(engines).toHaveLength(1);
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
