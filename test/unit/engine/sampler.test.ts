// Fixture: test/fixtures/sampling/hf-logits-processors.json, made by make_sampling.py beside it (transformers 5.18.0).
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { selectCandidates } from '../../../src/engine/candidates.ts';
import { Random } from '../../../src/base/random.ts';
import { RepetitionPenalty } from '../../../src/engine/sampler.ts';
import { Sampler } from '../../../src/engine/sampler.ts';
import type { SamplingParams } from '../../../src/engine/types.ts';
import { GREEDY } from './requests.ts';

interface Case {
  temperature: number;
  topK: number;
  topP: number;
  repetitionPenalty: number;
  logits: number[];
  promptIds: number[];
  keptIds: number[];
  probabilities: number[];
  greedyId: number;
  logprobs: number[];
}

const fixture = new URL('../../fixtures/sampling/hf-logits-processors.json', import.meta.url);
const { cases } = JSON.parse(readFileSync(fixture, 'utf8')) as { cases: Case[] };
const NO_PROMPT = new Int32Array(0);
const OPEN = { temperature: 1, minP: 0, topK: 0, topP: 1 };

/** Probability of every token that may be drawn. */
function distribution(
  scores: Float32Array,
  limits: Pick<Case, 'temperature' | 'topK' | 'topP'> & { readonly minP?: number },
): Map<number, number> {
  const { ids, weights } = selectCandidates(scores, { minP: 0, ...limits });
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return new Map([...ids].map((id, index) => [id, (weights[index] ?? 0) / total]));
}

describe('Sampler beside transformers', () => {
  it.each(cases)(
    'keeps the same tokens with the same probabilities: temperature $temperature, top_k $topK, top_p $topP, penalty $repetitionPenalty',
    (sample) => {
      const logits = Float32Array.from(sample.logits);
      const penalty = new RepetitionPenalty(sample.repetitionPenalty, Int32Array.from(sample.promptIds));
      const kept = penalty.during(logits, () => distribution(logits, sample));
      expect([...kept.keys()].sort((left, right) => left - right)).toEqual(sample.keptIds);
      sample.keptIds.forEach((id, index) => {
        expect(kept.get(id)).toBeCloseTo(sample.probabilities[index] ?? NaN, 6);
      });
      expect(logits).toEqual(Float32Array.from(sample.logits));
    },
  );

  it.each(cases)(
    'takes the same greedy token under penalty $repetitionPenalty, with the log-probability of the unmodified logits',
    (sample) => {
      const logits = Float32Array.from(sample.logits);
      const params = { ...GREEDY, repetitionPenalty: sample.repetitionPenalty };
      const { id, logprob } = new Sampler(params, Int32Array.from(sample.promptIds), 0).sample(logits);
      expect(id).toBe(sample.greedyId);
      expect(logprob).toBeCloseTo(sample.logprobs[id] ?? NaN, 6);
      expect(logits).toEqual(Float32Array.from(sample.logits));
    },
  );

  it.each(cases)(
    'draws each token as often as its probability says: temperature $temperature, top_k $topK, top_p $topP',
    (sample) => {
      const logits = Float32Array.from(sample.logits);
      const draws = 3000;
      const params = { ...GREEDY, ...sample };
      const prompt = Int32Array.from(sample.promptIds);
      const counts = new Map<number, number>();
      for (let seed = 0; seed < draws; seed++) {
        const { id } = new Sampler(params, prompt, seed).sample(logits);
        counts.set(id, (counts.get(id) ?? 0) + 1);
      }
      for (const id of counts.keys()) expect(sample.keptIds).toContain(id);
      sample.keptIds.forEach((id, index) => {
        const probability = sample.probabilities[index] ?? 0;
        const deviation = Math.sqrt(draws * probability * (1 - probability));
        expect(Math.abs((counts.get(id) ?? 0) - draws * probability)).toBeLessThan(5 * deviation + 3);
      });
    },
  );
});

describe('Sampler', () => {
  // exp of the scores: 0.4, 0.3, 0.2, 0.1 in this order of ids
  const table = Float32Array.of(Math.log(0.2), Math.log(0.4), Math.log(0.1), Math.log(0.3));
  const kept = (limits: Partial<Pick<Case, 'temperature' | 'topK' | 'topP'>>): number[] => [
    ...distribution(table, { temperature: 1, topK: 0, topP: 1, ...limits }).keys(),
  ];

  it('cuts a small table as one does by hand', () => {
    expect(kept({ topP: 0.35 })).toEqual([1]);
    expect(kept({ topP: 0.65 })).toEqual([1, 3]);
    expect(kept({ topP: 0.75 })).toEqual([1, 3, 0]);
    expect(kept({ topP: 0.95 })).toEqual([1, 3, 0, 2]);
    expect(kept({ topK: 1 })).toEqual([1]);
    expect(kept({ topK: 3 })).toEqual([1, 3, 0]);
    expect(kept({ topK: 2, topP: 0.55 })).toEqual([1]); // 0.4 of 0.7 is already 0.571
    expect(kept({ topK: 2, topP: 0.6 })).toEqual([1, 3]);
  });

  it('always leaves at least one token, and the lower id goes first among equals', () => {
    expect(kept({ topP: 1e-9 })).toEqual([1]);
    expect(kept({ temperature: 1e-6, topK: 4 })).toEqual([1]);
    const equal = new Float32Array(1000).fill(1.5);
    expect([...distribution(equal, { temperature: 1, topK: 0, topP: 0.0025 }).keys()]).toEqual([0, 1, 2]);
    // HF keeps all that tie with the k-th
    expect(distribution(equal, { temperature: 1, topK: 3, topP: 1 }).size).toBe(1000);
  });

  it('selects the same nucleus as sorting the whole vocabulary', () => {
    const random = Random.fromSeed(11);
    const scores = Float32Array.from({ length: 20_000 }, () => Math.log(random.nextUnit() + 1e-6) * 2);
    const order = [...scores.keys()].sort((left, right) => (scores[right] ?? 0) - (scores[left] ?? 0) || left - right);
    const weights = order.map((id) => Math.exp(scores[id] ?? 0));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (const topP of [0.01, 0.5, 0.9, 0.999]) {
      let sum = 0;
      const count = 1 + weights.findIndex((weight) => (sum += weight) >= topP * total);
      const ids = [...selectCandidates(scores, { ...OPEN, topP }).ids];
      expect(Math.abs(ids.length - count)).toBeLessThanOrEqual(1); // rounding may move the edge by one token
      expect(ids).toEqual(order.slice(0, ids.length));
    }
    expect([...selectCandidates(scores, { ...OPEN, temperature: 0.5, topK: 777 }).ids]).toEqual(order.slice(0, 777));
  });

  it.each([
    // p = 0.5, 0.25, 0.125, 0.125: at temperature 1, of the best one's share 1, 1/2, 1/4, 1/4
    ['keeps what is as likely as the share', { minP: 0.24 }, [0, 1, 2, 3]],
    ['drops what is less likely', { minP: 0.26 }, [0, 1]],
    ['of 1 keeps the likeliest alone', { minP: 1 }, [0]],
    ['measures after the temperature', { minP: 0.2, temperature: 0.5 }, [0, 1]],
    ['comes before top-k', { minP: 0.3, topK: 3 }, [0, 1]],
    // Of 0.75 that are left, the best one is two thirds; of the whole it would be half.
    ['comes before top-p, which sums what is left', { minP: 0.4, topP: 0.6 }, [0]],
    ['and top-p without it needs the second', { topP: 0.6 }, [0, 1]],
  ])('min-p %s', (_, limits, kept) => {
    const scores = Float32Array.from([0.5, 0.25, 0.125, 0.125], Math.log2).map((bits) => bits * Math.LN2);
    expect([...distribution(scores, { ...OPEN, ...limits }).keys()]).toEqual(kept);
    const drawn = new Sampler({ ...GREEDY, ...OPEN, ...limits, seed: 1 }, NO_PROMPT, 0);
    const ids = Array.from({ length: 200 }, () => drawn.sample(scores).id);
    expect([...new Set(ids)].sort()).toEqual(kept);
  });

  it('chooses no suppressed id among the first tokens, greedy or drawn, and leaves the logits alone', () => {
    const logits = Float32Array.of(9, 8, 1, 0);
    const suppress = { ids: [0, 1, 0, 77], tokens: 2 };
    for (const params of [GREEDY, { ...GREEDY, temperature: 0.01 }, { ...GREEDY, temperature: 0.01, topK: 3 }]) {
      const sampler = new Sampler({ ...params, seed: 3 }, NO_PROMPT, 0, suppress);
      const sampled = Array.from({ length: 3 }, () => sampler.sample(logits));
      expect(sampled.map(({ id }) => id)).toEqual([2, 2, 0]);
      expect(sampled[0]?.logprob).toBeCloseTo(1 - Math.log(Math.exp(9) + Math.exp(8) + Math.E + 1), 6);
      expect(logits).toEqual(Float32Array.of(9, 8, 1, 0));
    }
    const penalised = { ...GREEDY, repetitionPenalty: 2, presencePenalty: 1, frequencyPenalty: 1 };
    const sampler = new Sampler(penalised, Int32Array.of(0, 1), 0, suppress);
    expect([sampler.sample(logits).id, sampler.sample(logits).id]).toEqual([2, 3]);
    expect(logits).toEqual(Float32Array.of(9, 8, 1, 0));
  });

  it('penalises what it generated itself, and ids without a logit are let be', () => {
    const sampler = new Sampler({ ...GREEDY, repetitionPenalty: 2 }, Int32Array.of(0, 99), 0);
    const logits = Float32Array.of(9, 5, 4, -1); // 9 counts 4.5
    expect([sampler.sample(logits).id, sampler.sample(logits).id, sampler.sample(logits).id]).toEqual([1, 0, 0]);
    const negative = new Sampler({ ...GREEDY, repetitionPenalty: 2 }, Int32Array.of(0), 0);
    expect(negative.sample(Float32Array.of(-1, -1.5)).id).toBe(1); // -1 counts -2
  });

  it('takes presence and frequency of what it generated off the scores, and not of the prompt', () => {
    const picks = (change: Partial<SamplingParams>, count: number): number[] => {
      const sampler = new Sampler({ ...GREEDY, ...change }, Int32Array.of(0, 0, 0), 0);
      return Array.from({ length: count }, () => sampler.sample(Float32Array.of(9, 8.5, 7.8)).id);
    };
    expect(picks({ presencePenalty: 1 }, 5)).toEqual([0, 1, 0, 0, 0]); // 9, then 8.5, then 8 before 7.8 and 7.5
    // 8.5; 8 of 8, 7.5, 7.8; 7, 7.5, 7.8; 7, 7.5, 6.8
    expect(picks({ frequencyPenalty: 1 }, 5)).toEqual([0, 1, 0, 2, 1]);
    expect(picks({ presencePenalty: 0.4, frequencyPenalty: 0.9 }, 4)).toEqual([0, 1, 2, 0]);
    expect(picks({ presencePenalty: -1 }, 3)).toEqual([0, 0, 0]);
  });

  it('applies the repetition penalty before them', () => {
    const sampler = new Sampler({ ...GREEDY, repetitionPenalty: 1.5, presencePenalty: 2 }, Int32Array.of(1), 0);
    const picks = Array.from({ length: 2 }, () => sampler.sample(Float32Array.of(9, 6.6)).id);
    expect(picks).toEqual([0, 1]); // 9 / 1.5 - 2 = 4 is below 6.6 / 1.5 = 4.4; (9 - 2) / 1.5 = 4.67 would not be
  });

  it('puts the logits back after every penalty, and tells unpenalised log-probabilities', () => {
    const sampler = new Sampler(
      { ...GREEDY, repetitionPenalty: 1.3, presencePenalty: 1.5, frequencyPenalty: 0.7 },
      Int32Array.of(1),
      0,
    );
    for (let step = 0; step < 5; step++) {
      const logits = Float32Array.of(0.3, 0.9, -0.4, 0.8);
      const { id, logprob } = sampler.sample(logits);
      expect(logits).toEqual(Float32Array.of(0.3, 0.9, -0.4, 0.8));
      expect(logprob).toBeCloseTo(
        (logits[id] ?? NaN) - Math.log(logits.reduce((sum, score) => sum + Math.exp(score), 0)),
        9,
      );
    }
  });

  it("gives the same tokens for the same seed, others for another, and prefers the request's own", () => {
    const flat = new Float32Array(500);
    const tokens = (seed: number | undefined, fallback: number): number[] => {
      const sampler = new Sampler({ ...GREEDY, temperature: 1, seed }, NO_PROMPT, fallback);
      return Array.from({ length: 12 }, () => sampler.sample(flat).id);
    };
    expect(tokens(5, 1)).toEqual(tokens(5, 2));
    expect(tokens(5, 1)).not.toEqual(tokens(6, 1));
    expect(tokens(undefined, 5)).toEqual(tokens(5, 1));
  });

  it('refuses logits that are not numbers', () => {
    for (const bad of [NaN, Infinity])
      expect(() => new Sampler(GREEDY, NO_PROMPT, 0).sample(Float32Array.of(1, bad, 2))).toThrow('not numbers');
    expect(() => new Sampler(GREEDY, NO_PROMPT, 0).sample(new Float32Array(3).fill(-Infinity))).toThrow('not numbers');
  });
});
