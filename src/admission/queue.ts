// Admission policy: which requests are admitted, and which starts next. No clock, no engine; seconds
// are estimates from outside.
import { AvocadoError } from '../base/errors.ts';
import { PriorityTurns, type Priority } from '../base/priority-turns.ts';
import { RecentMap } from '../base/recent-map.ts';
import type { Refusal } from './types.ts';

export interface AdmissionLimits {
  /** most admitted requests */
  readonly maxRequests: number;
  /** most estimated seconds of work admitted; a request alone is never too much */
  readonly maxWorkSeconds: number;
  /** most requests in the engine at a time; interactive ones do not count the batch ones, whose slots they may take */
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
  /** its file takes long to decode: see AdmissionQueue */
  long = false;
  /** of the server itself, not of a client: it is not refused, and no client is refused because of it */
  readonly background: boolean;
  /** the key or address that sent it; undefined: unknown, and alone */
  readonly sender: string | undefined;
  onStart: () => void = () => undefined;
  onPosition: (ahead: number) => void = () => undefined;

  constructor(
    queue: AdmissionQueue,
    workSeconds: number,
    { background = false, sender }: Pick<Partial<Ticket>, 'background' | 'sender'>,
  ) {
    this.queue = queue;
    this.workSeconds = workSeconds;
    this.background = background;
    this.sender = sender;
  }

  /**
   * Sets the estimated work.
   * @param long the file takes long to decode
   * @throws AvocadoError `queue_full` when it does not fit beside the others
   */
  setWork(workSeconds: number, tokens: number, long = false): void {
    this.queue.setWork(this, workSeconds, tokens, long);
  }

  /** Its file is decoded: from now on it is like the others. */
  decoded(): void {
    this.queue.decoded(this);
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

/** Of the places and the work that may be admitted, what one sender leaves to the others, while there are others. */
const SHARE_OF_OTHERS = 1 / 8;
/** Others are there while one of them is among so many requests, in multiples of the places. */
const OTHERS_COUNT = 4;
/** Long files in the engine at a time: another decoder stays free for the others. */
const MAX_LONG_RUNNING = 1;

/**
 * Requests whose files take long to decode have a lane of their own: one runs at a time, others pass those that wait,
 * and the work of one lane is never held against a request of the other. Of those that wait, one whose sender has the
 * fewest in the engine starts next.
 */
export class AdmissionQueue {
  readonly #limits: AdmissionLimits;
  readonly #rates: WorkRates;
  readonly #turns = new PriorityTurns();
  readonly #onRefusal: (reason: Refusal) => void;
  readonly #alive = new Set<Ticket>();
  readonly #waiting: Record<Priority, Ticket[]> = { interactive: [], batch: [] };
  readonly #running: Record<Priority, number> = { interactive: 0, batch: 0 };
  readonly #runningBySender = new Counts();
  /** requests for a place, admitted or not, and the number of the last one of each of the last two senders */
  #asks = 0;
  readonly #asked = new RecentMap<string, number>(2);
  #longRunning = 0;

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
    if (this.#clients >= this.#limits.maxRequests) return true;
    const others = this.#lane(false);
    return others.length > 0 && workOf(others) >= this.#limits.maxWorkSeconds;
  }

  get running(): number {
    return this.#running.interactive + this.#running.batch;
  }

  get waiting(): Readonly<Record<Priority, number>> {
    return { interactive: this.#waiting.interactive.length, batch: this.#waiting.batch.length };
  }

  get workSeconds(): number {
    return workOf(this.#alive);
  }

  get tokens(): number {
    return sum(this.#alive, (ticket) => ticket.tokens);
  }

  /** Seconds until a request admitted now would start. */
  get secondsToStart(): number {
    if (this.running < this.#limits.maxRunning) return 0;
    // By then all but `maxRunning - 1` have ended, each with the average work of those admitted.
    return (this.workSeconds * (1 - (this.#limits.maxRunning - 1) / this.alive)) / this.#rates.parallelism;
  }

  /** @throws AvocadoError `queue_full` when the next request of the sender would be refused */
  check(sender?: string): void {
    this.#asks += 1;
    if (sender !== undefined) this.#asked.set(sender, this.#asks);
    const { averageSeconds, parallelism } = this.#rates;
    const { maxRequests } = this.#limits;
    const clients = this.#clients;
    if (clients >= maxRequests)
      this.#refuse(
        'queue_count',
        `The server is busy with ${clients} requests and takes no more.`,
        this.workSeconds / this.alive / parallelism,
      );
    const own = sum(this.#alive, (ticket) => (sender !== undefined && ticket.sender === sender ? 1 : 0));
    const mostOfOne = maxRequests - Math.floor(maxRequests * SHARE_OF_OTHERS);
    if (own >= mostOfOne && this.#hasOthers(sender))
      this.#refuse(
        'queue_count',
        `The server is busy with ${own} requests of this key or address, and its last places are for others.`,
        this.workSeconds / this.alive / parallelism,
      );
    this.#checkWork(this.#lane(false), averageSeconds, sender);
  }

  /** @throws AvocadoError `queue_full` */
  admit(of: Pick<Partial<Ticket>, 'background' | 'sender'> = {}): Ticket {
    if (of.background !== true) this.check(of.sender);
    const ticket = new Ticket(this, this.#rates.averageSeconds, of);
    this.#alive.add(ticket);
    return ticket;
  }

  setWork(ticket: Ticket, workSeconds: number, tokens: number, long: boolean): void {
    const lane = ticket.state === 'admitted' ? long : ticket.long;
    const others = this.#lane(lane).filter((other) => other !== ticket);
    if (!ticket.background) this.#checkWork(others, workSeconds, ticket.sender);
    ticket.setRemaining(workSeconds, tokens);
    ticket.long = lane;
  }

  decoded(ticket: Ticket): void {
    if (!ticket.long) return;
    if (ticket.state === 'running') this.#longRunning -= 1;
    ticket.long = false;
    this.#startNext();
    this.#reportPositions();
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
    if (ticket.state === 'running') {
      this.#running[ticket.priority] -= 1;
      this.#runningBySender.add(ticket.sender, -1);
      if (ticket.long) this.#longRunning -= 1;
    }
    if (ticket.state === 'waiting') remove(this.#waiting[ticket.priority], ticket);
    ticket.state = 'left';
    if (!this.#alive.delete(ticket)) return;
    this.#startNext();
    this.#reportPositions();
  }

  /** What clients have in a lane. */
  #lane(long: boolean): readonly Ticket[] {
    return [...this.#alive].filter((ticket) => ticket.long === long && !ticket.background);
  }

  get #clients(): number {
    return sum(this.#alive, ({ background }) => (background ? 0 : 1));
  }

  #hasOthers(sender: string | undefined): boolean {
    const since = this.#asks - OTHERS_COUNT * this.#limits.maxRequests;
    return [...this.#asked].some(([other, ask]) => other !== sender && ask > since);
  }

  #checkWork(others: readonly Ticket[], more: number, sender: string | undefined): void {
    const isFirst = sender !== undefined && others.every((other) => other.sender !== sender);
    const mostOfOthers = isFirst ? this.#limits.maxWorkSeconds * (1 - SHARE_OF_OTHERS) : Infinity;
    const before = Math.min(workOf(others), mostOfOthers);
    const tooMuch = before + more - this.#limits.maxWorkSeconds;
    if (others.length === 0 || tooMuch <= 0) return;
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
    const { maxRunning } = this.#limits;
    for (;;) {
      const isOpen = { interactive: this.#running.interactive < maxRunning, batch: this.running < maxRunning };
      const ticket = takeNext(this.#waiting, this.#turns, this.#longRunning, this.#runningBySender, isOpen);
      if (ticket === undefined) return;
      ticket.state = 'running';
      this.#running[ticket.priority] += 1;
      this.#runningBySender.add(ticket.sender, 1);
      if (ticket.long) this.#longRunning += 1;
      ticket.onStart();
    }
  }

  /** Tells each waiting request how many start before it if none comes or leaves. */
  #reportPositions(): void {
    const { interactive, batch } = this.#waiting;
    const lines = { interactive: [...interactive], batch: [...batch] };
    const turns = this.#turns.fork();
    const bySender = this.#runningBySender.fork();
    let longs = this.#longRunning;
    for (let ahead = 0; lines.interactive.length + lines.batch.length > 0; ahead += 1) {
      // Where only long ones are left, one after the other starts.
      const ticket = takeNext(lines, turns, longs, bySender) ?? takeNext(lines, turns, 0, bySender);
      bySender.add(ticket?.sender, 1);
      if (ticket?.long === true) longs += 1;
      ticket?.onPosition(ahead);
    }
  }
}

/** How many each sender has; unknown ones have none. */
class Counts {
  readonly #counts: Map<string, number>;

  constructor(counts: Iterable<readonly [string, number]> = []) {
    this.#counts = new Map(counts);
  }

  of(sender: string | undefined): number {
    return sender === undefined ? 0 : (this.#counts.get(sender) ?? 0);
  }

  add(sender: string | undefined, change: number): void {
    if (sender === undefined) return;
    const count = this.of(sender) + change;
    if (count === 0) this.#counts.delete(sender);
    else this.#counts.set(sender, count);
  }

  fork(): Counts {
    return new Counts(this.#counts);
  }
}

type Lines = Readonly<Record<Priority, Ticket[]>>;

const BOTH = { interactive: true, batch: true };

/**
 * Takes the request that starts next out of its line.
 * @param longs long ones that run
 * @param running of each sender
 * @param isOpen whether one of that priority may start now
 */
function takeNext(
  lines: Lines,
  turns: PriorityTurns,
  longs: number,
  running: Counts,
  isOpen: Readonly<Record<Priority, boolean>> = BOTH,
): Ticket | undefined {
  const mayStart = ({ long, priority }: Ticket): boolean => isOpen[priority] && (!long || longs < MAX_LONG_RUNNING);
  const ready = { interactive: lines.interactive.filter(mayStart), batch: lines.batch.filter(mayStart) };
  const priority = turns.next({ interactive: ready.interactive.length, batch: ready.batch.length });
  const [first, ...others] = priority === undefined ? [] : ready[priority];
  const ticket = others.reduce(
    (best, other) => (best !== undefined && running.of(other.sender) < running.of(best.sender) ? other : best),
    first,
  );
  if (ticket !== undefined) remove(lines[ticket.priority], ticket);
  return ticket;
}

function remove(line: Ticket[], ticket: Ticket): void {
  line.splice(line.indexOf(ticket), 1);
}

function workOf(tickets: Iterable<Ticket>): number {
  return sum(tickets, (ticket) => ticket.workSeconds);
}

function sum(tickets: Iterable<Ticket>, value: (ticket: Ticket) => number): number {
  let total = 0;
  for (const ticket of tickets) total += value(ticket);
  return total;
}
