import { describe, expect, it } from 'vitest';
import type { CaptionEvent } from '../../../src/output/events.ts';
import { isEnding, oneEnding } from '../../../src/output/one-ending.ts';

const DELTA: CaptionEvent = { type: 'text-delta', index: 0, text: 'a', tokenIds: [1], logprobs: [-1] };

async function endings(
  source: () => AsyncGenerator<CaptionEvent>,
  signal = new AbortController().signal,
): Promise<string[]> {
  const types: string[] = [];
  for await (const event of oneEnding(source(), signal)) types.push(event.type);
  return types;
}

describe('oneEnding', () => {
  it('passes a good stream unchanged', async () => {
    expect(
      await endings(async function* () {
        yield DELTA;
        yield { type: 'caption-aborted' };
      }),
    ).toEqual(['text-delta', 'caption-aborted']);
  });

  it('cuts what comes after the ending', async () => {
    expect(
      await endings(async function* () {
        yield { type: 'caption-aborted' };
        yield DELTA;
        yield { type: 'caption-aborted' };
      }),
    ).toEqual(['caption-aborted']);
  });

  it('makes a throw an error, or an abort when the signal asked for it', async () => {
    async function* broken(): AsyncGenerator<CaptionEvent> {
      yield DELTA;
      throw new Error('x');
    }
    expect(await endings(broken)).toEqual(['text-delta', 'caption-error']);
    expect(await endings(broken, AbortSignal.abort())).toEqual(['text-delta', 'caption-aborted']);
  });

  it('makes silence an error', async () => {
    expect(
      await endings(async function* () {
        yield DELTA;
      }),
    ).toEqual(['text-delta', 'caption-error']);
  });

  it('lets the source clean up when its reader leaves early', async () => {
    let cleaned = false;
    async function* source(): AsyncGenerator<CaptionEvent> {
      try {
        yield DELTA;
        yield DELTA;
      } finally {
        cleaned = true;
      }
    }
    for await (const event of oneEnding(source(), new AbortController().signal)) if (!isEnding(event)) break;
    expect(cleaned).toBe(true);
  });
});
