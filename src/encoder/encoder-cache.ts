import type { CacheCounts } from '../captioner/captioner.ts';
import type { EncodedMedia, MediaStep } from './encoded-media.ts';
import { AvocadoError } from '../base/errors.ts';
import { MediaFlight } from './shared-encoding.ts';

export interface Clip {
  /** equal for clips that give equal embeddings; undefined = not known, so it is shared with nobody */
  readonly key: string | undefined;
  /** as errors name it */
  readonly path: string;
  /** Makes the media ready, telling every step. */
  readonly prepare: (onStep: (step: MediaStep) => void, signal: AbortSignal) => Promise<void>;
}

interface Shared {
  readonly flight: MediaFlight;
  readonly path: string;
  /** the request that began it has left it before its end, and its file may be gone */
  left: boolean;
  /** its file is not what the key says */
  changed: boolean;
}

/** What is kept beside the embeddings: frame indices, names, the map's own. */
const BYTES_OF_FACTS = 16 * 1024;

function bytesOf({ embeds }: EncodedMedia): number {
  return embeds.byteLength + BYTES_OF_FACTS;
}

/**
 * Encoded clips by content, the least recently used given up first, and those being prepared: requests for the same clip at the
 * same time share one preparation, and one of them leaving does not stop the others'.
 */
export class MediaCache {
  readonly #maxBytes: number;
  readonly #clips = new Map<string, EncodedMedia>();
  readonly #shared = new Map<string, Shared>();
  #bytes = 0;
  #hits = 0;
  #misses = 0;

  /** @param maxBytes of embeddings kept for later requests; ten seconds of video are some 70 MB for a 7B model */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** hits: taken from memory, or from another request's work */
  counts(): CacheCounts {
    return { hits: this.#hits, misses: this.#misses };
  }

  /** of embeddings kept for later requests */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * The steps to a clip's embeddings; of a clip that is kept only `decoded` and `encoded`. Leaving the iteration gives it up.
   * @throws what the preparation throws, AbortError
   */
  async *open(clip: Clip, signal: AbortSignal): AsyncGenerator<MediaStep> {
    const { key } = clip;
    if (key === undefined) {
      yield* new MediaFlight(clip.prepare).follow(signal);
      return;
    }
    const kept = this.#clips.get(key);
    if (kept !== undefined) {
      this.#hits++;
      this.#clips.delete(key);
      this.#clips.set(key, kept);
      yield { type: 'decoded', facts: kept.facts, intact: true };
      yield { type: 'encoded', media: kept, seconds: {} };
      return;
    }
    const shared = this.#shared.get(key);
    if (shared === undefined || shared.flight.over || shared.changed) {
      this.#misses++;
      yield* this.#begin(key, clip, signal);
    } else {
      this.#hits++;
      yield* this.#join(shared, clip, signal);
    }
  }

  async *#join(shared: Shared, clip: Clip, signal: AbortSignal): AsyncGenerator<MediaStep> {
    const started = performance.now();
    let told = false;
    try {
      for await (const step of shared.flight.follow(signal)) {
        if (step.type === 'decoded' && !step.intact) break;
        told ||= step.type === 'decoded';
        yield step.type === 'encoded' ? { ...step, seconds: { shared: (performance.now() - started) / 1000 } } : step;
        if (step.type === 'encoded') return;
      }
    } catch (thrown) {
      if (signal.aborted || !shared.left) throw namedAs(clip.path, shared.path, thrown);
    }
    // The other's file went or changed under its reader. Ours is still there.
    for await (const step of this.open(clip, signal)) if (!(told && step.type === 'decoded')) yield step;
  }

  async *#begin(key: string, clip: Clip, signal: AbortSignal): AsyncGenerator<MediaStep> {
    const flight = new MediaFlight((onStep, stop) =>
      clip
        .prepare((step) => {
          if (step.type === 'decoded') shared.changed = !step.intact;
          if (step.type === 'encoded' && !shared.changed) this.#keep(key, step.media);
          onStep(step);
        }, stop)
        .finally(() => {
          if (this.#shared.get(key) === shared) this.#shared.delete(key);
        }),
    );
    const shared: Shared = { flight, path: clip.path, left: false, changed: false };
    this.#shared.set(key, shared);
    try {
      yield* flight.follow(signal);
    } finally {
      shared.left = !flight.ended;
    }
  }

  #keep(key: string, media: EncodedMedia): void {
    if (bytesOf(media) > this.#maxBytes || this.#clips.has(key)) return;
    this.#clips.set(key, media);
    this.#bytes += bytesOf(media);
    for (const [oldest, clip] of this.#clips) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#clips.delete(oldest);
      this.#bytes -= bytesOf(clip);
    }
  }
}

/** Somebody else's file is nobody's business: the same error about one's own. */
function namedAs(path: string, other: string, thrown: unknown): unknown {
  if (!(thrown instanceof AvocadoError) || path === other) return thrown;
  const { code, message, param } = thrown;
  return new AvocadoError(
    code,
    message.replaceAll(other, () => path),
    { cause: thrown, ...(param === undefined ? {} : { param }) },
  );
}
