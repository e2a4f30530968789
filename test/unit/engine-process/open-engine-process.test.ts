import { describe, expect, it, vi } from 'vitest';
import { captionEvents } from '../../../src/captioner/captioner.ts';
import { openEngineProcess } from '../../../src/engine-process/open-engine-process.ts';
import { delta, endOf, MODEL } from './fake-engine.ts';
import {
  ESTIMATE,
  OPTIONS,
  REQUEST,
  collect,
  engines,
  fork,
  open,
  openReady,
  settle,
  types,
  useFakeEngines,
} from './opened-engine.ts';

useFakeEngines();

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
    expect(engine.status()).toEqual({
      ...{ state: 'ready', text: '', done: 1, total: 1, restarts: 0, pid: 1000 },
      engines: [{ device: 'cpu', state: 'ready', restarts: 0, pid: 1000 }],
    });
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

  it('kills an engine that does not end within five seconds', async () => {
    const engine = await openReady({ heartbeatTimeoutMs: 60_000 });
    const closing = engine.close();
    await vi.advanceTimersByTimeAsync(4000);
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
