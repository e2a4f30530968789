// Turns of senders at having their files looked at, before anything is known of what these cost. Nobody is refused.
import { availableParallelism } from 'node:os';
import { Places, type PlacesLimits } from '../base/places.ts';

/**
 * One sender has half of the processors, so that it cannot slow down another however often it asks. A file that takes
 * long holds up those of the same sender no further: many may share an address.
 */
const LIMITS: PlacesLimits = {
  places: Math.max(1, availableParallelism() >> 1),
  overtimePlaces: 3,
  overtimeMs: 1000,
};

export class PlanningTurns {
  readonly #limits: PlacesLimits;
  readonly #bySender = new Map<string, Places>();

  constructor(limits = LIMITS) {
    this.#limits = limits;
  }

  /** senders that have or wait for a turn */
  get senders(): number {
    return this.#bySender.size;
  }

  /**
   * Runs the work when the sender has a turn.
   * @param sender undefined: unknown, and alone
   * @throws AvocadoError of the signal when it aborts before that; what the work throws
   */
  async run<T>(sender: string | undefined, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (sender === undefined) return await work();
    const places = this.#bySender.get(sender) ?? new Places(this.#limits);
    this.#bySender.set(sender, places);
    try {
      return await places.run(work, signal);
    } finally {
      const { running, waiting } = places.stats();
      if (running + waiting === 0) this.#bySender.delete(sender);
    }
  }
}
