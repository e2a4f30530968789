import type { Timings } from './events.ts';
import type { Stopwatch } from './stopwatch.ts';

/** When the tokens of a request came: prefill until the first one, generation after it. */
export class Pace {
  readonly #watch: Stopwatch;
  readonly #started = performance.now();
  #firstTokenAt: number | undefined;
  #firstTokenSeconds: number | undefined;

  /** @param watch of the whole request; `prefill` and `generate` are added to its stages in the end */
  constructor(watch: Stopwatch) {
    this.#watch = watch;
  }

  /** A token has come. */
  token(): void {
    if (this.#firstTokenAt !== undefined) return;
    this.#firstTokenAt = performance.now();
    this.#firstTokenSeconds = this.#watch.elapsed();
  }

  /** Called once, when the last token has come. @param tokens of all samples together */
  timings(tokens: number): Timings {
    const ended = performance.now();
    const firstTokenAt = this.#firstTokenAt ?? ended;
    const generateSeconds = (ended - firstTokenAt) / 1000;
    this.#watch.add({ prefill: (firstTokenAt - this.#started) / 1000, generate: generateSeconds });
    return {
      totalSeconds: this.#watch.elapsed(),
      firstTokenSeconds: this.#firstTokenSeconds,
      // the first token belongs to the prefill
      tokensPerSecond: tokens > 1 && generateSeconds > 0 ? (tokens - 1) / generateSeconds : undefined,
      stages: this.#watch.stages(),
    };
  }
}
