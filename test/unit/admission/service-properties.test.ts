// Whatever happens to requests and to the engine, in any order: each ends once, and nothing is left.
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import type { Captioner, Estimate } from '../../../src/captioner/captioner.ts';
import { AvocadoError } from '../../../src/base/errors.ts';
import type { AdmittedRequest } from '../../../src/admission/request.ts';
import type { RequestStage } from '../../../src/admission/types.ts';
import type { CaptionEvent } from '../../../src/output/events.ts';
import { isEnding } from '../../../src/output/ending.ts';
import { fakeCaptioner } from '../../fixtures/fake-captioner.ts';
import { fakeSource, type FakeSource } from '../../fixtures/fake-source.ts';
import { SeededRandom } from '../../fixtures/seeded-random.ts';
import { IDLE, job, runJob, serve, type Served, typesOf } from './serving.ts';

interface Mortal extends Captioner {
  /** everything in flight ends; estimates wait until it is back */
  die(forMs: number): void;
  inFlight: number;
  mostInFlight: number;
}

function newDeath(): AbortController {
  const death = new AbortController();
  setMaxListeners(0, death.signal);
  return death;
}

/** A captioner whose engine can die, that fails, throws, hangs and dawdles as the dice say. */
function mortalCaptioner(random: SeededRandom): Mortal {
  const words = Array.from({ length: 12 }, (_, at) => `w${at} `);
  const inner = fakeCaptioner(() => ({
    words,
    wordDelayMs: random.below(4),
    ...(random.below(12) === 0
      ? { error: { code: 'media_undecodable', message: (path: string) => `${path} is broken.` } }
      : {}),
    ...(random.below(15) === 0 ? { throws: new Error('out of cheese') } : {}),
    estimate: { decodeMegapixels: random.below(12_000), fits: random.below(15) !== 0 },
  }));
  let death = newDeath();
  let back: Promise<void> = Promise.resolve();
  const mortal: Mortal = {
    ...inner,
    inFlight: 0,
    mostInFlight: 0,
    die: (forMs) => {
      death.abort();
      death = newDeath();
      back = sleep(forMs);
    },
    submit: async (request, { signal, onEvent, admit }) => {
      await back;
      const died = death.signal;
      const either = AbortSignal.any([died, signal]);
      setMaxListeners(0, either);
      const state = { running: false };
      const start = async (estimate: Estimate): Promise<void> => {
        await admit?.(estimate);
        state.running = true;
        mortal.inFlight += 1;
        mortal.mostInFlight = Math.max(mortal.mostInFlight, mortal.inFlight);
      };
      const relay = (event: CaptionEvent): void => {
        const crashed = isEnding(event) && died.aborted && !signal.aborted;
        onEvent(crashed ? { type: 'caption-error', code: 'engine_unavailable', message: 'It crashed.' } : event);
      };
      try {
        await inner.submit(request, { signal: either, onEvent: relay, admit: start });
      } finally {
        if (state.running) mortal.inFlight -= 1;
      }
    },
  };
  return mortal;
}

interface Outcome {
  readonly endings: readonly CaptionEvent[];
  readonly leftEarly: boolean;
  readonly source: FakeSource;
}

function anySource(random: SeededRandom): FakeSource {
  const delaysMs = Array.from({ length: random.below(4) }, () =>
    random.below(20) === 0 ? Infinity : random.below(10),
  );
  const fails = random.below(12) === 0 ? { fails: new AvocadoError('media_unreachable', 'Nobody answers.') } : {};
  return fakeSource({ kind: random.pick(['url', 'upload', 'root', 'data'] as const), delaysMs, ...fails });
}

/** @returns the released source of one that was refused when its body had come */
async function anyRequest(random: SeededRandom, admitted: AdmittedRequest): Promise<Outcome | FakeSource> {
  const source = anySource(random);
  // Those that hang for ever need a deadline.
  const timeoutSeconds = random.below(3) === 0 ? 0.005 + random.unit() * 0.1 : 1;
  const of = job({}, { source, timeoutSeconds, priority: random.pick(['interactive', 'batch'] as const) });
  const leavesAfter = random.below(4) === 0 ? random.below(15) : Infinity;
  if (random.below(3) === 0)
    void sleep(random.below(60)).then(() => {
      admitted.abort();
    });
  const events: CaptionEvent[] = [];
  let leftEarly = false;
  try {
    await sleep(random.below(10)); // its body
    for await (const event of admitted.run(of)) {
      events.push(event);
      if (events.length > leavesAfter && !isEnding(event)) {
        leftEarly = true;
        break;
      }
    }
  } catch (error) {
    expect(error).toMatchObject({ code: 'queue_full' });
    return source;
  } finally {
    admitted.end();
  }
  return { endings: events.filter(isEnding), leftEarly, source };
}

function gaveUp({ endings, leftEarly }: Outcome): boolean {
  const ending = endings[0];
  return (
    leftEarly ||
    ending?.type === 'caption-aborted' ||
    (ending?.type === 'caption-error' && ending.code === 'deadline_exceeded')
  );
}

interface AnyRun {
  readonly served: Served;
  readonly captioner: Mortal;
  readonly outcomes: readonly Outcome[];
  readonly refused: number;
  readonly stages: readonly RequestStage[];
}

async function anyRun(seed: number): Promise<AnyRun> {
  const random = new SeededRandom(seed);
  const captioner = mortalCaptioner(random);
  const served = serve(captioner, { maxRequests: 12, prepareAhead: random.below(3), maxTimeoutSeconds: 2 });
  const running: Promise<Outcome | FakeSource>[] = [];
  let refused = 0;
  for (let number = 0; number < 60; number += 1) {
    try {
      running.push(anyRequest(random, served.service.admit(`r${number}`)));
    } catch (error) {
      expect(error).toMatchObject({ code: 'queue_full' });
      refused += 1;
    }
    if (random.below(10) === 0) served.service.cancel(`r${random.below(number + 1)}`);
    if (random.below(15) === 0) captioner.die(random.below(30));
    if (random.below(2) === 0) await sleep(random.below(12));
  }
  if (random.below(2) === 0) await served.service.stop(random.below(40));
  const ended = await Promise.all(running);
  const outcomes: Outcome[] = [];
  for (const one of ended) {
    if ('endings' in one) outcomes.push(one);
    else {
      expect(one.released).toBeGreaterThan(0);
      refused += 1;
    }
  }
  return { served, captioner, outcomes, refused, stages: served.cancelled };
}

describe('after any run of requests', () => {
  const endings = new Set<string>();

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('each has ended once and nothing is left (seed %i)', async (seed) => {
    const { served, captioner, outcomes, refused, stages } = await anyRun(seed);
    for (const outcome of outcomes) endings.add(outcome.endings[0]?.type ?? 'left early');
    for (const { endings: told, leftEarly, source } of outcomes) {
      expect(told).toHaveLength(leftEarly ? 0 : 1);
      expect(source.released).toBeGreaterThan(0);
    }
    expect(outcomes.length + refused).toBe(60);
    expect(stages).toHaveLength(outcomes.filter(gaveUp).length);
    expect(served.rejected.length).toBeGreaterThanOrEqual(refused);
    await vi.waitFor(() => {
      expect(captioner.inFlight).toBe(0);
    });
    // Batch requests in the engine hold no place against interactive ones.
    expect(captioner.mostInFlight).toBeLessThanOrEqual(2 * (captioner.model.slots + 2));
    expect(served.service.stats()).toMatchObject(IDLE);
  });

  it('every kind of ending was among them', () => {
    expect([...endings].sort()).toEqual(['caption-aborted', 'caption-end', 'caption-error', 'left early']);
  });
});

it('gives a request its ending whatever the disk says when its file is released', async () => {
  const { service } = serve(fakeCaptioner());
  const source = { ...fakeSource(), release: () => Promise.reject(new Error('EROFS')) };
  expect(typesOf(await runJob(service, job({}, { source }))).at(-1)).toBe('caption-end');
  const estimating = service.admit('another');
  expect(await estimating.estimate(job({}, { source }))).toHaveProperty('workSeconds');
  estimating.end();
  expect(service.stats().alive).toBe(0);
});
