// Admission policy: which requests are admitted, and which starts next. No clock, no engine; seconds
// are estimates from outside.
import { AvocadoError } from '../base/errors.ts';
import { PriorityTurns, type Priority } from '../base/priority-turns.ts';
import type { Refusal } from './types.ts';

export interface AdmissionLimits {
  /** most admitted requests */
  readonly maxRequests: number;
  /** most estimated seconds of work admitted; a request alone is never too much */
  readonly maxWorkSeconds: number;
  /** most requests in the engine at a time */
  readonly maxRunning: number;
}

/** How fast the machine is, read when needed. */
export interface WorkRates {
  readonly averageSeconds: number;
  readonly parallelism: number;
}

/** An admitted request's place in the queue. */
export class Ticket {
  readonly queue: AdmissionQueue;
  workSeconds: number;
  tokens = 0;
  state: 'admitted' | 'waiting' | 'running' | 'left' = 'admitted';
  priority: Priority = 'interactive';
  onStart: () => void = () => undefined;
  onPosition: (ahead: number) => void = () => undefined;

  constructor(queue: AdmissionQueue, workSeconds: number) {
    this.queue = queue;
    this.workSeconds = workSeconds;
  }

  /** Sets the estimated work. @throws AvocadoError `queue_full` when it does not fit beside the others */
  setWork(workSeconds: number, tokens: number): void {
    this.queue.setWork(this, workSeconds, tokens);
  }

  /** Sets the work that remains; never refused. */
  setRemaining(workSeconds: number, tokens: number): void {
    this.workSeconds = workSeconds;
    this.tokens = tokens;
  }

  /**
   * Resolves when the request may start in the engine; never if it leaves first. `onPosition` gets
   * how many start before it.
   */
  awaitStart(priority: Priority, onPosition: (ahead: number) => void): Promise<void> {
    return this.queue.awaitStart(this, priority, onPosition);
  }

  /** Frees the place. Any number of times, in any state. */
  leave(): void {
    this.queue.leave(this);
  }
}

export class AdmissionQueue {
  readonly #limits: AdmissionLimits;
  readonly #rates: WorkRates;
  readonly #turns = new PriorityTurns();
  readonly #onRefusal: (reason: Refusal) => void;
  readonly #alive = new Set<Ticket>();
  readonly #waiting: Record<Priority, Ticket[]> = { interactive: [], batch: [] };
  #running = 0;

  constructor(limits: AdmissionLimits, rates: WorkRates, onRefusal: (reason: Refusal) => void) {
    this.#limits = limits;
    this.#rates = rates;
    this.#onRefusal = onRefusal;
  }

  get alive(): number {
    return this.#alive.size;
  }

  /** whether any next request would be refused */
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

  /** Seconds until a request admitted now would start. */
  get secondsToStart(): number {
    if (this.#running < this.#limits.maxRunning) return 0;
    // By then all but `maxRunning - 1` have ended, each with the average work of those admitted.
    return (this.workSeconds * (1 - (this.#limits.maxRunning - 1) / this.alive)) / this.#rates.parallelism;
  }

  /** @throws AvocadoError `queue_full` when the next request would be refused */
  check(): void {
    const { averageSeconds, parallelism } = this.#rates;
    if (this.alive >= this.#limits.maxRequests)
      this.#refuse(
        'queue_count',
        `The server is busy with ${this.alive} requests and takes no more.`,
        this.workSeconds / this.alive / parallelism,
      );
    this.#checkWork(this.workSeconds, averageSeconds);
  }

  /** @throws AvocadoError `queue_full` */
  admit(): Ticket {
    this.check();
    const ticket = new Ticket(this, this.#rates.averageSeconds);
    this.#alive.add(ticket);
    return ticket;
  }

  setWork(ticket: Ticket, workSeconds: number, tokens: number): void {
    const others = this.workSeconds - ticket.workSeconds;
    if (this.alive > 1) this.#checkWork(others, workSeconds);
    ticket.setRemaining(workSeconds, tokens);
  }

  awaitStart(ticket: Ticket, priority: Priority, onPosition: (ahead: number) => void): Promise<void> {
    if (ticket.state !== 'admitted')
      throw new Error(`A request that is ${ticket.state} waits to start. This is a bug.`);
    ticket.state = 'waiting';
    ticket.priority = priority;
    this.#waiting[priority].push(ticket);
    const started = new Promise<void>((resolve) => {
      ticket.onStart = resolve;
    });
    this.#startNext();
    ticket.onPosition = onPosition;
    this.#reportPositions();
    return started;
  }

  leave(ticket: Ticket): void {
    if (ticket.state === 'running') this.#running -= 1;
    if (ticket.state === 'waiting') {
      const line = this.#waiting[ticket.priority];
      line.splice(line.indexOf(ticket), 1);
    }
    ticket.state = 'left';
    if (!this.#alive.delete(ticket)) return;
    this.#startNext();
    this.#reportPositions();
  }

  #checkWork(before: number, more: number): void {
    const tooMuch = before + more - this.#limits.maxWorkSeconds;
    if (this.alive === 0 || tooMuch <= 0) return;
    this.#refuse(
      'queue_work',
      `The server has about ${Math.ceil(before)} seconds of work before it, and this request would add ${Math.ceil(more)}.`,
      Math.min(before, tooMuch) / this.#rates.parallelism,
    );
  }

  #refuse(reason: Refusal, what: string, seconds: number): never {
    const retryAfterSeconds = Math.max(1, Math.ceil(seconds));
    this.#onRefusal(reason);
    throw new AvocadoError('queue_full', `${what} Send it again in ${retryAfterSeconds} s.`, { retryAfterSeconds });
  }

  #startNext(): void {
    while (this.#running < this.#limits.maxRunning) {
      const priority = this.#turns.next(this.waiting);
      const ticket = priority === undefined ? undefined : this.#waiting[priority].shift();
      if (ticket === undefined) return;
      ticket.state = 'running';
      this.#running += 1;
      ticket.onStart();
    }
  }

  /** Tells each waiting request how many start before it if none comes or leaves. */
  #reportPositions(): void {
    const started = { interactive: 0, batch: 0 };
    const turns = this.#turns.fork();
    for (let ahead = 0; ; ahead += 1) {
      const { interactive, batch } = this.waiting;
      const priority = turns.next({ interactive: interactive - started.interactive, batch: batch - started.batch });
      if (priority === undefined) return;
      this.#waiting[priority][started[priority]]?.onPosition(ahead);
      started[priority] += 1;
    }
  }
}

function sum(tickets: Iterable<Ticket>, value: (ticket: Ticket) => number): number {
  let total = 0;
  for (const ticket of tickets) total += value(ticket);
  return total;
}
