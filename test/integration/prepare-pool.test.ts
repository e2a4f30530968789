import { mkdtemp, rm } from 'node:fs/promises';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AvocadoError } from '../../src/base/errors.ts';
import { Foreground } from '../../src/base/foreground.ts';
import { EarlySteps } from '../../src/features/early-steps.ts';
import { copyOfSteps, cutPatches } from '../../src/features/patches.ts';
import { createPreparePool, type PreparePool } from '../../src/features/pool.ts';
import { planMedia } from '../../src/media/plan.ts';
import { probeMedia } from '../../src/media/probe.ts';
import { resolveProfile } from '../../src/media/profile.ts';
import type { MediaPlan } from '../../src/media/types.ts';
import { decoderProcesses, stoppedDecoders } from '../fixtures/child-processes.ts';
import { golden } from '../fixtures/golden.ts';
import { makeClip } from '../fixtures/make-clip.ts';
import { PUBLISHED_PATCHES } from '../fixtures/media-cases.ts';
import { NORMALISATION } from '../fixtures/media-plan.ts';
import { sameBits } from '../fixtures/compare-numbers.ts';

const OPTIONS = { preprocessor: NORMALISATION, keepWaveform: false };

async function planOf(path: string): Promise<MediaPlan> {
  return planMedia(await probeMedia(path), resolveProfile('paper', {}, undefined), {
    ...PUBLISHED_PATCHES,
    useAudio: true,
  });
}

/** Of the decoders that run now. */
function nicenessOfDecoders(): number[] {
  return decoderProcesses().flatMap((child) => {
    try {
      return [getPriority(Number(child.split(' ')[1]))];
    } catch {
      return []; // it has just ended
    }
  });
}

async function until(holds: () => boolean, withinMs: number): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`It did not come true within ${withinMs} ms.`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('the prepare pool', () => {
  let directory: string;
  let long: MediaPlan;
  let short: MediaPlan;
  let pool: PreparePool;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'avocado-pool-'));
    // Slow to decode, quick to make: two minutes of 1080p, the same second over and over.
    const second = await makeClip(join(directory, 'second.mp4'), [
      '-f',
      'lavfi',
      '-i',
      'testsrc2=s=1920x1080:r=30:d=1',
      '-c:v',
      'libx264',
      '-preset',
      'ultrafast',
    ]);
    const path = await makeClip(join(directory, 'long.mp4'), ['-stream_loop', '119', '-i', second, '-c', 'copy']);
    long = await planOf(path);
    short = await planOf(golden('clips/av-4s.mp4'));
    pool = createPreparePool({ threads: 1 });
  });

  afterAll(async () => {
    await pool.close();
    await rm(directory, { recursive: true, force: true });
  });

  it('gives patches from another thread that equal those cut here, in memory of their own', async () => {
    const { frames } = await pool.prepare(short, OPTIONS);
    const patches = await pool.patches(copyOfSteps(frames!, 1, 3));
    expect(sameBits(patches, cutPatches(frames!, 1, 3))).toBe(true);
    expect(patches.byteLength).toBe(patches.buffer.byteLength);
    const next = await pool.patches(copyOfSteps(frames!, 0, 1), patches);
    expect(sameBits(next, cutPatches(frames!, 0, 1))).toBe(true);
    expect(patches.byteLength).toBe(0); // its memory was taken
  });

  it('gives steps before all is decoded, which are those of the result, and nothing after the end', async () => {
    const early = new EarlySteps();
    let hasEnded = false;
    const running = pool.prepare(short, OPTIONS, undefined, early).finally(() => (hasEnded = true));
    const first = await early.get(0, 1);
    expect(hasEnded).toBe(false);
    const { frames, startedOver } = await running;
    expect(startedOver).toBe(false);
    expect(sameBits(first!.data, copyOfSteps(frames!, 0, 1).data)).toBe(true);
    expect(await early.get(1, 2)).toBeUndefined();
  });

  it('leaves nothing in memory of what nobody holds any more', async () => {
    const picture = ['-f', 'lavfi', '-i', 'color=s=896x504:r=2:d=30', '-c:v', 'libx264', '-preset', 'ultrafast'];
    const plan = await planOf(await makeClip(join(directory, 'memory.mp4'), picture));
    const before = process.memoryUsage.rss();
    let bytes = 0;
    for (let run = 0; run < 12; run++) {
      const { frames } = await pool.prepare(plan, OPTIONS);
      await pool.patches(copyOfSteps(frames!, 0, 2));
      bytes += frames!.data.byteLength;
    }
    expect(process.memoryUsage.rss() - before).toBeLessThan(bytes / 2);
  });

  it('ends the decoder of a cancelled task before it answers, and works on', async () => {
    const controller = new AbortController();
    const running = pool.prepare(long, OPTIONS, controller.signal);
    const failed = expect(running).rejects.toMatchObject({ name: 'AvocadoError', code: 'aborted' });
    const own = getPriority();
    let niceness: readonly number[] = [];
    await until(() => (niceness = nicenessOfDecoders()).length > 0, 60_000);
    controller.abort();
    await failed;
    // Two minutes of full HD are heavy: their decoder leaves the processor to the model.
    expect(Math.min(...niceness)).toBe(Math.max(15, own));
    expect(getPriority()).toBe(own);
    expect(decoderProcesses()).toEqual([]);
    expect((await pool.prepare(short, OPTIONS)).frames?.frames).toBe(8);
  });

  it('lets a task go at once that is cancelled while it waits for a thread', async () => {
    const [first, second] = [new AbortController(), new AbortController()];
    const running = expect(pool.prepare(long, OPTIONS, first.signal)).rejects.toMatchObject({ code: 'aborted' });
    await until(() => decoderProcesses().length > 0, 60_000);
    const waiting = expect(pool.prepare(short, OPTIONS, second.signal)).rejects.toMatchObject({ code: 'aborted' });
    second.abort();
    await waiting;
    expect(decoderProcesses()).not.toEqual([]);
    first.abort();
    await running;
  });

  it('stops what it decodes behind while a client waits, and only that', async () => {
    const foreground = new Foreground();
    const held = createPreparePool({ threads: 1, foreground });
    const controller = new AbortController();
    const behind = expect(held.prepareBehind(long, OPTIONS, controller.signal)).rejects.toMatchObject({
      code: 'aborted',
    });
    await until(() => decoderProcesses().length > 0, 60_000);
    const leave = foreground.enter();
    await until(() => stoppedDecoders().includes(true), 60_000);
    // The client's own file is decoded meanwhile; a hold ends by itself after three seconds.
    expect((await held.prepare(short, OPTIONS)).frames?.frames).toBe(8);
    leave();
    await until(() => stoppedDecoders().length > 0 && !stoppedDecoders().includes(true), 60_000);
    foreground.enter();
    await until(() => stoppedDecoders().includes(true), 60_000);
    controller.abort(); // what is stopped can be cancelled
    await behind;
    expect(decoderProcesses()).toEqual([]);
    // What begins during a hold is held, and ends well after it.
    expect((await held.prepareBehind(short, OPTIONS)).frames?.frames).toBe(8);
    await held.close();
  });

  it('starts nothing for a request that is cancelled already', async () => {
    await expect(pool.prepare(long, OPTIONS, AbortSignal.abort())).rejects.toBeInstanceOf(AvocadoError);
    expect(decoderProcesses()).toEqual([]);
  });

  it("brings the decoder's error home with its code, and works on", async () => {
    const gone: MediaPlan = {
      ...short,
      audio: undefined,
      probe: { ...short.probe, path: join(directory, 'gone.mp4') },
    };
    const error: unknown = await pool.prepare(gone, OPTIONS).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(AvocadoError);
    expect(error).toMatchObject({ code: 'media_undecodable' });
    expect((await pool.prepare(short, OPTIONS)).audio?.tokens).toBe(100);
  });

  it('cancels what runs when it closes', async () => {
    const closing = createPreparePool({ threads: 1 });
    const running = expect(closing.prepare(long, OPTIONS)).rejects.toMatchObject({ code: 'aborted' });
    await until(() => decoderProcesses().length > 0, 60_000);
    await closing.close();
    await running;
    expect(decoderProcesses()).toEqual([]);
  });
});
