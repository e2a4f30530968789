import { AvocadoError } from '../base/errors.ts';

/**
 * Looks for stop strings in text that arrives in pieces. Holds back only what may be the beginning of one.
 * The result does not depend on how the text was cut: the stop string that is complete first wins, the longer
 * one where two end together.
 */
export class StopStrings {
  readonly #stops: readonly string[];
  #held = '';
  #matched = false;

  /** Errors: bad_request for an empty stop string. */
  constructor(stops: readonly string[]) {
    if (stops.includes('')) {
      throw new AvocadoError('bad_request', 'A stop string must not be empty: remove it from `stop`.', {
        param: 'stop',
      });
    }
    this.#stops = stops;
  }

  /** Whether one was found: generation can end. */
  get matched(): boolean {
    return this.#matched;
  }

  /** Text that may be shown now. After a match it is cut there, and everything later is ''. */
  push(piece: string): string {
    if (this.#matched) return '';
    const text = this.#held + piece;
    const match = this.#find(text);
    if (match !== undefined) {
      this.#matched = true;
      this.#held = '';
      return text.slice(0, match.start);
    }
    const certain = text.length - this.#heldLength(text);
    this.#held = text.slice(certain);
    return text.slice(0, certain);
  }

  /** What was held back, when no more text comes: it was no stop string after all. */
  flush(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }

  #find(text: string): { start: number; end: number } | undefined {
    let best: { start: number; end: number } | undefined;
    for (const stop of this.#stops) {
      const start = text.indexOf(stop);
      const end = start + stop.length;
      if (start >= 0 && (best === undefined || end < best.end || (end === best.end && start < best.start)))
        best = { start, end };
    }
    return best;
  }

  /** Length of the longest end of the text that begins a stop string. */
  #heldLength(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
