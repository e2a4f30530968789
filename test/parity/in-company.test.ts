// Greedy captions in fp32 do not depend on what else runs: the same tokens alone and, on another replica, among 32.
import { afterAll, expect, it } from 'vitest';
import { captionRequest } from '../../src/captioner/caption-options.ts';
import { captionEvents, type Captioner } from '../../src/captioner/captioner.ts';
import { openCaptioner } from '../../src/captioner/open-captioner.ts';
import type { CaptionEnd } from '../../src/output/events.ts';
import { EXAMPLES, examplePath } from '../fixtures/examples.ts';
import { nanoSettings } from '../fixtures/nano.ts';

const CLIPS = Object.keys(EXAMPLES).slice(0, 4);
const AT_ONCE = 32;
const CONTEXT = 2048;
/** Lengths that differ, so that rows leave the batch one by one. */
const MAX_TOKENS = [40, 28, 16, 8];
/** Embeddings are kept: what is compared is the decoder in company. */
const shared = { context: CONTEXT, precision: 'fp32', mediaCacheBytes: 64 * 1024 ** 2 } as const;

const opened: Captioner[] = [];
afterAll(async () => {
  for (const captioner of opened) await captioner.close();
});

async function open(slots: number): Promise<Captioner> {
  const captioner = await openCaptioner(nanoSettings({ ...shared, slots }));
  opened.push(captioner);
  return captioner;
}

async function captionOf(captioner: Captioner, clip: string, maxTokens: number): Promise<CaptionEnd> {
  const request = captionRequest(examplePath(clip), { max_tokens: maxTokens });
  for await (const event of captionEvents(captioner, request)) {
    if (event.type === 'caption-end') return event;
    if (event.type === 'caption-error') throw new Error(event.message);
  }
  throw new Error('A caption had no ending.');
}

it(`greedy captions in fp32 have the same tokens alone and, on another replica, among ${AT_ONCE} at once`, async () => {
  const [alone, replica] = [await open(1), await open(AT_ONCE)];
  const expected = new Map<string, readonly number[]>();
  for (const clip of CLIPS) expected.set(clip, (await captionOf(alone, clip, Math.max(...MAX_TOKENS))).tokenIds);
  const requests = Array.from({ length: AT_ONCE }, (_, n) => ({
    clip: CLIPS[n % CLIPS.length] ?? '',
    maxTokens: MAX_TOKENS[Math.floor(n / CLIPS.length) % MAX_TOKENS.length] ?? 1,
  }));
  const ends = await Promise.all(requests.map(({ clip, maxTokens }) => captionOf(replica, clip, maxTokens)));
  for (const [n, { clip, maxTokens }] of requests.entries())
    expect(ends[n]?.tokenIds, `${clip}, request ${n}`).toEqual(expected.get(clip)?.slice(0, maxTokens));
});
