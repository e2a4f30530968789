import { describe, expect, it, vi } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { EncoderCache } from '../../../src/encoder/encoder-cache.ts';
import type {
  EncodedMedia,
  EncodeRequest,
  EncodeResult,
  EncodeStep,
  MediaFacts,
} from '../../../src/encoder/encode-request.ts';

const FACTS = { plan: { profile: { name: 'test' } }, audio: undefined, warnings: [] } as unknown as MediaFacts;
const KIB = 1024;

/** An encoding that a test leads through its steps. */
class Encoding {
  signal: AbortSignal | undefined;
  /** after an abort it has wound down */
  woundDown = false;
  #tell: (step: EncodeStep) => void = () => undefined;
  #end: (result: EncodeResult | Error) => void = () => undefined;

  readonly encode: EncodeRequest['encode'] = async (onStep, signal) => {
    this.signal = signal;
    this.#tell = onStep;
    onStep({ type: 'decoding', done: 0, total: 8 });
    return await new Promise<EncodeResult>((resolve, reject) => {
      this.#end = (result) => {
        if (result instanceof Error) reject(result);
        else resolve(result);
      };
      signal.addEventListener('abort', () => {
        setTimeout(() => {
          this.woundDown = true;
          reject(new DOMException('left', 'AbortError'));
        }, 5);
      });
    });
  };

  get started(): boolean {
    return this.signal !== undefined;
  }

  decoded(intact = true): void {
    this.#tell({ type: 'decoded', facts: FACTS, intact });
  }

  encoded(kib = 1): EncodedMedia {
    const media = { facts: FACTS, embeds: new Float32Array(kib * 256) };
    this.#end({ media, seconds: { vision: 0.5 } });
    return media;
  }

  fail(error: Error): void {
    this.#end(error);
  }
}

interface Reader {
  readonly steps: EncodeStep[];
  readonly leave: () => void;
  /** seconds by stage, once it has ended */
  readonly seconds: () => object | undefined;
  /** the media, or what was thrown */
  readonly end: Promise<unknown>;
}

/** One request for a file, followed to its end. */
function read(
  cache: EncoderCache,
  request: Partial<EncodeRequest>,
  preparation = new Encoding(),
): Reader & { readonly preparation: Encoding } {
  const steps: EncodeStep[] = [];
  const left = new AbortController();
  let seconds: object | undefined;
  const run = async (): Promise<unknown> => {
    const whole = { key: 'clip', path: '/a.mp4', encode: preparation.encode, ...request };
    const result = await cache.encode(whole, (step) => steps.push(step), left.signal);
    seconds = result.seconds;
    return result.media;
  };
  const end = run().catch((thrown: unknown) => thrown);
  return {
    steps,
    end,
    preparation,
    seconds: () => seconds,
    leave: () => {
      left.abort();
    },
  };
}

/** A clip in the cache. */
async function fill(cache: EncoderCache, key: string, kib = 1, fileBytes?: number): Promise<EncodedMedia> {
  const { preparation, end } = read(cache, { key, fileBytes });
  await vi.waitFor(() => {
    expect(preparation.started).toBe(true);
  });
  preparation.decoded();
  const media = preparation.encoded(kib);
  await end;
  return media;
}

async function begun(reader: { readonly preparation: Encoding }): Promise<void> {
  await vi.waitFor(() => {
    expect(reader.preparation.started).toBe(true);
  });
}

const typesOf = (steps: readonly EncodeStep[]): string[] => steps.map(({ type }) => type);

describe('EncoderCache', () => {
  it('gives a clip that was prepared before at once, with nothing worked for it', async () => {
    const cache = new EncoderCache(1000 * KIB);
    const media = await fill(cache, 'clip');
    const again = read(cache, {});
    expect(await again.end).toBe(media);
    expect(again.preparation.started).toBe(false);
    expect(again.steps).toEqual([{ type: 'decoded', facts: FACTS, intact: true }]);
    expect(again.seconds()).toEqual({});
    expect(cache.counts()).toEqual({ hits: 1, misses: 1 });
  });

  it('keeps nothing of a long file that does not fit as a whole, and leaves what it has', async () => {
    const cache = new EncoderCache(100 * KIB);
    await fill(cache, 'clip');
    const { bytes } = cache;
    await fill(cache, 'segment', 1, 101 * KIB);
    expect(cache.bytes).toBe(bytes);
    await fill(cache, 'segment', 1, 100 * KIB);
    expect(cache.bytes).toBe(2 * bytes);
  });

  it('prepares every time without memory, or where the clip is not known', async () => {
    const none = new EncoderCache(0);
    await fill(none, 'clip');
    await fill(none, 'clip');
    expect([none.counts(), none.bytes]).toEqual([{ hits: 0, misses: 2 }, 0]);
    const cache = new EncoderCache(1000 * KIB);
    for (const path of ['/a.mp4', '/a.mp4']) {
      const reader = read(cache, { key: undefined, path });
      await begun(reader);
      const media = reader.preparation.encoded();
      expect(await reader.end).toBe(media);
    }
    expect([cache.counts(), cache.bytes]).toEqual([{ hits: 0, misses: 0 }, 0]);
  });

  it('never holds more than it may, and gives up what was used longest ago', async () => {
    const cache = new EncoderCache(100 * KIB);
    await fill(cache, 'a', 20);
    await fill(cache, 'b', 20);
    await read(cache, { key: 'a' }).end;
    await fill(cache, 'c', 20);
    expect(cache.bytes).toBeLessThanOrEqual(100 * KIB);
    const hits = async (key: string): Promise<boolean> => {
      const reader = read(cache, { key });
      await new Promise((resolve) => setImmediate(resolve));
      reader.leave();
      await reader.end;
      return !reader.preparation.started;
    };
    expect([await hits('a'), await hits('b'), await hits('c')]).toEqual([true, false, true]);
  });

  it('does not empty itself for a clip that is larger than all of it', async () => {
    const cache = new EncoderCache(100 * KIB);
    const small = await fill(cache, 'small', 10);
    await fill(cache, 'large', 200);
    expect(await read(cache, { key: 'small' }).end).toBe(small);
  });
});

describe('requests for one clip at the same time', () => {
  it('share one preparation, from its first step', async () => {
    const cache = new EncoderCache(0);
    const first = read(cache, {});
    await begun(first);
    const others = [read(cache, { path: '/b.mp4' }), read(cache, { path: '/c.mp4' })];
    await new Promise((resolve) => setImmediate(resolve));
    first.preparation.decoded();
    const media = first.preparation.encoded();
    for (const reader of [first, ...others]) {
      expect(await reader.end).toBe(media);
      expect(typesOf(reader.steps)).toEqual(['decoding', 'decoded']);
    }
    expect(others.some(({ preparation }) => preparation.started)).toBe(false);
    expect(first.seconds()).toEqual({ vision: 0.5 });
    expect(Object.keys(others[0]!.seconds()!)).toEqual(['shared']);
    expect(cache.counts()).toEqual({ hits: 2, misses: 1 });
  });

  it('go on when the one that began leaves', async () => {
    const cache = new EncoderCache(0);
    const first = read(cache, {});
    await begun(first);
    const second = read(cache, {});
    await new Promise((resolve) => setImmediate(resolve));
    first.leave();
    expect(await first.end).toMatchObject({ code: 'aborted' });
    expect(first.preparation.signal?.aborted).toBe(false);
    first.preparation.decoded();
    const media = first.preparation.encoded();
    expect(await second.end).toBe(media);
  });

  it('stop the work when the last one leaves, and the next one begins anew', async () => {
    const cache = new EncoderCache(1000 * KIB);
    const [first, second] = [read(cache, {}), read(cache, {})];
    await begun(first);
    second.leave();
    await second.end;
    expect(first.preparation.signal?.aborted).toBe(false);
    first.leave();
    await vi.waitFor(
      () => {
        expect(first.preparation.signal?.aborted).toBe(true);
      },
      { interval: 1 },
    );
    const third = read(cache, {}); // the other is still winding down
    await first.end;
    await begun(third);
    third.preparation.decoded();
    const media = third.preparation.encoded();
    expect([await third.end, await read(cache, {}).end]).toEqual([media, media]);
  });

  it('share a failure, told of each one’s own file', async () => {
    const cache = new EncoderCache(1000 * KIB);
    const first = read(cache, { path: '/secret/a.mp4' });
    await begun(first);
    const second = read(cache, { path: '/b.mp4' });
    await new Promise((resolve) => setImmediate(resolve));
    first.preparation.fail(new AvocadoError('media_undecodable', '/secret/a.mp4 is broken.', { param: 'file' }));
    expect(await first.end).toMatchObject({ code: 'media_undecodable', message: '/secret/a.mp4 is broken.' });
    expect(await second.end).toMatchObject({ code: 'media_undecodable', message: '/b.mp4 is broken.', param: 'file' });
    expect(second.preparation.started).toBe(false);
    await fill(cache, 'clip'); // a failure is not kept
  });

  it('take their own file when the one that began has left and its file has gone', async () => {
    const cache = new EncoderCache(1000 * KIB);
    const first = read(cache, {});
    await begun(first);
    const others = [read(cache, { path: '/b.mp4' }), read(cache, { path: '/c.mp4' })];
    await new Promise((resolve) => setImmediate(resolve));
    first.leave();
    await first.end;
    first.preparation.fail(new AvocadoError('media_not_found', 'There is no file /a.mp4.'));
    await vi.waitFor(() => {
      expect(others.filter(({ preparation }) => preparation.started)).toHaveLength(1);
    });
    const { preparation } = others.find((reader) => reader.preparation.started)!;
    preparation.decoded();
    const media = preparation.encoded();
    for (const reader of others) expect(await reader.end).toBe(media);
    for (const reader of others) expect(typesOf(reader.steps).filter((type) => type === 'decoded')).toHaveLength(1);
  });

  it('do not take what was made of a file that changed while it was read; nor is it kept', async () => {
    const cache = new EncoderCache(1000 * KIB);
    const first = read(cache, {});
    await begun(first);
    const second = read(cache, { path: '/b.mp4' });
    await new Promise((resolve) => setImmediate(resolve));
    first.preparation.decoded(false);
    await begun(second);
    const wrong = first.preparation.encoded();
    expect(await first.end).toBe(wrong); // who asked for a changing file gets what was found
    second.preparation.decoded();
    const right = second.preparation.encoded();
    expect([await second.end, await read(cache, {}).end]).toEqual([right, right]);
    expect(await second.end).not.toBe(wrong);
  });

  it('end only when the work has: no decoder outlives the request it worked for', async () => {
    const cache = new EncoderCache(0);
    const reader = read(cache, {});
    await begun(reader);
    reader.leave();
    await reader.end;
    expect(reader.preparation.woundDown).toBe(true);
  });

  it('stop when the listener of the last one throws, and it gets that error', async () => {
    const cache = new EncoderCache(0);
    const preparation = new Encoding();
    const encoding = cache.encode(
      { key: 'clip', path: '/a.mp4', encode: preparation.encode },
      () => {
        throw new Error('no room');
      },
      new AbortController().signal,
    );
    await expect(encoding).rejects.toThrow('no room');
    expect(preparation.signal?.aborted).toBe(true);
  });

  it('begin nothing for a request that is cancelled already', async () => {
    const cache = new EncoderCache(0);
    const preparation = new Encoding();
    const request = { key: 'clip', path: '/a.mp4', encode: preparation.encode };
    await expect(cache.encode(request, () => undefined, AbortSignal.abort())).rejects.toMatchObject({
      code: 'aborted',
    });
    expect(preparation.started).toBe(false);
  });
});
