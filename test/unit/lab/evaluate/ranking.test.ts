// Captions of avocado-nano made worse by known amounts: every score falls as they get worse.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { sampleTruth } from '../../../../src/lab/synthetic/sample-clip.ts';
import {
  benchmarkScores,
  rewardMeans,
  SHARES,
  WAYS,
  worse,
  type Captioned,
  type Way,
} from '../../../fixtures/ranking.ts';
import { scratchDirectory } from '../../../fixtures/scratch.ts';

const scratch = scratchDirectory();
/** One caption of so many is used; `npx tsx test/bench/ranking.ts table FILE` uses all. */
const EVERY = 6;

const MADE = readFileSync(new URL('../../../fixtures/world/nano-captions.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as { readonly seed: number; readonly caption: string });
const CAPTIONED: readonly Captioned[] = MADE.filter((_, index) => index % EVERY === 0).map(({ seed, caption }) => ({
  seed,
  caption,
  reference: sampleTruth({ seed, sound: true }).caption,
}));

/** The scores by name at every share of bad claims, turned so that more is better. */
async function scoresOf(way: Way): Promise<Map<string, number[]>> {
  const found = new Map<string, number[]>();
  const note = (name: string, score: number): void => void found.set(name, [...(found.get(name) ?? []), score]);
  for (const share of SHARES) {
    const captions = await worse(CAPTIONED, share, way);
    for (const [name, mean] of Object.entries(await rewardMeans(captions))) note(name, mean);
    const benchmarks = await benchmarkScores(captions, scratch(`${way}-${share}`));
    for (const [name, { score, better }] of Object.entries(benchmarks)) note(name, better === 'high' ? score : -score);
  }
  return found;
}

describe.each(WAYS)('claims made worse: %s', (way) => {
  it('lower every reward and every benchmark, the more the lower', async () => {
    expect(MADE.length).toBe(300);
    const scores = await scoresOf(way);
    expect(scores.size).toBe(17);
    for (const [name, values] of scores) {
      // What is left out makes nothing false.
      if (way === 'omit' && name === 'precision') continue;
      for (const [index, value] of values.slice(1).entries())
        expect(value, `${name} at ${SHARES[index + 1]}: ${values.join(', ')}`).toBeLessThan(values[index]!);
    }
  });
});
