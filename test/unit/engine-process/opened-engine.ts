// An engine process without a process, opened anew for every test; time stands still until a test moves it.
import { afterEach, beforeEach, vi } from 'vitest';
import { captionRequest } from '../../../src/captioner/caption-options.ts';
import { captionEvents, type Estimate } from '../../../src/captioner/captioner.ts';
import {
  openEngineProcess,
  type EngineProcess,
  type EngineProcessOptions,
} from '../../../src/engine-process/open-engine-process.ts';
import type { CaptionEvent } from '../../../src/output/events.ts';
import { engineSettings } from '../../../src/settings/engine-settings.ts';
import { fakeFork, MODEL, type FakeEngine } from './fake-engine.ts';

export const OPTIONS: EngineProcessOptions = { settings: engineSettings({ modelDir: '/models/fake', slots: 2 }) };
export const REQUEST = captionRequest('/clips/a.mp4', {});
export const ESTIMATE = { kind: 'video', promptTokens: { total: 10 } } as unknown as Estimate;

export let fork: () => FakeEngine;
export let engines: FakeEngine[];
let opened: EngineProcess | undefined;

/** Call at the top of a test file. */
export function useFakeEngines(): void {
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
}

/** Lets promises settle. */
export async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

/** @param forked stands between the supervisor and the fake processes */
export async function open(
  options: Partial<EngineProcessOptions> = {},
  forked: (start: () => FakeEngine) => FakeEngine = (start) => start(),
): Promise<EngineProcess> {
  const opening = openEngineProcess({ ...OPTIONS, ...options }, () => forked(fork));
  for (const engine of engines) engine.say({ type: 'described', model: MODEL });
  opened = await opening;
  return opened;
}

export async function openReady(...opening: Parameters<typeof open>): Promise<EngineProcess> {
  const engine = await open(...opening);
  for (const each of engines) each.start();
  return engine;
}

export interface Collected {
  readonly events: CaptionEvent[];
  readonly done: Promise<void>;
  ended: boolean;
}

/** Reads a caption to its end. */
export function collect(engine: EngineProcess, signal?: AbortSignal, request = REQUEST): Collected {
  const events: CaptionEvent[] = [];
  const read = async (): Promise<void> => {
    for await (const event of captionEvents(engine, request, signal)) events.push(event);
  };
  const done = read().then(() => {
    collected.ended = true;
  });
  const collected: Collected = { events, done, ended: false };
  return collected;
}

export function types({ events }: Collected): string[] {
  return events.map(({ type }) => type);
}
