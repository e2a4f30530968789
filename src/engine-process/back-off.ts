export interface BackOffTimes {
  /** before the first restart */
  readonly firstMs: number;
  readonly mostMs: number;
  /** after so long without a fault the next one counts as the first */
  readonly healthyMs: number;
}

export const RESTART_TIMES: BackOffTimes = { firstMs: 200, mostMs: 30_000, healthyMs: 60_000 };

/** How long to wait before the next try: twice as long after every fault, from the start again after a time of health. */
export class BackOff {
  readonly #times: BackOffTimes;
  #nextMs: number;

  constructor(times: BackOffTimes) {
    this.#times = times;
    this.#nextMs = times.firstMs;
  }

  /** @param healthyForMs how long it worked before this fault */
  next(healthyForMs: number): number {
    const { firstMs, mostMs, healthyMs } = this.#times;
    const delayMs = healthyForMs >= healthyMs ? firstMs : this.#nextMs;
    this.#nextMs = Math.min(delayMs * 2, mostMs);
    return delayMs;
  }
}
