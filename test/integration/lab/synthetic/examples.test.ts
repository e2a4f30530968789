import { readdirSync, readFileSync, statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { probeMedia } from '../../../../src/media/probe.ts';
import { sampleTruth } from '../../../../src/lab/synthetic/sample-clip.ts';
import { EXAMPLES, exampleOf, examplePath, WIDE } from '../../../fixtures/examples.ts';
import { NANO_EXAMPLES } from '../../../fixtures/nano.ts';

describe('the sample clips', () => {
  it('are those that captions.json tells of, each of another seed', () => {
    expect(readdirSync(NANO_EXAMPLES).sort()).toEqual([...Object.keys(EXAMPLES), 'captions.json'].sort());
    expect(new Set(Object.values(EXAMPLES).map(({ sample }) => sample.seed)).size).toBe(8);
  });

  it.each(Object.entries(EXAMPLES))('%s is what its seed gives', async (name, { sample, caption, seconds }) => {
    const truth = sampleTruth(sample);
    expect([truth.caption, truth.script.duration]).toEqual([caption, seconds]);
    const { video, audio, durationSeconds } = await probeMedia(examplePath(name));
    expect([video?.width, video?.height]).toEqual(truth.script.size);
    expect(durationSeconds).toBeCloseTo(seconds, 1);
    expect(audio !== undefined).toBe(sample.sound);
    expect(statSync(examplePath(name)).size).toBeLessThan(seconds * 12_000);
  });
});

describe('what is written about the sample clips', () => {
  const words = (path: string): string =>
    readFileSync(new URL(`../../../../${path}`, import.meta.url), 'utf8').replaceAll('\n', ' ');

  it('README shows the caption of the first one, which is right', () => {
    expect(Object.keys(EXAMPLES)[0]).toBe(WIDE);
    expect(words('README.md')).toContain(`"caption":${JSON.stringify(exampleOf(WIDE).caption)}`);
  });

  it('the model card has a row for each, with what is in it', () => {
    const card = words('models/avocado-nano/README.md');
    for (const [name, { kind, caption }] of Object.entries(EXAMPLES))
      expect(card).toContain(`| ${name}: ${kind} | ${caption} |`);
  });
});
