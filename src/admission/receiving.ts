// Requests whose bodies are arriving. They are counted apart from those that work: a body takes as long as its client
// likes. No clock; a client's pace is told from outside.
import { AvocadoError } from '../base/errors.ts';

/** A body on its way. */
export interface Arrival {
  /** who sends it: a key or an address */
  readonly sender: string;
  /** for how long it has been slower than it must be */
  readonly behindMs: () => number;
  /** Ends it, to give its place to another one. */
  readonly drop: (reason: AvocadoError) => void;
}

/** A body that is behind for so long loses its place when another one needs it. */
const MAY_BE_DROPPED_MS = 5000;
const RETRY_AFTER_SECONDS = 5;

export class Receiving {
  readonly #max: number;
  readonly #onRefusal: () => void;
  readonly #arrivals = new Set<Arrival>();

  /** @param max places, of which one sender may hold half */
  constructor(max: number, onRefusal: () => void) {
    this.#max = max;
    this.#onRefusal = onRefusal;
  }

  get full(): boolean {
    return this.#arrivals.size >= this.#max && slowest(this.#arrivals) === undefined;
  }

  /** @throws AvocadoError `queue_full` when there is no place and every body makes progress */
  enter(arrival: Arrival): void {
    const own = [...this.#arrivals].filter(({ sender }) => sender === arrival.sender);
    if (own.length >= Math.ceil(this.#max / 2)) this.#makeRoom(own);
    else if (this.#arrivals.size >= this.#max) this.#makeRoom([...this.#arrivals]);
    this.#arrivals.add(arrival);
  }

  /** Frees the place. Any number of times. */
  leave(arrival: Arrival): void {
    this.#arrivals.delete(arrival);
  }

  #makeRoom(among: readonly Arrival[]): void {
    const found = slowest(among);
    if (found === undefined) {
      this.#onRefusal();
      throw new AvocadoError(
        'queue_full',
        `The server is receiving ${among.length} requests and takes no more. Send it again in ${RETRY_AFTER_SECONDS} s.`,
        { retryAfterSeconds: RETRY_AFTER_SECONDS },
      );
    }
    this.leave(found);
    found.drop(
      new AvocadoError(
        'deadline_exceeded',
        'The body of the request came too slowly, and another request needed its place. Send it without pauses.',
      ),
    );
  }
}

function slowest(arrivals: Iterable<Arrival>): Arrival | undefined {
  let found: Arrival | undefined;
  let mostMs = MAY_BE_DROPPED_MS;
  for (const arrival of arrivals) {
    const behindMs = arrival.behindMs();
    if (behindMs >= mostMs) [found, mostMs] = [arrival, behindMs];
  }
  return found;
}
