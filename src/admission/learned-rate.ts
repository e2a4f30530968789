/** What is a tenth as much worth as the newest after so many samples: about the last ten count. */
const KEPT = 0.8;

/**
 * Seconds per unit of some work, learned from what was measured: the sum of seconds over the sum of units, of which older ones
 * count ever less. A starting value holds until then, and a little beyond.
 */
export class LearnedRate {
  #seconds: number;
  #units: number;

  /** @param startUnits how much measured work weighs as much as the starting value */
  constructor(secondsPerUnit: number, startUnits: number) {
    this.#seconds = secondsPerUnit * startUnits;
    this.#units = startUnits;
  }

  get secondsPerUnit(): number {
    return this.#seconds / this.#units;
  }

  learn(seconds: number, units: number): void {
    if (!Number.isFinite(seconds) || seconds < 0 || !(units > 0)) return;
    this.#seconds = this.#seconds * KEPT + seconds;
    this.#units = this.#units * KEPT + units;
  }
}
