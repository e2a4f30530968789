import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Sampler } from '../../../src/engine/sampler.ts';
import { golden, goldenTensors, type GoldenTensor } from '../../fixtures/golden.ts';
import { GREEDY } from './requests.ts';

const directory = dirname(golden('cases/tiny-a.av-4s.small.json'));
const names = readdirSync(directory).filter((name) => name.endsWith('.safetensors'));

function tensor(tensors: Record<string, GoldenTensor>, key: string): Float32Array | Int32Array | undefined {
  const data = tensors[key]?.data;
  return data instanceof Float32Array || data instanceof Int32Array ? data : undefined;
}

describe("Sampler on the reference's last prompt logits", () => {
  it.each(names)('takes the first token of %s, without and with repetition penalty 1.1', (name) => {
    const tensors = goldenTensors(`cases/${name}`);
    const ids = tensor(tensors, 'input_ids');
    const logits = tensor(tensors, 'logits_last');
    let compared = 0;
    for (const [prefix, repetitionPenalty] of [
      ['greedy', 1],
      ['greedy_rp1.1', 1.1],
    ] as const) {
      const tokens = tensor(tensors, `${prefix}.tokens`);
      if (tokens === undefined || !(logits instanceof Float32Array)) continue;
      if (repetitionPenalty !== 1 && !(ids instanceof Int32Array)) continue; // very long prompts are stored strided
      const sampler = new Sampler(
        { ...GREEDY, repetitionPenalty },
        ids instanceof Int32Array ? ids : new Int32Array(0),
        0,
      );
      const { id, logprob } = sampler.sample(logits);
      expect(id).toBe(tokens[0]);
      expect(Math.abs(logprob - (tensor(tensors, `${prefix}.logprob`)?.[0] ?? NaN))).toBeLessThan(2e-5);
      compared++;
    }
    expect(compared).toBeGreaterThan(0);
  });
});
