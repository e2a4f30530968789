// A KV cache with less memory than its slots could fill, with the bundled model on real clips: the same numbers.
import { describe, expect, it } from 'vitest';
import { nativeStatus } from '../../src/base/native.ts';
import { captionRequest } from '../../src/captioner/caption-options.ts';
import { captionEvents, type Captioner } from '../../src/captioner/captioner.ts';
import { openCaptioner } from '../../src/captioner/open-captioner.ts';
import type { CaptionEnd } from '../../src/output/events.ts';
import type { EngineSettings } from '../../src/settings/engine-settings.ts';
import { examplePath, EXAMPLES } from '../fixtures/examples.ts';
import { nanoSettings } from '../fixtures/nano.ts';

/** Of avocado-nano on a CPU: 64 KiB of keys and of values for each of 2 heads in 4 layers, which are 256 tokens. */
const BLOCK_BYTES = 2 ** 20;
const CONTEXT = 2048;

async function endOf(captioner: Captioner, clip: string, options: Record<string, unknown> = {}): Promise<CaptionEnd> {
  for await (const event of captionEvents(captioner, captionRequest(examplePath(clip), options)))
    if (event.type === 'caption-end') return event;
    else if (event.type === 'caption-error') throw new Error(event.message);
  throw new Error(`${clip} has no caption.`);
}

async function opened<T>(more: Partial<EngineSettings>, use: (captioner: Captioner) => Promise<T>): Promise<T> {
  const captioner = await openCaptioner(nanoSettings({ context: CONTEXT, ...more }));
  try {
    return await use(captioner);
  } finally {
    await captioner.close();
  }
}

describe.each(['native', 'node'] as const)('--kv-cache-bytes with the %s runtime', (runtime) => {
  const isThere = runtime === 'node' || nativeStatus().loaded;
  if (!isThere) console.warn('Skipped: kv-cache-bytes with the native runtime. The native addon is not built.');

  it.skipIf(!isThere)('captions all clips at once with the tokens of a full cache', { timeout: 120_000 }, async () => {
    const clips = Object.keys(EXAMPLES);
    const captions = (captioner: Captioner) => Promise.all(clips.map((clip) => endOf(captioner, clip)));
    const numbers = ({ caption, tokenIds, logprobs }: CaptionEnd) => ({ caption, tokenIds, logprobs });
    const full = await opened({ runtime, slots: 8 }, captions);
    // Two or three clips at once, by their prompts and 256 tokens of caption.
    const little = { runtime, slots: 8, prefixSlots: 2, kvCacheBytes: 9 * BLOCK_BYTES };
    const found = await opened(little, async (captioner) => {
      const first = await captions(captioner);
      const again = await captions(captioner);
      expect(captioner.stats()).toMatchObject({ waiting: 0, running: 0, freeSlots: 8, kvUsage: 0 });
      expect(again.map(numbers)).toEqual(first.map(numbers));
      return first;
    });
    expect(found.map(numbers)).toEqual(full.map(numbers));
  });
});

describe('--kv-cache-bytes', () => {
  it('may be more than any machine has: what slots cannot use is not asked for', async () => {
    const { caption } = await opened({ kvCacheBytes: Number.MAX_SAFE_INTEGER }, (captioner) =>
      endOf(captioner, Object.keys(EXAMPLES)[0] ?? '', { max_tokens: 3 }),
    );
    expect(caption).not.toBe('');
  });

  it('is refused below one caption of the whole context, with the bytes that it needs', async () => {
    const few = { kvCacheBytes: 8 * BLOCK_BYTES - 1 };
    await expect(opened(few, () => Promise.resolve())).rejects.toMatchObject({
      code: 'bad_request',
      message: `The KV cache needs ${8 * BLOCK_BYTES} bytes for one caption of 2048 tokens, and has ${8 * BLOCK_BYTES - 1}. Give it more, or use a smaller --context.`,
    });
  });
});
