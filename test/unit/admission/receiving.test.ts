import { describe, expect, it } from 'vitest';
import { Receiving, type Arrival } from '../../../src/admission/receiving.ts';
import type { AvocadoError } from '../../../src/base/errors.ts';

interface Body extends Arrival {
  late: number;
  dropped: AvocadoError | undefined;
}

function body(sender: string, late = 0): Body {
  const made: Body = {
    sender,
    late,
    dropped: undefined,
    behindMs: () => made.late,
    drop: (why) => (made.dropped = why),
  };
  return made;
}

describe('places of bodies that arrive', () => {
  it('are refused when all are taken by bodies that come', () => {
    let refused = 0;
    const places = new Receiving(4, () => (refused += 1));
    for (const sender of ['a', 'b', 'c', 'd']) places.enter(body(sender));
    expect(places.full).toBe(true);
    expect(() => {
      places.enter(body('e'));
    }).toThrow(expect.objectContaining({ code: 'queue_full', retryAfterSeconds: 5 }) as Error);
    expect(refused).toBe(1);
  });

  it('go half to one sender at most', () => {
    const places = new Receiving(4, () => undefined);
    const first = body('a');
    places.enter(first);
    places.enter(body('a'));
    expect(() => {
      places.enter(body('a'));
    }).toThrow('receiving 2 requests');
    places.enter(body('b'));
    places.leave(first);
    places.leave(first);
    places.enter(body('a'));
    expect(places.full).toBe(false);
  });

  it('pass from the slowest body of the sender, or of all, to one that needs its place', () => {
    const places = new Receiving(4, () => undefined);
    const [slow, slower, other] = [body('a', 6000), body('a', 7000), body('b', 9000)];
    for (const arrival of [slow, slower, other]) places.enter(arrival);
    places.enter(body('a'));
    expect([slow.dropped, slower.dropped?.code, other.dropped]).toEqual([undefined, 'deadline_exceeded', undefined]);
    places.enter(body('c'));
    expect(places.full).toBe(false);
    places.enter(body('d'));
    expect([slow.dropped, other.dropped?.code]).toEqual([undefined, 'deadline_exceeded']);
  });
});
