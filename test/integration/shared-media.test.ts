// What requests of one captioner share: a look at a file, an encoded clip, the beginning of a prompt. The
// bundled model, real files.
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { captionRequest } from '../../src/captioner/caption-options.ts';
import { captionEvents, type Captioner } from '../../src/captioner/captioner.ts';
import { defaultModelDirectory } from '../../src/base/package-files.ts';
import { openCaptioner } from '../../src/captioner/open-captioner.ts';
import { type EngineSettings } from '../../src/settings/engine-settings.ts';
import type { CaptionEnd, CaptionEvent, CaptionRequest } from '../../src/output/events.ts';
import { examplePath, WIDE } from '../fixtures/examples.ts';
import { makeClip } from '../fixtures/make-clip.ts';
import { nanoSettings } from '../fixtures/nano.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';

const CLIP = examplePath(WIDE);
const scratch = scratchDirectory();

function open(more: Partial<EngineSettings> = {}): Promise<Captioner> {
  return openCaptioner(nanoSettings(more));
}

async function eventsOf(captioner: Captioner, request: CaptionRequest, signal?: AbortSignal): Promise<CaptionEvent[]> {
  const events: CaptionEvent[] = [];
  for await (const event of captionEvents(captioner, request, signal)) events.push(event);
  return events;
}

async function endOf(captioner: Captioner, request: CaptionRequest): Promise<CaptionEnd> {
  const last = (await eventsOf(captioner, request)).at(-1);
  if (last?.type === 'caption-end') return last;
  throw new Error(`${request.path} ended in ${JSON.stringify(last)}.`);
}

/** What must not depend on what happened before. */
function numbersOf(end: CaptionEnd): object {
  const { tokenIds, logprobs, caption, media, profile } = end;
  return { tokenIds, logprobs, caption, media, profile, tokens: end.usage.promptTokensByModality };
}

const stagesOf = (events: readonly CaptionEvent[]): string[] => [
  ...new Set(events.flatMap((event) => (event.type === 'stage' ? [event.stage] : []))),
];

describe('a captioner that keeps clips', () => {
  let plain: Captioner;
  let keeping: Captioner;

  beforeAll(async () => {
    [plain, keeping] = [await open(), await open({ mediaCacheBytes: 64 * 1024 ** 2, prefixSlots: 1 })];
  });
  afterAll(async () => {
    await plain.close();
    await keeping.close();
  });

  it('gives every number as without, the first time and every other time', async () => {
    const request = captionRequest(CLIP, { max_tokens: 24 });
    const expected = await endOf(plain, request);
    const first = await eventsOf(keeping, request);
    const again = await eventsOf(keeping, request);
    const [firstEnd, secondEnd] = [first.at(-1) as CaptionEnd, again.at(-1) as CaptionEnd];
    expect(numbersOf(secondEnd)).toEqual(numbersOf(firstEnd));
    expect({ ...numbersOf(firstEnd), logprobs: [] }).toEqual({ ...numbersOf(expected), logprobs: [] });
    const furthest = Math.max(
      ...firstEnd.logprobs.map((logprob, step) => Math.abs(logprob - expected.logprobs[step]!)),
    );
    expect(furthest).toBeLessThan(1e-4); // its prompt is read in two runs
    expect([stagesOf(first), stagesOf(again)]).toEqual([
      ['probe', 'decode', 'encode', 'prefill'],
      ['probe', 'prefill'],
    ]);
    expect(Object.keys(secondEnd.timings.stages)).not.toContain('decode');
    expect(firstEnd.usage.cachedTokens).toBe(0);
    expect(secondEnd.usage.cachedTokens).toBeGreaterThan(100);
    expect(plain.stats().caches).toEqual({ media: { hits: 0, misses: 0 }, prefix: { hits: 0, misses: 0 } });
    expect(keeping.stats().caches).toEqual({ media: { hits: 1, misses: 1 }, prefix: { hits: 1, misses: 1 } });
  });

  it('knows a clip by its content, whatever is asked, whoever says so', async () => {
    const [copy, other] = [scratch('copy.mp4'), scratch('other name.bin')];
    for (const path of [copy, other]) copyFileSync(CLIP, path);
    const { media: before } = keeping.stats().caches;
    const asked = { prompt: 'What is written there?', max_tokens: 8 };
    const [one, two] = [
      await endOf(keeping, captionRequest(copy, asked)),
      await endOf(plain, captionRequest(CLIP, asked)),
    ];
    expect(one.tokenIds).toEqual(two.tokenIds);
    const contentHash = createHash('sha256').update(readFileSync(other)).digest('hex');
    await endOf(keeping, { ...captionRequest(other, { max_tokens: 2, system_prompt: 'Be brief.' }), contentHash });
    expect(keeping.stats().caches.media).toEqual({ hits: before.hits + 2, misses: before.misses });
  });

  it.each([
    ['another size', { max_pixels: 28 * 28 * 4 }],
    ['silence', { audio: false }],
    ['other times', { processor_fps: 1 }],
  ])('does not confuse it with %s', async (_, options) => {
    const request = captionRequest(CLIP, { max_tokens: 8, ...options });
    const { media: before } = keeping.stats().caches;
    expect((await endOf(keeping, request)).tokenIds).toEqual((await endOf(plain, request)).tokenIds);
    expect(keeping.stats().caches.media).toEqual({ hits: before.hits, misses: before.misses + 1 });
  });

  it('looks again at a file that has another content now', async () => {
    const path = scratch('changing.mp4');
    copyFileSync(CLIP, path);
    const before = await endOf(keeping, captionRequest(path, { max_tokens: 8 }));
    copyFileSync(join(defaultModelDirectory(), 'examples/square-4s.mp4'), path);
    const after = await endOf(keeping, captionRequest(path, { max_tokens: 8 }));
    expect(after.tokenIds).toEqual((await endOf(plain, captionRequest(path, { max_tokens: 8 }))).tokenIds);
    expect(after.tokenIds).not.toEqual(before.tokenIds);
  });

  it('prepares a clip once for all who ask at the same time, and goes on when the first of them leaves', async () => {
    const path = await makeClip(scratch('at once.mp4'), [
      '-f',
      'lavfi',
      '-i',
      'testsrc=duration=6:size=320x240:rate=30',
      '-f',
      'lavfi',
      '-i',
      'sine=frequency=500:duration=6',
    ]);
    const { media: before } = keeping.stats().caches;
    const first = new AbortController();
    const requests = [1, 2, 3].map((id) => captionRequest(path, { prompt_id: id, max_tokens: 6 }));
    const leaving = eventsOf(keeping, requests[0]!, first.signal);
    const staying = requests.slice(1).map((request) => eventsOf(keeping, request));
    for await (const event of captionEvents(keeping, captionRequest(path, { max_tokens: 1 }))) {
      if (event.type === 'stage' && event.stage === 'decode') first.abort();
    }
    expect((await leaving).at(-1)).toEqual({ type: 'caption-aborted' });
    for (const [index, events] of (await Promise.all(staying)).entries()) {
      expect((events.at(-1) as CaptionEnd).tokenIds).toEqual((await endOf(plain, requests[index + 1]!)).tokenIds);
    }
    const { media } = keeping.stats().caches;
    expect(media.misses).toBe(before.misses + 1);
    expect(media.hits).toBeGreaterThan(before.hits);
  });

  it('shows how far it is, and that it is at rest in the end', async () => {
    const before = keeping.stats().progress;
    const events = await eventsOf(keeping, captionRequest(CLIP, { nframes: 4, max_tokens: 4 }));
    const encoding = events.flatMap((event) => (event.type === 'stage' && event.stage === 'encode' ? [event] : []));
    expect(encoding[0]!.done).toBe(0);
    expect(encoding.at(-1)!.done).toBe(encoding.at(-1)!.total);
    expect(encoding.length).toBeGreaterThan(2);
    const stats = keeping.stats();
    expect(stats).toMatchObject({ busy: false, running: 0, waiting: 0, freeSlots: 2, slots: 2 });
    expect(stats.progress - before).toBeGreaterThan(5);
  });
});

describe('a captioner', () => {
  let captioner: Captioner;
  const probes = scratch('probes');
  const ffprobe = process.env['FFPROBE_PATH'];

  beforeAll(async () => {
    // Notes what it is called with, then is ffprobe.
    const script = scratch('ffprobe');
    writeFileSync(script, `#!/bin/sh\necho "$@" >> '${probes}'\nexec '${ffprobe ?? 'ffprobe'}' "$@"\n`);
    chmodSync(script, 0o755);
    process.env['FFPROBE_PATH'] = script;
    captioner = await open();
  });
  afterAll(async () => {
    if (ffprobe === undefined) delete process.env['FFPROBE_PATH'];
    else process.env['FFPROBE_PATH'] = ffprobe;
    await captioner.close();
  });

  const looksAt = (path: string): number =>
    readFileSync(probes, 'utf8')
      .split('\n')
      .filter((line) => line.includes(path)).length;

  it('estimates what a caption then takes, looking at the file once for both', async () => {
    const path = scratch('estimated.mp4');
    copyFileSync(CLIP, path);
    const request = captionRequest(path, { max_tokens: 3 });
    const estimate = await captioner.estimate(request);
    const looks = looksAt(path);
    expect(looks).toBeGreaterThan(0);
    const end = await endOf(captioner, request);
    expect(looksAt(path)).toBe(looks);
    const { kind, durationSeconds, video, audio } = end.media;
    expect(estimate).toMatchObject({
      kind,
      durationSeconds,
      maxTokens: 3,
      fits: true,
      profile: end.profile,
      context: captioner.model.context,
    });
    expect(estimate.video).toEqual({
      frames: video!.frames,
      sampleFps: video!.sampleFps,
      width: video!.width,
      height: video!.height,
      tokens: video!.tokens,
    });
    expect(estimate.audio).toMatchObject({ present: true, used: true });
    expect(Math.abs(estimate.audio.tokens - audio.tokens)).toBeLessThan(4); // the container's word
    expect(Math.abs(estimate.promptTokens.total - end.usage.promptTokens)).toBeLessThan(4);
  });

  it('knows a clip again that comes under another name with its hash, and no other by it', async () => {
    const [first, second] = [scratch('once.mp4'), scratch('again.mp4')];
    for (const path of [first, second]) copyFileSync(CLIP, path);
    const asked = (path: string, contentHash: string) =>
      captioner.estimate({ ...captionRequest(path, {}), contentHash });
    expect(await asked(second, 'b'.repeat(64))).toEqual(await asked(first, 'a'.repeat(64)));
    const looks = looksAt(first);
    expect([looks > 0, looksAt(second)]).toEqual([true, looks]);
    const third = scratch('third.mp4');
    copyFileSync(CLIP, third);
    expect(await asked(third, 'a'.repeat(64))).toEqual(await asked(first, 'a'.repeat(64)));
    expect([looksAt(first), looksAt(third)]).toEqual([looks, 0]);
  });

  it('estimates in words of numbers what would be refused for its length', async () => {
    const small = await open({ context: 150 });
    try {
      const estimate = await small.estimate(captionRequest(CLIP, {}));
      expect(estimate).toMatchObject({ fits: false, maxTokens: 0, context: 150 });
      expect(estimate.promptTokens.total).toBeGreaterThan(150);
      expect((await eventsOf(small, captionRequest(CLIP, {}))).at(-1)).toMatchObject({
        type: 'caption-error',
        code: 'context_length_exceeded',
      });
    } finally {
      await small.close();
    }
    expect(await captioner.estimate(captionRequest(CLIP, { max_tokens: 32_768 }))).toMatchObject({ fits: false });
    expect(await captioner.estimate(captionRequest(CLIP, { processor_fps: 0.001 }))).toMatchObject({ fits: false });
  });

  it.each([
    ['a file that is not there', 'none.mp4', {}, 'media_not_found'],
    ['a prompt of blanks', 'estimated.mp4', { prompt: '  ' }, 'bad_request'],
  ])('refuses to estimate %s', async (_, name, options, code) => {
    await expect(captioner.estimate(captionRequest(scratch(name), options))).rejects.toMatchObject({ code });
  });

  it('stops an estimate that is cancelled', async () => {
    const path = scratch('cancelled.mp4');
    copyFileSync(CLIP, path);
    await expect(captioner.estimate(captionRequest(path, {}), AbortSignal.abort())).rejects.toThrow();
  });

  it('makes several captions of one prompt, and tells each token’s bytes', async () => {
    const request = captionRequest(CLIP, { n: 3, temperature: 1, seed: 11, max_tokens: 10, logprobs: 2 });
    const end = await endOf(captioner, request);
    const all = [end, ...end.others];
    expect(all).toHaveLength(3);
    const alone = await endOf(captioner, captionRequest(CLIP, { temperature: 1, seed: 12, max_tokens: 10 }));
    expect(all[1]!.tokenIds).toEqual(alone.tokenIds);
    for (const { tokens, caption, tokenIds } of all) {
      expect(tokens!.map(({ id }) => id)).toEqual(tokenIds);
      expect(tokens!.every(({ top }) => top.length === 2 && top[0]!.logprob >= top[1]!.logprob)).toBe(true);
      expect(
        Buffer.concat(tokens!.map(({ bytes }) => Buffer.from(bytes)))
          .toString('utf8')
          .replace('<|im_end|>', ''),
      ).toBe(caption);
    }
    expect(end.usage.completionTokens).toBe(all.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0));
  });

  it('ends a caption that repeats itself, if the guard is on', async () => {
    // Such penalties reward what has been said: the model falls into a loop.
    const looping = { repetition_penalty: 0.3, frequency_penalty: -2, max_tokens: 400 };
    const free = await endOf(captioner, captionRequest(CLIP, looping));
    const guarded = await endOf(captioner, captionRequest(CLIP, { ...looping, repetition_guard: true }));
    expect([free.finishReason, guarded.finishReason]).toEqual(['length', 'repetition']);
    expect(guarded.tokenIds.length).toBeLessThan(300);
    expect(free.tokenIds.slice(0, guarded.tokenIds.length)).toEqual(guarded.tokenIds);
    await vi.waitFor(() => {
      expect(captioner.stats()).toMatchObject({ running: 0, freeSlots: 2 });
    });
  });

  it('leaves video tokens out where it is asked to, tells how many there were, and heard all', async () => {
    const end = (compress: string | undefined): Promise<CaptionEnd> =>
      endOf(captioner, captionRequest(CLIP, { max_tokens: 8, ...(compress === undefined ? {} : { compress }) }));
    const [whole, all, half] = [await end(undefined), await end('dtd:1'), await end('dtd')];
    expect(all.tokenIds).toEqual(whole.tokenIds);
    expect(all.logprobs).toEqual(whole.logprobs);
    const { video, audio } = whole.usage.promptTokensByModality;
    expect(half.usage.promptTokensByModality).toMatchObject({ video: Math.round(video / 2), audio });
    expect(half.media.video).toMatchObject({ tokens: Math.round(video / 2), tokensBefore: video });
    expect(whole.media.video).not.toHaveProperty('tokensBefore');
  });

  it('looks at no file of a batch before a client has its first token, and both are captioned', async () => {
    const order: string[] = [];
    const told = async (name: string, priority: CaptionRequest['priority']): Promise<CaptionEnd> => {
      const request = { ...captionRequest(CLIP, { max_tokens: 6 }), priority };
      for await (const event of captionEvents(captioner, request)) {
        const what = event.type === 'stage' ? event.stage : event.type;
        if (order.at(-1) !== `${name} ${what}`) order.push(`${name} ${what}`);
        if (event.type === 'caption-end') return event;
      }
      throw new Error(`${name} has no caption.`);
    };
    const [client, batch] = await Promise.all([told('client', 'interactive'), told('batch', 'batch')]);
    // It does not wait longer than three seconds at a time, which a busy machine may take to a first token.
    if ((client.timings.firstTokenSeconds ?? 0) < 2.5)
      expect(order.indexOf('batch probe')).toBeGreaterThan(order.indexOf('client text-delta'));
    expect(batch.tokenIds).toEqual(client.tokenIds);
    // The other way round the client follows the encoding of the batch, which must not wait for it.
    const first = told('batch again', 'batch');
    await vi.waitFor(() => {
      expect(order).toContain('batch again decode');
    });
    expect((await told('client again', 'interactive')).tokenIds).toEqual((await first).tokenIds);
  });

  it('says that it is ready until it is closed', async () => {
    const other = await open();
    expect(other.status()).toMatchObject({ state: 'ready', text: '', restarts: 0, pid: undefined });
    await other.close();
    expect(other.status().state).toBe('stopped');
  });
});
