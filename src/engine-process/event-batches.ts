import type { CaptionEvent, TextDelta } from '../output/events.ts';
import { isEnding } from '../output/ending.ts';
import type { EventBatch } from './messages.ts';

/**
 * One picture of a screen. A message takes both processes 0.35 ms of CPU together (measured), which every 8
 * ms would be 4 % of a core.
 */
const WINDOW_MS = 16;

/** A delta that grows. */
interface GrowingDelta extends TextDelta {
  text: string;
  readonly tokenIds: number[];
  readonly logprobs: number[];
  tokens?: NonNullable<TextDelta['tokens']>[number][];
}

function growing({ tokens, ...delta }: TextDelta): GrowingDelta {
  const copy = { ...delta, tokenIds: [...delta.tokenIds], logprobs: [...delta.logprobs] };
  return tokens === undefined ? copy : { ...copy, tokens: [...tokens] };
}

function grow(held: GrowingDelta, { text, tokenIds, logprobs, tokens }: TextDelta): void {
  held.text += text;
  held.tokenIds.push(...tokenIds);
  held.logprobs.push(...logprobs);
  if (tokens !== undefined) (held.tokens ??= []).push(...tokens);
}

/**
 * Puts the events of all captions into few messages. Deltas of one sample that come within a few milliseconds
 * become one; a caption's first delta and everything that is no delta go out at once, and so does a delta after
 * a pause: only a model faster than the window ever waits. The order of a caption's events stays, but for
 * deltas of different samples.
 *
 * Nothing slows the engine down for a reader who lags: a caption has a few thousand tokens at most, and a server admits
 * only so many captions, so what can pile up on either side of the line is bounded by what was admitted.
 */
export class EventBatches {
  readonly #send: (batches: readonly EventBatch[]) => void;
  readonly #held = new Map<number, Map<number, GrowingDelta>>();
  /** captions whose first delta went out */
  readonly #begun = new Set<number>();
  #sentAtMs = -Infinity;
  #timer: NodeJS.Timeout | undefined;

  constructor(send: (batches: readonly EventBatch[]) => void) {
    this.#send = send;
  }

  push(id: number, event: CaptionEvent): void {
    if (event.type !== 'text-delta') {
      if (isEnding(event)) this.#begun.delete(id);
      this.#flush({ id, event });
    } else if (!this.#begun.has(id)) {
      this.#begun.add(id);
      this.#flush({ id, event });
    } else {
      this.#hold(id, event);
      if (performance.now() - this.#sentAtMs >= WINDOW_MS) this.#flush();
      else
        this.#timer ??= setTimeout(() => {
          this.#flush();
        }, WINDOW_MS);
    }
  }

  #hold(id: number, delta: TextDelta): void {
    const samples = this.#held.get(id) ?? new Map<number, GrowingDelta>();
    this.#held.set(id, samples);
    const held = samples.get(delta.index);
    if (held === undefined) samples.set(delta.index, growing(delta));
    else grow(held, delta);
  }

  /** Sends all that is held, and after it `last`. */
  #flush(last?: { readonly id: number; readonly event: CaptionEvent }): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batches: { id: number; events: CaptionEvent[] }[] = [...this.#held].map(([id, samples]) => ({
      id,
      events: [...samples.values()],
    }));
    this.#held.clear();
    if (last !== undefined) {
      const batch = batches.find(({ id }) => id === last.id);
      if (batch === undefined) batches.push({ id: last.id, events: [last.event] });
      else batch.events.push(last.event);
    }
    this.#sentAtMs = performance.now();
    this.#send(batches);
  }
}
