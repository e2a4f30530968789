// The bundled model on its own sample clips. It is small and half-trained: only what it truly gets right is asked for.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { captionRequest } from '../../src/caption-options.ts';
import type { Captioner } from '../../src/captioner.ts';
import { defaultModelDirectory } from '../../src/cli/default-model.ts';
import { loadNative } from '../../src/native.ts';
import { openCaptioner } from '../../src/open-captioner.ts';
import type { CaptionEnd } from '../../src/stream/events.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';

const EXAMPLES = join(defaultModelDirectory(), 'examples');
const TRUTH = JSON.parse(readFileSync(join(EXAMPLES, 'captions.json'), 'utf8')) as Record<string, { caption: string }>;

/** Words of the true caption that the model must find: shape and colour, background, written and spoken words. */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  'clip113.mp4': ['orange triangle', 'checkered beige background', '"NEWS"', 'a burst of noise'],
  'clip217.mp4': ['yellow triangle', 'plain gray background', '"go down please"', 'a short melody'],
  'clip313.mp4': ['red triangle', 'checkered gray background', '"SALE"', '"four two three"'],
};

const scratch = scratchDirectory();

async function open(runtime: 'native' | 'node'): Promise<Captioner> {
  return openCaptioner({ modelDir: defaultModelDirectory(), precision: undefined, device: { type: 'cpu' }, runtime, threads: 1, spinning: false, slots: 1, context: undefined, cacheDir: scratch('cache') });
}

async function captionOf(captioner: Captioner, clip: string): Promise<CaptionEnd> {
  for await (const event of captioner.caption(captionRequest(join(EXAMPLES, clip), {}))) if (event.type === 'caption-end') return event;
  throw new Error(`${clip} was not captioned.`);
}

describe.skipIf(loadNative() === undefined)(`avocado-nano${loadNative() === undefined ? ' (skipped: the native addon is not built here)' : ''}`, () => {
  let native: Captioner;
  let node: Captioner;

  beforeAll(async () => {
    [native, node] = [await open('native'), await open('node')];
  });
  afterAll(async () => {
    await native.close();
    await node.close();
  });

  it.each(Object.keys(TRUTH))('captions %s with the same words on both runtimes, and names what is in it', async (clip) => {
    const [first, second] = [await captionOf(native, clip), await captionOf(node, clip)];
    expect(second).toMatchObject({ caption: first.caption, tokenIds: first.tokenIds });
    expect(Math.max(...first.logprobs.map((logprob, step) => Math.abs(logprob - second.logprobs[step]!)))).toBeLessThan(5e-4);
    expect(first).toMatchObject({ finishReason: 'stop', media: { kind: 'video', warnings: [], audio: { used: true } } });
    for (const words of WORDS[clip]!) {
      expect(TRUTH[clip]!.caption).toContain(words);
      expect(first.caption).toContain(words);
    }
  });
});
