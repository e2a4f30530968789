import type { Timings } from './events.ts';

/** Seconds by stage, summed over repeated stages. */
export class Stopwatch {
  readonly #started = performance.now();
  readonly #stages: Record<string, number> = {};

  /** Adds seconds measured elsewhere. */
  add(seconds: Readonly<Record<string, number>>): void {
    for (const [stage, value] of Object.entries(seconds)) this.#stages[stage] = (this.#stages[stage] ?? 0) + value;
  }

  async time<T>(stage: string, work: Promise<T>): Promise<T> {
    const started = performance.now();
    try {
      return await work;
    } finally {
      this.add({ [stage]: (performance.now() - started) / 1000 });
    }
  }

  timeSync<T>(stage: string, work: () => T): T {
    const started = performance.now();
    const result = work();
    this.add({ [stage]: (performance.now() - started) / 1000 });
    return result;
  }

  /** seconds since construction */
  elapsed(): number {
    return (performance.now() - this.#started) / 1000;
  }

  stages(): Readonly<Record<string, number>> {
    return { ...this.#stages };
  }
}

/** Times the tokens of a request: prefill up to the first token, generation after it. */
export class TokenTimer {
  readonly #watch: Stopwatch;
  readonly #started = performance.now();
  #firstTokenAt: number | undefined;
  #firstTokenSeconds: number | undefined;

  /** @param watch of the whole request; timings() adds `prefill` and `generate` to its stages */
  constructor(watch: Stopwatch) {
    this.#watch = watch;
  }

  /** Call for every token. */
  token(): void {
    if (this.#firstTokenAt !== undefined) return;
    this.#firstTokenAt = performance.now();
    this.#firstTokenSeconds = this.#watch.elapsed();
  }

  /** Call once, after the last token. @param tokens of all samples together */
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
