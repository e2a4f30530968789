// Engine processes without a process: a test plays the engine, message by message.
import { NEVER_BUSY } from '../../../src/base/work-clock.ts';
import type { CaptionerModel, CaptionerStats } from '../../../src/captioner/captioner.ts';
import type { EngineChild } from '../../../src/engine-process/fork-engine.ts';
import type { FromEngine, ToEngine } from '../../../src/engine-process/messages.ts';
import type { CaptionEnd, TextDelta } from '../../../src/output/events.ts';

export const MODEL: CaptionerModel = {
  name: 'fake',
  directory: '/models/fake',
  precision: 'fp32',
  device: 'cpu',
  runtime: '',
  context: 4096,
  slots: 2,
  profile: 'paper@1',
  preset: 'avocado',
};

export const STATS: CaptionerStats = {
  waiting: 1,
  running: 2,
  freeSlots: 0,
  slots: 2,
  steps: 10,
  lastStepAtMs: 5,
  generatedTokens: 100,
  promptTokens: 1000,
  busy: true,
  progress: 20,
  kvUsage: 0.5,
  kvReserved: 0.5,
  preemptions: 0,
  busySeconds: NEVER_BUSY,
  decoding: { running: 1, waiting: 0, stalledMs: 0 },
  caches: { media: { hits: 1, misses: 2 }, prefix: { hits: 3, misses: 4 } },
};

export function delta(text: string, index = 0): TextDelta {
  return { type: 'text-delta', index, text, tokenIds: [text.length], logprobs: [-text.length] };
}

export function endOf(caption: string): CaptionEnd {
  return {
    type: 'caption-end',
    caption,
    finishReason: 'stop',
    tokenIds: [1],
    logprobs: [-1],
    others: [],
    usage: {
      promptTokens: 3,
      completionTokens: 1,
      totalTokens: 4,
      promptTokensByModality: { text: 1, video: 1, audio: 1, image: 0 },
      cachedTokens: 0,
    },
    media: {
      kind: 'image',
      durationSeconds: 0,
      audio: { present: false, used: false, seconds: 0, tokens: 0 },
      warnings: [],
    },
    profile: 'paper@1',
    timings: { totalSeconds: 1, firstTokenSeconds: 1, tokensPerSecond: undefined, stages: {} },
  };
}

export class FakeEngine implements EngineChild {
  readonly heard: ToEngine[] = [];
  readonly pid: number;
  killed = false;
  readonly ended: Promise<string>;
  #end: (why: string) => void = () => undefined;
  #listener: (message: FromEngine) => void = () => undefined;

  constructor(pid: number) {
    this.pid = pid;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  send(message: ToEngine): void {
    this.heard.push(message);
  }

  onMessage(listener: (message: FromEngine) => void): void {
    this.#listener = listener;
  }

  kill(): void {
    this.killed = true;
    this.die('was ended by SIGKILL');
  }

  /** what the engine says */
  say(...messages: readonly FromEngine[]): void {
    for (const message of messages) this.#listener(message);
  }

  beat(stats: Partial<CaptionerStats> | undefined = {}, lastStepAgeMs?: number): void {
    this.say({ type: 'heartbeat', stats: { ...STATS, ...stats }, lastStepAgeMs });
  }

  start(): void {
    this.say({ type: 'described', model: MODEL }, { type: 'ready', model: { ...MODEL, runtime: 'fake 1' } });
  }

  die(why: string): void {
    this.#end(why);
  }

  /** ids of the captions it was asked for */
  captions(): number[] {
    return this.heard.flatMap((message) => (message.type === 'caption' ? [message.id] : []));
  }
}

/** A fork that remembers its processes. */
export function fakeFork(): { readonly fork: () => FakeEngine; readonly engines: FakeEngine[] } {
  const engines: FakeEngine[] = [];
  const fork = (): FakeEngine => {
    const engine = new FakeEngine(1000 + engines.length);
    engines.push(engine);
    return engine;
  };
  return { fork, engines };
}
