// Several engines, one on each device.
import { writeFile } from 'node:fs/promises';
import { describe, expect, it, vi } from 'vitest';
import { captionRequest } from '../../../src/captioner/caption-options.ts';
import type { Estimate } from '../../../src/captioner/captioner.ts';
import { openEngineProcess, type EngineProcess } from '../../../src/engine-process/open-engine-process.ts';
import { engineSettings } from '../../../src/settings/engine-settings.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';
import { endOf, MODEL } from './fake-engine.ts';
import {
  collect,
  engines,
  ESTIMATE,
  fork,
  open,
  openReady,
  REQUEST,
  settle,
  types,
  useFakeEngines,
} from './opened-engine.ts';

useFakeEngines();

const scratch = scratchDirectory();
const CARDS = [
  { type: 'cuda', index: 0 },
  { type: 'cuda', index: 1 },
] as const;
const TWO = { settings: engineSettings({ modelDir: '/models/fake', slots: 2, device: CARDS }) };

/** How many captions each engine has been asked for. */
function asked(): number[] {
  return engines.map((engine) => engine.captions().length);
}

function endAll(index: number): void {
  const engine = engines[index]!;
  for (const id of engine.captions()) engine.say({ type: 'events', batches: [{ id, events: [endOf(`of ${index}`)] }] });
}

/** A caption that waits for its admission. */
function gated(engine: EngineProcess): { readonly admit: () => void; readonly events: string[]; done: Promise<void> } {
  let admit: () => void = () => undefined;
  const admission = new Promise<void>((resolve) => {
    admit = resolve;
  });
  const events: string[] = [];
  const done = engine.submit(REQUEST, {
    signal: new AbortController().signal,
    onEvent: ({ type }) => events.push(type),
    admit: () => admission,
  });
  return { admit, events, done };
}

function planned(index: number, id: number, estimate: Estimate = ESTIMATE): void {
  engines[index]!.say({ type: 'estimated', id, estimate });
}

describe('several engines', () => {
  it('each get their own device, and look like one with all their slots', async () => {
    const engine = await openReady(TWO);
    const devices = engines.map(({ heard: [first] }) => (first?.type === 'open' ? first.settings : undefined));
    expect(devices).toMatchObject(CARDS.map((device) => ({ device: [device] })));
    expect(engine.model).toMatchObject({ device: 'cuda:0,cuda:1', slots: 2 * MODEL.slots, runtime: 'fake 1' });
    engines[0]!.beat({
      steps: 10,
      running: 2,
      freeSlots: 0,
      kvUsage: 0.5,
      kvReserved: 1,
      recordedSteps: { 1: true, 2: true },
    });
    engines[1]!.beat({
      steps: 5,
      running: 1,
      freeSlots: 1,
      kvUsage: 0.1,
      kvReserved: 0.5,
      recordedSteps: { 1: true, 2: false },
      decoding: { running: 0, waiting: 0, stalledMs: 0 },
    });
    expect(engine.stats()).toMatchObject({ steps: 15, running: 3, freeSlots: 1, slots: 4, kvUsage: 0.3 });
    expect(engine.stats().kvReserved).toBe(0.75);
    expect(engine.stats().recordedSteps).toEqual({ 1: true, 2: false });
    expect(engine.stats().decoding).toEqual({ running: 1, waiting: 0, stalledMs: 0 });
  });

  it('share requests evenly, and a death takes only the requests of its device', async () => {
    const faults: string[] = [];
    const engine = await openReady({ ...TWO, onFault: (sentence) => faults.push(sentence) });
    const captions = [];
    for (let count = 0; count < 4; count++) {
      captions.push(collect(engine));
      await vi.waitFor(() => {
        expect(asked()).toEqual([Math.ceil((count + 1) / 2), Math.floor((count + 1) / 2)]);
      });
    }
    engines[0]!.die('was ended by SIGKILL');
    await settle();
    expect(captions.filter(({ ended }) => ended)).toHaveLength(2);
    expect(engine.status()).toMatchObject({
      state: 'ready',
      restarts: 1,
      engines: [
        { device: 'cuda:0', state: 'restarting' },
        { device: 'cuda:1', state: 'ready' },
      ],
    });
    expect(faults).toEqual([expect.stringMatching(/^cuda:0: The engine process was ended by SIGKILL/)]);
    const next = collect(engine);
    await vi.waitFor(() => {
      expect(asked()[1]).toBe(3);
    });
    endAll(1);
    await Promise.all([...captions.map(({ done }) => done), next.done]);
    expect(captions.map((caption) => types(caption).at(-1)).sort()).toEqual([
      ...['caption-end', 'caption-end', 'caption-error', 'caption-error'],
    ]);
    expect(types(next)).toEqual(['caption-end']);
    await vi.advanceTimersByTimeAsync(200);
    engines[2]!.start();
    await settle();
    expect(engine.status().engines?.map(({ state }) => state)).toEqual(['ready', 'ready']);
  });

  it('take a request that was admitted while another one had less to do', async () => {
    const engine = await openReady(TWO);
    const waiting = gated(engine);
    await vi.waitFor(() => {
      expect(asked()).toEqual([1, 0]);
    });
    planned(0, engines[0]!.captions()[0]!);
    const running = [collect(engine)];
    await vi.waitFor(() => {
      expect(asked()).toEqual([2, 0]); // one that waits is no work
    });
    waiting.admit();
    await vi.waitFor(() => {
      expect(asked()).toEqual([2, 1]);
    });
    expect(engines[0]!.heard.at(-1)).toEqual({ type: 'abort', id: engines[0]!.captions()[0]! });
    expect(engines[1]!.heard.at(-1)).toMatchObject({ type: 'caption', gated: false });
    endAll(1);
    endAll(0);
    await Promise.all([waiting.done, ...running.map(({ done }) => done)]);
    expect(waiting.events).toEqual(['caption-end']);
  });

  it('plan a request anew on another device when the one that planned it dies before it is admitted', async () => {
    const engine = await openReady(TWO);
    const waiting = gated(engine);
    await vi.waitFor(() => {
      expect(asked()).toEqual([1, 0]);
    });
    planned(0, engines[0]!.captions()[0]!);
    engines[0]!.die('was ended by SIGSEGV');
    await vi.waitFor(() => {
      expect(asked()).toEqual([1, 1]);
    });
    planned(1, engines[1]!.captions()[0]!);
    waiting.admit();
    await vi.waitFor(() => {
      expect(engines[1]!.heard.at(-1)).toMatchObject({ type: 'start' });
    });
    endAll(1);
    await waiting.done;
    expect(waiting.events).toEqual(['caption-end']);
  });

  it('get the same file again while they have a free slot', async () => {
    const engine = await openReady(TWO);
    const [one, other] = [scratch('one.mp4'), scratch('other.mp4')];
    await writeFile(one, 'one');
    await writeFile(other, 'other');
    const paths = [other, one, one, one]; // two slots: the third one must go elsewhere
    const captions = [];
    for (const [index, path] of paths.entries()) {
      captions.push(collect(engine, undefined, captionRequest(path, {})));
      await vi.waitFor(() => {
        expect(asked()).toEqual(
          [
            [1, 0],
            [1, 1],
            [1, 2],
            [2, 2],
          ][index],
        );
      });
    }
    endAll(0);
    endAll(1);
    await Promise.all(captions.map(({ done }) => done));
  });

  it('serve as soon as one of them is ready; all are ready later', async () => {
    const engine = await open(TWO);
    let allReady = false;
    const ready = engine.ready().then(() => {
      allReady = true;
    });
    const early = collect(engine);
    engines[1]!.start();
    await vi.waitFor(() => {
      expect(asked()).toEqual([0, 1]);
    });
    expect(engine.status().state).toBe('ready');
    expect(allReady).toBe(false);
    engines[0]!.start();
    await ready;
    endAll(1);
    await early.done;
  });

  it('are refused together when one device is: the others are ended', async () => {
    const opening = openEngineProcess(TWO, fork);
    engines[0]!.say({ type: 'described', model: MODEL });
    engines[1]!.say({ type: 'failed', error: { code: 'device_unavailable', message: 'There is no cuda:1.' } });
    engines[1]!.die('ended with exit code 1');
    const refused = expect(opening).rejects.toMatchObject({ code: 'device_unavailable' });
    await settle();
    expect(engines[0]!.heard.at(-1)).toEqual({ type: 'close' });
    engines[0]!.die('ended with exit code 0');
    await refused;
  });
});
