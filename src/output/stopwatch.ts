/** Seconds spent by stage, summed when a stage comes back. Knows only names and a monotonic clock. */
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

  /** seconds since the stopwatch was made */
  elapsed(): number {
    return (performance.now() - this.#started) / 1000;
  }

  stages(): Readonly<Record<string, number>> {
    return { ...this.#stages };
  }
}
