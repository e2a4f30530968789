// The engine process from the inside: opens the model, serves requests, sends heartbeats.
// Knows nothing of process.send.
import { fileURLToPath } from 'node:url';
import { asAvocadoError, AvocadoError } from '../base/errors.ts';
import { captionRequest } from '../captioner/caption-options.ts';
import { captionEvents, type Captioner, type CaptionerModel, type Estimate } from '../captioner/captioner.ts';
import type { OnProgress } from '../captioner/open-captioner.ts';
import type { CaptionRequest } from '../output/events.ts';
import type { EngineSettings } from '../settings/engine-settings.ts';
import { EventBatches } from './event-batches.ts';
import { plainError, type FromEngine, type ToEngine } from './messages.ts';

const HEARTBEAT_MS = 250;

/** A grey second of video for the vision encoder, with silence for the audio encoder. In src/ also when dist/ runs. */
export const WARM_UP_FILE = fileURLToPath(new URL('../../src/engine-process/warm-up.mkv', import.meta.url));

export interface EngineServerParts {
  readonly openCaptioner: (
    settings: EngineSettings,
    onProgress: OnProgress,
    onDescribed: (model: CaptionerModel) => void,
  ) => Promise<Captioner>;
  /** resolves when the message has left this process */
  readonly send: (message: FromEngine) => Promise<void>;
  /** orderly: nothing runs any more */
  readonly exit: (code: number) => void;
  /** at once, whatever runs: onnxruntime may be in the middle of something that cannot be torn down */
  readonly die: () => void;
}

/** A request in this process. */
interface ActiveRequest {
  readonly controller: AbortController;
  /** lets a gated request start decoding */
  readonly start: () => void;
  readonly done: Promise<void>;
}

export class EngineServer {
  readonly #parts: EngineServerParts;
  /** sent from the main loop: they stop when it is stuck */
  readonly #heartbeat: NodeJS.Timeout;
  readonly #batches: EventBatches;
  readonly #active = new Map<number, ActiveRequest>();
  #captioner: Captioner | undefined;
  #closing = false;

  constructor(parts: EngineServerParts) {
    this.#parts = parts;
    this.#heartbeat = setInterval(() => {
      void this.#beat();
    }, HEARTBEAT_MS);
    this.#batches = new EventBatches((batches) => {
      this.#send({ type: 'events', batches });
    });
  }

  take(message: ToEngine): void {
    switch (message.type) {
      case 'open':
        void this.#open(message.settings, message.warmUpFile);
        return;
      case 'caption':
        this.#caption(message.id, message.request, message.gated);
        return;
      case 'estimate':
        this.#estimate(message.id, message.request);
        return;
      case 'start':
        this.#active.get(message.id)?.start();
        return;
      case 'abort':
        this.#active.get(message.id)?.controller.abort();
        return;
      case 'close':
        void this.close();
        return;
      default:
        throw new Error(`The engine process got ${JSON.stringify(message satisfies never)}. This is a bug.`);
    }
  }

  /**
   * Ends what runs, waits for it, exits. A model that is still loading has nothing to lose, and cannot be told to stop.
   */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#captioner === undefined) {
      this.#parts.die();
      return;
    }
    await this.#captioner.close();
    await Promise.all([...this.#active.values()].map(({ done }) => done));
    clearInterval(this.#heartbeat);
    await this.#beat();
    this.#parts.exit(0);
  }

  async #open(settings: EngineSettings, warmUpFile: string): Promise<void> {
    const { openCaptioner, send, exit } = this.#parts;
    const progress: OnProgress = (text, done, total) => {
      this.#send({ type: 'progress', text, done, total });
    };
    let captioner: Captioner | undefined;
    try {
      captioner = await openCaptioner(settings, progress, (model) => {
        this.#send({ type: 'described', model });
      });
      progress('Warming up', 0, 1);
      await warmUp(captioner, warmUpFile);
      this.#captioner = captioner;
      await this.#beat(); // a server that hears `ready` may read the free slots at once
      await send({ type: 'ready', model: captioner.model });
    } catch (thrown) {
      if (this.#closing) return; // which is why it failed
      const error = asAvocadoError(thrown);
      if (error.code === 'internal') console.error(thrown);
      await captioner?.close();
      await send({ type: 'failed', error: plainError(error) });
      exit(1);
    }
  }

  #caption(id: number, request: CaptionRequest, gated: boolean): void {
    const captioner = this.#captioner;
    if (captioner === undefined) return;
    const controller = new AbortController();
    let start: () => void = () => undefined;
    const started = new Promise<void>((resolve) => {
      start = resolve;
    });
    const admit = async (estimate: Estimate): Promise<void> => {
      this.#send({ type: 'estimated', id, estimate });
      await started;
    };
    const done = captioner.submit(request, {
      signal: controller.signal,
      onEvent: (event) => {
        // Told as this, the request would not be sent again, and the others would fail one after the other.
        if (event.type === 'caption-error' && event.code === 'device_unavailable')
          this.#send({ type: 'broken', why: event.message });
        else this.#batches.push(id, event);
      },
      admit: gated ? admit : undefined,
    });
    this.#track(id, { controller, start, done });
  }

  #estimate(id: number, request: CaptionRequest): void {
    const captioner = this.#captioner;
    if (captioner === undefined) return;
    const controller = new AbortController();
    const done = captioner.estimate(request, controller.signal).then(
      (estimate) => {
        this.#send({ type: 'estimated', id, estimate });
      },
      (thrown: unknown) => {
        this.#send({ type: 'estimate-failed', id, error: plainError(asAvocadoError(thrown)) });
      },
    );
    this.#track(id, { controller, start: () => undefined, done });
  }

  #track(id: number, active: ActiveRequest): void {
    this.#active.set(id, active);
    void active.done.finally(() => this.#active.delete(id));
  }

  #send(message: FromEngine): void {
    void this.#parts.send(message);
  }

  async #beat(): Promise<void> {
    const stats = this.#captioner?.stats();
    const lastStepAgeMs = stats?.lastStepAtMs === undefined ? undefined : performance.now() - stats.lastStepAtMs;
    await this.#parts.send({ type: 'heartbeat', stats, lastStepAgeMs });
  }
}

/**
 * Captions a file with two tokens, one of the prefill and one of a decode step, so that the first request does not
 * pay for lazy initialisation: threads, both encoders, decoder.
 * @throws AvocadoError any error a caption can end in
 */
export async function warmUp(captioner: Pick<Captioner, 'submit'>, path: string): Promise<void> {
  for await (const event of captionEvents(captioner, captionRequest(path, { prompt: 'Describe.', max_tokens: 2 }))) {
    if (event.type !== 'caption-error') continue;
    const message = `The model was loaded, but its first caption failed: ${event.message} Run \`avocado doctor\`.`;
    throw new AvocadoError(event.code, message);
  }
}
