import { abortError } from '../base/abort.ts';
import { AvocadoError } from '../base/errors.ts';
import type { EncodedMedia, EncodeRequest, EncodeResult, EncodeStep } from './encode-request.ts';

/**
 * One encoding shared by every request for the same file (singleflight). It is aborted when its last follower has left.
 */
class SharedEncoding {
  readonly path: string;
  readonly #steps: EncodeStep[] = [];
  readonly #followers = new Set<(step: EncodeStep) => void>();
  readonly #abandoned = new AbortController();
  readonly #result: Promise<EncodeResult>;
  #following = 0;
  #started = false;
  #ended = false;
  #changed = false;
  #starterLeft = false;

  /** Starts the encoding on the next tick. */
  constructor({ path, encode }: EncodeRequest) {
    this.path = path;
    const { signal } = this.#abandoned;
    const publish = (step: EncodeStep): void => {
      if (step.type === 'decoded') this.#changed = !step.intact;
      this.#steps.push(step);
      for (const follower of this.#followers) follower(step);
    };
    this.#result = Promise.resolve()
      .then(() => {
        signal.throwIfAborted();
        return encode(publish, signal);
      })
      .finally(() => {
        this.#ended = true;
      });
    this.#result.catch(() => undefined); // followers report it; without followers nobody needs it
  }

  /** finished, failed, or being aborted */
  get over(): boolean {
    return this.#ended || this.#abandoned.signal.aborted;
  }

  /** The file changed while it was read, so the result belongs to no content hash. */
  get changed(): boolean {
    return this.#changed;
  }

  /** The request that started it left before its end, and may have deleted its file. */
  get starterLeft(): boolean {
    return this.#starterLeft;
  }

  /**
   * Waits for the result; `onStep` gets every step from the first. The signal, or an error of
   * `onStep`, removes this follower.
   * @throws what the encoding or `onStep` throws; AvocadoError of the signal
   */
  async follow(onStep: (step: EncodeStep) => void, signal: AbortSignal): Promise<EncodeResult> {
    const isStarter = !this.#started;
    this.#started = true;
    this.#following++;
    let leave: (reason: unknown) => void = () => undefined;
    const left = new Promise<never>((_resolve, reject) => {
      leave = reject;
    });
    left.catch(() => undefined); // it may reject after the result has won the race
    const follower = (step: EncodeStep): void => {
      try {
        onStep(step);
      } catch (thrown) {
        leave(thrown);
      }
    };
    const onAbort = (): void => {
      leave(abortError(signal));
    };
    try {
      if (signal.aborted) throw abortError(signal);
      for (const step of this.#steps) onStep(step);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#followers.add(follower);
      return await Promise.race([left, this.#result]);
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#followers.delete(follower);
      if (isStarter) this.#starterLeft = !this.#ended;
      await this.#leave();
    }
  }

  /** The last follower to leave waits until decoders and runs have stopped. */
  async #leave(): Promise<void> {
    this.#following--;
    if (this.#following > 0) return;
    this.#abandoned.abort();
    await this.#result.catch(() => undefined);
  }
}

/** Kept beside the embeddings: frame indices, names, the map entry. */
const BYTES_OF_FACTS = 16 * 1024;

function bytesOf({ embeds }: EncodedMedia): number {
  return embeds.byteLength + BYTES_OF_FACTS;
}

type OnStep = (step: EncodeStep) => void;

/** Thrown to stop following an encoding whose file changed while it was read. */
class FileChanged extends Error {}

/**
 * Encoded media by content (least recently used dropped first), and encodings in progress: requests for the same file
 * at the same time share one.
 */
export class EncoderCache {
  readonly #maxBytes: number;
  readonly #kept = new Map<string, EncodedMedia>();
  readonly #running = new Map<string, SharedEncoding>();
  #bytes = 0;
  #hits = 0;
  #misses = 0;

  /** @param maxBytes of embeddings kept for later requests; a token of a 7B model has 14 kB on a CPU, 7 kB on CUDA */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** hits: found in memory or in an encoding in progress */
  counts(): { readonly hits: number; readonly misses: number } {
    return { hits: this.#hits, misses: this.#misses };
  }

  /** of embeddings kept for later requests */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether a request for this media would wait for an encoding of another one. */
  isRunning(key: string | undefined): boolean {
    return key !== undefined && this.#running.has(key);
  }

  /**
   * The encoded media of a request; `onStep` gets the steps on the way (of kept media only `decoded`).
   * @throws what the encoding or `onStep` throws; AvocadoError of the signal
   */
  async encode(request: EncodeRequest, onStep: OnStep, signal: AbortSignal): Promise<EncodeResult> {
    const { key } = request;
    if (key === undefined) return new SharedEncoding(request).follow(onStep, signal);
    let told = false; // `decoded` once, even when a second encoding repeats it
    const once: OnStep = (step) => {
      if (step.type !== 'decoded') onStep(step);
      else if (!told) {
        told = true;
        onStep(step);
      }
    };
    for (;;) {
      const kept = this.#use(key);
      if (kept !== undefined) {
        this.#hits++;
        once({ type: 'decoded', facts: kept.facts, intact: true });
        return { media: kept, seconds: {} };
      }
      const running = this.#running.get(key);
      if (running === undefined || running.over || running.changed) {
        this.#misses++;
        return this.#start(key, request).follow(once, signal);
      }
      this.#hits++;
      const result = await this.#join(running, request.path, once, signal);
      if (result !== undefined) return result;
    }
  }

  #start(key: string, request: EncodeRequest): SharedEncoding {
    const encode: EncodeRequest['encode'] = async (onStep, signal) => {
      try {
        const result = await request.encode(onStep, signal);
        if (!encoding.changed) this.#keep(key, result.media, request.fileBytes);
        return result;
      } finally {
        if (this.#running.get(key) === encoding) this.#running.delete(key);
      }
    };
    const encoding: SharedEncoding = new SharedEncoding({ ...request, encode });
    this.#running.set(key, encoding);
    return encoding;
  }

  /** @returns undefined when the other request's file changed or is gone: encode our own */
  async #join(
    running: SharedEncoding,
    path: string,
    onStep: OnStep,
    signal: AbortSignal,
  ): Promise<EncodeResult | undefined> {
    const startedMs = performance.now();
    let ownError: unknown;
    try {
      const { media } = await running.follow((step) => {
        if (step.type === 'decoded' && !step.intact) throw new FileChanged();
        try {
          onStep(step);
        } catch (thrown) {
          ownError = thrown;
          throw thrown;
        }
      }, signal);
      return { media, seconds: { shared: (performance.now() - startedMs) / 1000 } };
    } catch (thrown) {
      if (thrown instanceof FileChanged) return undefined;
      if (thrown === ownError || signal.aborted) throw thrown;
      if (running.starterLeft) return undefined;
      throw renamed(thrown, running.path, path);
    }
  }

  #use(key: string): EncodedMedia | undefined {
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    return kept;
  }

  /**
   * Nothing of a long file that does not fit as a whole: its segments would push out everything else, and then each
   * other, before the file is captioned again.
   */
  #keep(key: string, media: EncodedMedia, fileBytes = 0): void {
    if (Math.max(bytesOf(media), fileBytes) > this.#maxBytes || this.#kept.has(key)) return;
    this.#kept.set(key, media);
    this.#bytes += bytesOf(media);
    for (const [oldest, other] of this.#kept) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#kept.delete(oldest);
      this.#bytes -= bytesOf(other);
    }
  }
}

/** The error of another request's encoding, with the path of our own file: the other path is not ours to reveal. */
function renamed(thrown: unknown, other: string, own: string): unknown {
  if (!(thrown instanceof AvocadoError) || other === own) return thrown;
  const { code, message, param } = thrown;
  const renamedMessage = message.replaceAll(other, () => own);
  return new AvocadoError(code, renamedMessage, { cause: thrown, param });
}
