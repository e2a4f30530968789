// Who may come in, and whose turn it is. Policy only: no clock, no engine; seconds are estimates somebody else makes.
import { AvocadoError } from '../base/errors.ts';
import type { Priority } from '../output/events.ts';
import type { Refusal } from './types.ts';

export interface AdmissionLimits {
  /** most requests alive */
  readonly maxRequests: number;
  /** most estimated seconds of work of all alive; one request alone is never too much */
  readonly maxWorkSeconds: number;
  /** most requests in the engine at a time */
  readonly turns: number;
}

/** What the queue must know of the machine, read when it is needed. */
export interface Pace {
  readonly averageSeconds: number;
  readonly parallelism: number;
}

/** Of this many turns one belongs to batch requests, where some wait. */
const BATCH_EVERY = 4;

/** A request's place, from being let in to leaving. */
export class Ticket {
  readonly queue: AdmissionQueue;
  workSeconds: number;
  tokens = 0;
  /** alive, waiting for its turn, in the engine, gone */
  state: 'entered' | 'waiting' | 'running' | 'left' = 'entered';
  priority: Priority = 'interactive';
  onTurn: () => void = () => undefined;
  onPosition: (ahead: number) => void = () => undefined;

  constructor(queue: AdmissionQueue, workSeconds: number) {
    this.queue = queue;
    this.workSeconds = workSeconds;
  }

  /** Its work is known now. @throws AvocadoError `queue_full` when that is more than fits beside the others */
  weigh(workSeconds: number, tokens: number): void {
    this.queue.weigh(this, workSeconds, tokens);
  }

  /** So much is still to be done; never refused. */
  remain(workSeconds: number, tokens: number): void {
    this.workSeconds = workSeconds;
    this.tokens = tokens;
  }

  /** Resolves when it may go into the engine; never for one that leaves before. `onPosition` hears how many go before it. */
  turn(priority: Priority, onPosition: (ahead: number) => void): Promise<void> {
    return this.queue.turn(this, priority, onPosition);
  }

  /** Gives back whatever it holds. Any number of times, in any state. */
  leave(): void {
    this.queue.leave(this);
  }
}

export class AdmissionQueue {
  readonly #limits: AdmissionLimits;
  readonly #pace: Pace;
  readonly #onRefusal: (reason: Refusal) => void;
  readonly #alive = new Set<Ticket>();
  readonly #waiting: Record<Priority, Ticket[]> = { interactive: [], batch: [] };
  #running = 0;
  /** turns given to interactive requests since the last batch one, while a batch one waited */
  #passed = 0;

  constructor(limits: AdmissionLimits, pace: Pace, onRefusal: (reason: Refusal) => void) {
    this.#limits = limits;
    this.#pace = pace;
    this.#onRefusal = onRefusal;
  }

  get alive(): number {
    return this.#alive.size;
  }

  /** whether the next request would be refused, whatever it asks for */
  get full(): boolean {
    return (
      this.alive >= this.#limits.maxRequests || (this.alive > 0 && this.workSeconds >= this.#limits.maxWorkSeconds)
    );
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): Readonly<Record<Priority, number>> {
    return { interactive: this.#waiting.interactive.length, batch: this.#waiting.batch.length };
  }

  get workSeconds(): number {
    return sum(this.#alive, (ticket) => ticket.workSeconds);
  }

  get tokens(): number {
    return sum(this.#alive, (ticket) => ticket.tokens);
  }

  /** Seconds until a request that came now would have its turn. */
  get secondsToTurn(): number {
    if (this.#running < this.#limits.turns) return 0;
    // By then all but one less than `turns` have ended, of jobs as large as the average of those alive.
    return (this.workSeconds * (1 - (this.#limits.turns - 1) / this.alive)) / this.#pace.parallelism;
  }

  /** @throws AvocadoError `queue_full` */
  enter(): Ticket {
    const { averageSeconds, parallelism } = this.#pace;
    if (this.alive >= this.#limits.maxRequests)
      this.#refuse(
        'queue_count',
        `The server is busy with ${this.alive} requests and takes no more.`,
        this.workSeconds / this.alive / parallelism,
      );
    this.#checkWork(this.workSeconds, averageSeconds);
    const ticket = new Ticket(this, averageSeconds);
    this.#alive.add(ticket);
    return ticket;
  }

  weigh(ticket: Ticket, workSeconds: number, tokens: number): void {
    const others = this.workSeconds - ticket.workSeconds;
    if (this.alive > 1) this.#checkWork(others, workSeconds);
    ticket.remain(workSeconds, tokens);
  }

  turn(ticket: Ticket, priority: Priority, onPosition: (ahead: number) => void): Promise<void> {
    if (ticket.state !== 'entered')
      throw new Error(`A request that is ${ticket.state} asked for its turn. This is a bug.`);
    ticket.state = 'waiting';
    ticket.priority = priority;
    this.#waiting[priority].push(ticket);
    const turn = new Promise<void>((resolve) => {
      ticket.onTurn = resolve;
    });
    this.#go();
    ticket.onPosition = onPosition;
    this.#tellPositions();
    return turn;
  }

  leave(ticket: Ticket): void {
    if (ticket.state === 'running') this.#running -= 1;
    if (ticket.state === 'waiting') {
      const line = this.#waiting[ticket.priority];
      line.splice(line.indexOf(ticket), 1);
    }
    ticket.state = 'left';
    if (!this.#alive.delete(ticket)) return;
    this.#go();
    this.#tellPositions();
  }

  #checkWork(before: number, more: number): void {
    const tooMuch = before + more - this.#limits.maxWorkSeconds;
    if (this.alive === 0 || tooMuch <= 0) return;
    this.#refuse(
      'queue_work',
      `The server has about ${Math.ceil(before)} seconds of work before it, and this request would add ${Math.ceil(more)}.`,
      Math.min(before, tooMuch) / this.#pace.parallelism,
    );
  }

  #refuse(reason: Refusal, what: string, seconds: number): never {
    const retryAfterSeconds = Math.max(1, Math.ceil(seconds));
    this.#onRefusal(reason);
    throw new AvocadoError('queue_full', `${what} Send it again in ${retryAfterSeconds} s.`, { retryAfterSeconds });
  }

  #go(): void {
    while (this.#running < this.#limits.turns) {
      const priority = nextOf(
        { interactive: this.#waiting.interactive.length, batch: this.#waiting.batch.length },
        this.#passed,
      );
      const ticket = priority === undefined ? undefined : this.#waiting[priority].shift();
      if (ticket === undefined) return;
      this.#passed = ticket.priority === 'batch' || this.#waiting.batch.length === 0 ? 0 : this.#passed + 1;
      ticket.state = 'running';
      this.#running += 1;
      ticket.onTurn();
    }
  }

  /** The order in which they will go if nobody comes or leaves. */
  #tellPositions(): void {
    const counts = { interactive: 0, batch: 0 };
    const left = { interactive: this.#waiting.interactive.length, batch: this.#waiting.batch.length };
    let passed = this.#passed;
    for (let ahead = 0; ; ahead += 1) {
      const priority = nextOf(left, passed);
      if (priority === undefined) return;
      passed = priority === 'batch' || left.batch === 0 ? 0 : passed + 1;
      this.#waiting[priority][counts[priority]]?.onPosition(ahead);
      counts[priority] += 1;
      left[priority] -= 1;
    }
  }
}

/** Whose turn it is, from how many wait and how many interactive ones went before a waiting batch one. */
function nextOf({ interactive, batch }: Readonly<Record<Priority, number>>, passed: number): Priority | undefined {
  if (batch > 0 && (interactive === 0 || passed >= BATCH_EVERY - 1)) return 'batch';
  return interactive > 0 ? 'interactive' : undefined;
}

function sum(tickets: Iterable<Ticket>, value: (ticket: Ticket) => number): number {
  let total = 0;
  for (const ticket of tickets) total += value(ticket);
  return total;
}
