import { describe, expect, it } from 'vitest';
import type { AvocadoError } from '../../../src/base/errors.ts';
import { AdmissionQueue, type AdmissionLimits, type Ticket } from '../../../src/admission/queue.ts';
import type { Refusal } from '../../../src/admission/types.ts';
import type { Priority } from '../../../src/output/events.ts';
import { SeededRandom } from '../../fixtures/seeded-random.ts';

interface Opened {
  readonly queue: AdmissionQueue;
  readonly refusals: Refusal[];
  readonly pace: { averageSeconds: number; parallelism: number };
}

function open(limits: Partial<AdmissionLimits> = {}): Opened {
  const refusals: Refusal[] = [];
  const pace = { averageSeconds: 10, parallelism: 2 };
  const queue = new AdmissionQueue({ maxRequests: 8, maxWorkSeconds: 100, maxRunning: 2, ...limits }, pace, (reason) =>
    refusals.push(reason),
  );
  return { queue, refusals, pace };
}

function refusal(deed: () => unknown): AvocadoError {
  try {
    deed();
  } catch (error) {
    return error as AvocadoError;
  }
  throw new Error('It was let in.');
}

/** Asks for a turn; `order` hears when it comes. */
function line(
  queue: AdmissionQueue,
  order: string[],
  name: string,
  priority: Priority = 'interactive',
): { readonly ticket: Ticket; readonly positions: number[] } {
  const ticket = queue.admit();
  const positions: number[] = [];
  void ticket
    .awaitStart(priority, (ahead) => {
      if (positions.at(-1) !== ahead) positions.push(ahead);
    })
    .then(() => order.push(name));
  return { ticket, positions };
}

async function settled(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
}

describe('senders', () => {
  it('have all places while no other one asks', () => {
    const { queue, refusals } = open();
    const own = Array.from({ length: 8 }, () => queue.admit({ sender: 'a' }));
    expect(refusal(() => queue.admit({ sender: 'b' }))).toMatchObject({ code: 'queue_full' });
    own[0]?.leave();
    expect(refusal(() => queue.admit({ sender: 'a' }))).toMatchObject({ code: 'queue_full' });
    queue.admit({ sender: 'b' });
    expect(refusals).toEqual(['queue_count', 'queue_count']);
  });

  it('leave an eighth of the places to others who ask, and of the work', () => {
    const { queue, refusals } = open();
    queue.check('b');
    const own = Array.from({ length: 7 }, () => queue.admit({ sender: 'a' }));
    expect(refusal(() => queue.admit({ sender: 'a' }))).toMatchObject({
      code: 'queue_full',
      message: expect.stringContaining('7 requests of this key or address') as string,
    });
    own[0]?.setRemaining(1000, 1);
    const other = queue.admit({ sender: 'b' });
    other.setWork(12, 1);
    expect(
      refusal(() => {
        other.setWork(13, 1);
      }),
    ).toMatchObject({ code: 'queue_full' });
    expect(refusals).toEqual(['queue_count', 'queue_work']);
  });

  it('start in turn, however many requests one of them has', async () => {
    const { queue } = open();
    const order: string[] = [];
    const start = (name: string, sender: string): Ticket => {
      const ticket = queue.admit({ sender });
      void ticket.awaitStart('interactive', () => undefined).then(() => order.push(name));
      return ticket;
    };
    const [first] = ['a1', 'a2', 'a3', 'a4'].map((name) => start(name, 'a'));
    start('b1', 'b');
    let ahead = -1;
    const last = queue.admit({ sender: 'c' });
    void last.awaitStart('interactive', (count) => (ahead = count)).then(() => order.push('c1'));
    expect(ahead).toBe(1);
    first?.leave();
    await settled();
    expect(order).toEqual(['a1', 'a2', 'b1']);
    last.leave();
  });
});

describe('bounds', () => {
  it('refuses one more than it may hold, with the time until one has ended, and takes it then', () => {
    const { queue, refusals } = open({ maxRequests: 2 });
    const first = queue.admit();
    queue.admit();
    expect(refusal(() => queue.admit())).toMatchObject({
      code: 'queue_full',
      retryAfterSeconds: 5,
      message: expect.stringContaining('5 s') as string,
    });
    expect(refusals).toEqual(['queue_count']);
    first.leave();
    expect(queue.admit().workSeconds).toBe(10);
  });

  it('counts requests of which nothing is known as the average of the last ones', () => {
    const { queue, refusals } = open({ maxWorkSeconds: 25 });
    queue.admit();
    queue.admit();
    // 5 s of work too much, two at a time
    expect(refusal(() => queue.admit())).toMatchObject({ code: 'queue_full', retryAfterSeconds: 3 });
    expect(refusals).toEqual(['queue_work']);
    expect(queue.workSeconds).toBe(20);
  });

  it('refuses at the scales what is too much beside the others, but nothing that is alone', () => {
    const { queue, refusals } = open();
    const alone = queue.admit();
    alone.setWork(5000, 700);
    expect([queue.workSeconds, queue.tokens]).toEqual([5000, 700]);
    expect(refusal(() => queue.admit()).retryAfterSeconds).toBe(2455);
    alone.setRemaining(50, 20);
    const second = queue.admit();
    expect(
      refusal(() => {
        second.setWork(51, 1);
      }),
    ).toMatchObject({ code: 'queue_full', retryAfterSeconds: 1 });
    second.setWork(50, 1);
    expect(refusals).toEqual(['queue_work', 'queue_work']);
    expect([queue.workSeconds, queue.tokens]).toEqual([100, 21]);
  });

  it('tells how long the next one would wait', () => {
    const { queue } = open({ maxRunning: 2 });
    const order: string[] = [];
    const first = line(queue, order, 'first').ticket;
    expect(queue.secondsToStart).toBe(0);
    const second = line(queue, order, 'second').ticket;
    expect(queue.secondsToStart).toBe(5); // one of two equal ones has to end: 10 s of work at 2 s a second
    second.setRemaining(2, 0);
    expect(queue.secondsToStart).toBe(3);
    first.leave();
    expect(queue.secondsToStart).toBe(0);
  });
});

describe('turns', () => {
  it('come to so many at a time, in order, and pass to the next when one leaves', async () => {
    const { queue } = open({ maxRunning: 2 });
    const order: string[] = [];
    const lines = ['a', 'b', 'c', 'd'].map((name) => line(queue, order, name));
    await settled();
    expect(order).toEqual(['a', 'b']);
    expect(queue.waiting).toEqual({ interactive: 2, batch: 0 });
    lines[1]!.ticket.leave();
    await settled();
    expect(order).toEqual(['a', 'b', 'c']);
    expect(lines.map(({ positions }) => positions)).toEqual([[], [], [0], [1, 0]]);
  });

  it('come to interactive requests first, and to batch ones every fourth time', async () => {
    const { queue } = open({ maxRunning: 1, maxRequests: 20, maxWorkSeconds: 1000 });
    const order: string[] = [];
    let running = line(queue, order, 'first').ticket;
    const tickets = new Map([['first', running]]);
    const lines = new Map([
      ...['b1', 'b2', 'b3'].map((name) => [name, line(queue, order, name, 'batch')] as const),
      ...Array.from({ length: 7 }, (_, at) => [`i${at}`, line(queue, order, `i${at}`)] as const),
    ]);
    for (const [name, { ticket }] of lines) tickets.set(name, ticket);
    const last = lines.get('b3')!;
    expect(last.positions.at(-1)).toBe(9);
    for (let step = 0; step < 4; step += 1) {
      running.leave();
      await settled();
      running = tickets.get(order.at(-1)!)!;
    }
    // A batch request that runs holds no place against an interactive one.
    expect(order).toEqual(['first', 'i0', 'i1', 'i2', 'b1', 'i3']);
    tickets.get('b1')!.leave();
    for (let step = 0; step < 4; step += 1) {
      running.leave();
      await settled();
      running = tickets.get(order.at(-1)!)!;
    }
    expect(order.slice(6)).toEqual(['i4', 'i5', 'i6', 'b2']);
    tickets.get('b2')!.leave();
    running.leave();
    await settled();
    expect(order.slice(10)).toEqual(['b3']);
  });

  it('come to an interactive request while batch ones hold all places, but not the other way round', async () => {
    const { queue } = open({ maxRunning: 2, maxRequests: 20, maxWorkSeconds: 1000 });
    const order: string[] = [];
    const tickets = ['b1', 'b2', 'b3'].map((name) => line(queue, order, name, 'batch').ticket);
    await settled();
    for (const name of ['i1', 'i2', 'i3']) tickets.push(line(queue, order, name).ticket);
    await settled();
    expect(order).toEqual(['b1', 'b2', 'i1', 'i2']);
    expect(queue.running).toBe(4);
    tickets[0]!.leave();
    tickets[1]!.leave();
    await settled();
    expect(order).toHaveLength(4); // two interactive ones run: no place for b3
  });

  it('are never given to one that has left the line', async () => {
    const { queue } = open({ maxRunning: 1 });
    const order: string[] = [];
    const [running, , gone] = ['running', 'next', 'gone', 'last'].map((name) => line(queue, order, name));
    gone!.ticket.leave();
    gone!.ticket.leave();
    expect(queue.waiting.interactive).toBe(2);
    running!.ticket.leave();
    await settled();
    expect(order).toEqual(['running', 'next']);
    expect(queue.running).toBe(1);
  });

  it('can be asked for once', () => {
    const { queue } = open();
    const ticket = queue.admit();
    void ticket.awaitStart('batch', () => undefined);
    expect(() => {
      void ticket.awaitStart('batch', () => undefined);
    }).toThrow('This is a bug.');
  });
});

describe('files that take long to decode', () => {
  it('run one at a time, and the others pass those that wait', async () => {
    const { queue } = open({ maxRunning: 3, maxWorkSeconds: 1000 });
    const order: string[] = [];
    const add = (name: string, long: boolean): Ticket => {
      const ticket = queue.admit();
      ticket.setWork(20, 1, long);
      void ticket.awaitStart('interactive', () => undefined).then(() => order.push(name));
      return ticket;
    };
    const [first] = ['long 1', 'long 2', 'long 3'].map((name) => add(name, true));
    const clips = ['clip 1', 'clip 2', 'clip 3'].map((name) => add(name, false));
    await settled();
    expect(order).toEqual(['long 1', 'clip 1', 'clip 2']);
    clips[0]!.leave();
    await settled();
    expect(order.at(-1)).toBe('clip 3');
    clips[1]!.leave();
    await settled();
    expect(order).toHaveLength(4); // a place is free, and no second long one takes it
    first!.decoded();
    await settled();
    expect(order.at(-1)).toBe('long 2');
  });

  it('are weighed among themselves, and never against a clip', () => {
    const { queue } = open({ maxWorkSeconds: 100 });
    const [first, second, clip] = [queue.admit(), queue.admit(), queue.admit()];
    first.setWork(5000, 1, true);
    expect(
      refusal(() => {
        second.setWork(40, 1, true);
      }),
    ).toMatchObject({ code: 'queue_full' });
    second.leave();
    clip.setWork(80, 1);
    expect(queue.full).toBe(false);
    expect(queue.admit().workSeconds).toBe(10);
  });

  it('are told that clips start before them', () => {
    const { queue } = open({ maxRunning: 1, maxWorkSeconds: 1000 });
    const heard = new Map<string, number>();
    for (const [name, long] of [
      ['a', true],
      ['b', true],
      ['c', false],
      ['d', true],
    ] as const) {
      const ticket = queue.admit();
      ticket.setWork(1, 1, long);
      void ticket.awaitStart('interactive', (ahead) => heard.set(name, ahead));
    }
    expect(Object.fromEntries(heard)).toEqual({ c: 0, b: 1, d: 2 });
  });
});

describe('after any run', () => {
  it('of enter, weigh, turn and leave, nothing is left and nobody starved', async () => {
    for (let seed = 1; seed <= 60; seed += 1) await anyRun(seed);
  });
});

/** Random requests through a small queue, with what must hold after every step. */
async function anyRun(seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  const below = (most: number): number => random.below(most);
  const turns = 1 + below(3);
  const limits = { maxRequests: 2 + below(10), maxWorkSeconds: 20 + below(200), maxRunning: turns };
  const { queue, refusals } = open(limits);
  const alive: Ticket[] = [];
  const waiting = new Set<Ticket>();
  let refused = 0;
  const attempt = (deed: () => void): void => {
    try {
      deed();
    } catch (error) {
      expect((error as AvocadoError).code).toBe('queue_full');
      expect((error as AvocadoError).retryAfterSeconds).toBeGreaterThanOrEqual(1);
      refused += 1;
    }
  };
  const drop = (ticket: Ticket): void => {
    ticket.leave();
    alive.splice(alive.indexOf(ticket), 1);
    waiting.delete(ticket);
  };
  for (let step = 0; step < 200; step += 1) {
    const ticket = alive[below(alive.length)];
    const deed = below(5);
    if (deed <= 1)
      attempt(() => {
        alive.push(queue.admit());
      });
    else if (ticket === undefined) continue;
    else if (deed === 2)
      attempt(() => {
        ticket.setWork(below(60), below(500), ticket.state === 'admitted' && below(3) === 0);
      });
    else if (deed === 3 && ticket.state === 'admitted') {
      waiting.add(ticket);
      void ticket
        .awaitStart(random.pick(['batch', 'interactive'] as const), () => undefined)
        .then(() => waiting.delete(ticket));
    } else if (deed === 4) drop(ticket);
    await Promise.resolve();
    expect(queue.alive).toBe(alive.length);
    const running = alive.filter(({ state }) => state === 'running');
    expect(queue.running).toBe(running.length);
    for (const priority of ['interactive', 'batch'])
      expect(running.filter((each) => each.priority === priority).length).toBeLessThanOrEqual(turns);
    expect(queue.waiting.interactive + queue.waiting.batch).toBe(
      alive.filter(({ state }) => state === 'waiting').length,
    );
    expect(alive.filter(({ state, long }) => state === 'running' && long).length).toBeLessThanOrEqual(1);
    const idle = queue.running < turns;
    if (idle) expect(alive.filter(({ state, long }) => state === 'waiting' && !long)).toEqual([]);
  }
  // Everybody still in the line gets a turn as the others leave.
  while (alive.some(({ state }) => state === 'waiting')) {
    drop(alive.find(({ state }) => state === 'running')!);
    await settled();
    expect(waiting.size).toBe(alive.filter(({ state }) => state === 'waiting').length);
  }
  for (const ticket of [...alive]) drop(ticket);
  expect([queue.alive, queue.running, queue.workSeconds, queue.tokens, queue.secondsToStart]).toEqual([0, 0, 0, 0, 0]);
  expect(refusals).toHaveLength(refused);
}
