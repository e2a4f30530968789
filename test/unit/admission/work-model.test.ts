import { describe, expect, it } from 'vitest';
import type { Estimate } from '../../../src/captioner/captioner.ts';
import { isLong, secondsOf, WorkModel } from '../../../src/admission/work-model.ts';
import type { CaptionEnd } from '../../../src/output/events.ts';

function estimate(seconds: number, side = 500, more: Partial<Estimate> = {}): Estimate {
  return {
    kind: 'video',
    durationSeconds: seconds,
    decodeMegapixels: (seconds * 30 * side ** 2) / 1e6,
    packets: seconds * 75,
    video: { frames: seconds * 2, sampleFps: 2, width: side, height: side, tokens: 100 },
    audio: { present: true, used: true, seconds, tokens: seconds * 25 },
    promptTokens: { text: 100, video: 100, audio: seconds * 25, image: 0, total: 200 + seconds * 25 },
    maxTokens: 2048,
    context: 32_768,
    fits: true,
    profile: 'nano@1',
    ...more,
  };
}

/**
 * A caption of a machine that needs 0.3 s a file, 2 ms a decoded megapixel or second of sound, 1 ms a token of media,
 * 2 ms a prompt token and 10 ms a generated one.
 */
function finished(
  of: Estimate,
  completionTokens: number,
  samples = 1,
): Pick<CaptionEnd, 'usage' | 'others' | 'timings'> {
  const { total, ...byModality } = of.promptTokens;
  const sample = { caption: '', finishReason: 'stop' as const, tokenIds: [], logprobs: [] };
  return {
    usage: {
      promptTokens: total,
      completionTokens,
      totalTokens: total + completionTokens,
      promptTokensByModality: byModality,
      cachedTokens: 0,
    },
    others: Array.from({ length: samples - 1 }, () => sample),
    timings: {
      totalSeconds: 100,
      firstTokenSeconds: 1,
      tokensPerSecond: 100,
      stages: {
        queue: 50,
        fetch: 30,
        decode: 0.3 + of.decodeMegapixels * 0.002,
        audio: of.audio.seconds * 0.002,
        vision: (total - byModality.text) * 0.001,
        prefill: total * 0.002,
        generate: completionTokens * 0.01,
      },
    },
  };
}

describe('WorkModel', () => {
  it('says something of use before it has seen anything, more for more', () => {
    const model = new WorkModel();
    const [short, long, large] = [estimate(4), estimate(400), estimate(4, 2000)].map((of) =>
      secondsOf(model.work(of, 1)),
    );
    expect(short).toBeGreaterThan(0);
    expect(long).toBeGreaterThan(short!);
    expect(large).toBeGreaterThan(short!);
    expect(model.averageSeconds).toBeGreaterThan(0);
    expect(model.parallelism).toBe(1);
  });

  it('learns the rates of the machine from captions that ended, whatever their sizes', () => {
    const model = new WorkModel();
    for (const seconds of [4, 30, 8, 60, 12, 100, 4, 4, 20, 45]) {
      const of = estimate(seconds);
      model.learn(of, finished(of, 120), false);
    }
    const of = estimate(50);
    const work = model.work(of, 1);
    expect(work.decodeSeconds).toBeCloseTo(0.3 + 0.002 * (of.decodeMegapixels + 50), 1);
    expect(work.encodeSeconds).toBeCloseTo(0.001 * (100 + 50 * 25), 1);
    expect(work.prefillSeconds).toBeCloseTo(of.promptTokens.total * 0.002, 1);
    expect(work.completionTokens).toBeGreaterThan(115);
    expect(work.completionTokens).toBeLessThan(145);
    expect(work.generateSeconds).toBeCloseTo(1.2, 0);
    expect(work.tokens).toBe(of.promptTokens.total + Math.ceil(work.completionTokens));
  });

  it('prices what the decoder must make, not what the model sees, and tells which files are long', () => {
    const model = new WorkModel();
    const clip = estimate(30);
    const bomb = { ...clip, decodeMegapixels: 2000 * 34.8 }; // 2,000 frames of 5900x5900 in a file of 46 kB
    expect(model.work(bomb, 1).decodeSeconds).toBeGreaterThan(100 * model.work(clip, 1).decodeSeconds);
    expect([clip, bomb].map((of) => isLong(model.work(of, 1)))).toEqual([false, true]);
    const shreds = { ...clip, packets: 1e6 };
    const more = model.work(shreds, 1).decodeSeconds - model.work(clip, 1).decodeSeconds;
    expect(more).toBeGreaterThan(5);
  });

  it('is not led astray by one long file, nor by answers from the cache', () => {
    const model = new WorkModel();
    const clip = estimate(10);
    for (let caption = 0; caption < 20; caption += 1) model.learn(clip, finished(clip, 100), false);
    const before = model.work(clip, 1).decodeSeconds;
    const average = model.averageSeconds;
    const bomb = { ...clip, decodeMegapixels: 70_000 };
    const ended = finished(bomb, 100);
    const stages = { ...ended.timings.stages, decode: 10 * 0.002 * 70_000 };
    model.learn(bomb, { ...ended, timings: { ...ended.timings, stages } }, false);
    expect(model.averageSeconds).toBe(average);
    for (let caption = 0; caption < 10; caption += 1) model.learn(clip, finished(clip, 100), false);
    expect(model.work(clip, 1).decodeSeconds / before).toBeLessThan(1.7);
    const learned = model.work(clip, 1).decodeSeconds;
    const cached = finished(clip, 100);
    const shared = { ...cached, timings: { ...cached.timings, stages: { probe: 0, shared: 0.1, prefill: 0.1 } } };
    for (let caption = 0; caption < 20; caption += 1) model.learn(clip, shared, false);
    expect(model.work(clip, 1).decodeSeconds).toBe(learned);
  });

  it('follows a machine that becomes slower', () => {
    const model = new WorkModel();
    const of = estimate(10);
    for (let caption = 0; caption < 20; caption += 1) model.learn(of, finished(of, 100), false);
    const before = secondsOf(model.work(of, 1));
    const slow = finished(of, 100);
    const stages = Object.fromEntries(
      Object.entries(slow.timings.stages).map(([name, seconds]) => [name, seconds * 10]),
    );
    for (let caption = 0; caption < 20; caption += 1)
      model.learn(of, { ...slow, timings: { ...slow.timings, stages } }, false);
    const after = secondsOf(model.work(of, 1));
    expect(after / before).toBeGreaterThan(8);
    expect(model.averageSeconds).toBeCloseTo(after, 0);
  });

  it('counts every sample, and no more tokens than the caption may have', () => {
    const model = new WorkModel();
    const of = estimate(4);
    for (let caption = 0; caption < 30; caption += 1) model.learn(of, finished(of, 400, 4), false);
    expect(model.work(of, 1).completionTokens).toBeCloseTo(100, 0);
    expect(model.work(of, 3).completionTokens).toBeCloseTo(300, 0);
    expect(model.work(estimate(4, 500, { maxTokens: 10 }), 3).completionTokens).toBe(30);
  });

  it('does not take a wait for a slot for slow prefill, nor what a cache has saved for fast one', () => {
    const model = new WorkModel();
    const of = estimate(4);
    const before = model.work(of, 1).prefillSeconds;
    const waited = finished(of, 100);
    model.learn(
      of,
      { ...waited, timings: { ...waited.timings, stages: { ...waited.timings.stages, prefill: 1000 } } },
      true,
    );
    const cached = finished(of, 100);
    const usage = { ...cached.usage, cachedTokens: of.promptTokens.total };
    model.learn(of, { ...cached, usage, timings: { ...cached.timings, stages: { prefill: 0 } } }, false);
    expect(model.work(of, 1).prefillSeconds).toBe(before);
  });

  it('learns how well captions share the machine', () => {
    const model = new WorkModel();
    for (let caption = 0; caption < 20; caption += 1) model.learnParallelism(3, 4, 4);
    expect(model.parallelism).toBeCloseTo(3, 1);
  });

  it('takes sound and pictures', () => {
    const model = new WorkModel();
    const sound = estimate(60, 500, { kind: 'audio' });
    const withoutVideo: Estimate = { ...sound };
    delete (withoutVideo as { video?: unknown }).video;
    const picture = estimate(0, 500, { kind: 'image', durationSeconds: 0 });
    for (const of of [withoutVideo, picture]) {
      expect(secondsOf(model.work(of, 1))).toBeGreaterThan(0);
      model.learn(of, finished(of, 50), false);
      expect(Number.isFinite(secondsOf(model.work(of, 1)))).toBe(true);
    }
  });
});
