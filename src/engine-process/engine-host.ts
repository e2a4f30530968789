// The engine process from the inside: opens the model, answers requests, tells that it lives. Knows nothing of process.send.
import type { Captioner, CaptionerModel } from '../captioner/captioner.ts';
import { asAvocadoError } from '../base/errors.ts';
import type { CaptionerOptions } from '../captioner/open-captioner.ts';
import { EngineRequests } from './engine-requests.ts';
import { plainError, type EngineSettings, type FromEngine, type ToEngine } from './messages.ts';
import { warmUp } from './warm-up.ts';

const HEARTBEAT_MS = 250;

export interface EngineHostParts {
  readonly describe: (options: CaptionerOptions) => Promise<CaptionerModel>;
  readonly openCaptioner: (options: CaptionerOptions) => Promise<Captioner>;
  /** resolves when the message has left this process */
  readonly send: (message: FromEngine) => Promise<void>;
  /** orderly: nothing runs any more */
  readonly exit: (code: number) => void;
  /** at once, whatever runs: onnxruntime may be amid something that cannot be torn down */
  readonly die: () => void;
}

export class EngineHost {
  readonly #parts: EngineHostParts;
  /** beats come from this loop: they stop when it is stuck */
  readonly #pulse: NodeJS.Timeout;
  #captioner: Captioner | undefined;
  #requests: EngineRequests | undefined;
  #closing = false;

  constructor(parts: EngineHostParts) {
    this.#parts = parts;
    this.#pulse = setInterval(() => {
      void this.#beat();
    }, HEARTBEAT_MS);
  }

  take(message: ToEngine): void {
    switch (message.type) {
      case 'open':
        void this.#open(message.settings);
        return;
      case 'caption':
        this.#requests?.caption(message.id, message.request);
        return;
      case 'estimate':
        this.#requests?.estimate(message.id, message.request);
        return;
      case 'abort':
        this.#requests?.abort(message.id);
        return;
      case 'close':
        void this.close();
        return;
      default:
        throw new Error(`The engine process got ${JSON.stringify(message satisfies never)}. This is a bug.`);
    }
  }

  /** Ends what runs, waits for it, exits. A model that is still loading has nothing to lose, and cannot be told to stop. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#captioner === undefined) {
      this.#parts.die();
      return;
    }
    await this.#captioner.close();
    await this.#requests?.ended();
    clearInterval(this.#pulse);
    await this.#beat();
    this.#parts.exit(0);
  }

  async #open({ warmUpFiles, ...settings }: EngineSettings): Promise<void> {
    const { describe, openCaptioner, send, exit } = this.#parts;
    const progress = (text: string, done: number, total: number): void => {
      void send({ type: 'progress', text, done, total });
    };
    try {
      await send({ type: 'described', model: await describe(settings) });
      this.#captioner = await openCaptioner({ ...settings, onProgress: progress });
      progress('Warming up', 0, 1);
      await warmUp(this.#captioner, warmUpFiles);
      this.#requests = new EngineRequests(this.#captioner, (message) => {
        void send(message);
      });
      await this.#beat(); // whoever hears that it is ready may ask for its free slots
      await send({ type: 'ready', model: this.#captioner.model });
    } catch (thrown) {
      if (this.#closing) return; // which is why it failed
      const error = asAvocadoError(thrown);
      if (error.code === 'internal') console.error(thrown);
      await this.#captioner?.close();
      await send({ type: 'failed', error: plainError(error) });
      exit(1);
    }
  }

  async #beat(): Promise<void> {
    const stats = this.#captioner?.stats();
    const lastStepAgeMs = stats?.lastStepAtMs === undefined ? undefined : performance.now() - stats.lastStepAtMs;
    await this.#parts.send({ type: 'heartbeat', stats, lastStepAgeMs });
  }
}
