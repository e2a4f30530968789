import { readdirSync, statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { probeMedia } from '../../../src/media/probe.ts';
import { sampleTruth } from '../../../src/world/sample-clip.ts';
import { EXAMPLES, examplePath } from '../../fixtures/examples.ts';
import { NANO_EXAMPLES } from '../../fixtures/nano.ts';

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
