import { Buffer } from 'node:buffer';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { JsonAttachments, type FileText, type ParsedJson } from '../../../src/intake/json-attachments.ts';
import {
  ByteQuota,
  memoryFull,
  openTemporaryStorage,
  type TemporaryStorage,
} from '../../../src/storage/temporary-storage.ts';
import { openedIntake } from '../../fixtures/opened-intake.ts';
import { SeededRandom } from '../../fixtures/seeded-random.ts';

const LONG = 'data:video/mp4;base64,' + 'QUJD'.repeat(100_000);
const LIMITS = { maxBytes: 2 ** 26, tooLarge: () => new AvocadoError('media_too_large', 'Too large.') };
const MEMORY_BYTES = 4 * 1024 ** 2;

let directory: string;
let storage: TemporaryStorage;
let memory: ByteQuota;
let attachments: JsonAttachments;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'avocado-test-'));
  storage = await openTemporaryStorage({ temporaryDirectory: directory, maxTemporaryBytes: 2 ** 27 });
  memory = new ByteQuota(MEMORY_BYTES, memoryFull);
  attachments = new JsonAttachments(storage, memory);
});
afterEach(async () => {
  await vi.waitFor(() => {
    expect([storage.use().usedBytes, memory.use().usedBytes, attachments.size]).toEqual([0, 0, 0]);
  });
  await storage.close();
  expect(await readdir(directory)).toEqual([]);
  await rm(directory, { recursive: true });
});

async function* inPieces(bytes: Buffer, sizes: () => number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length;) {
    const size = Math.max(1, sizes());
    yield bytes.subarray(at, (at += size));
  }
}

function parse(value: unknown, sizes: () => number = () => 65_536): Promise<ParsedJson> {
  const text = Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value));
  return attachments.parse(inPieces(text, sizes), LIMITS);
}

async function contentOf(text: FileText): Promise<string> {
  let content = '';
  for await (const piece of text.pieces(0)) content += piece;
  expect(text.length).toBe(content.length);
  return content;
}

describe('JsonAttachments', () => {
  it('puts files on disk and parses everything else as JSON.parse does', async () => {
    const rest = { a: [1, 'quo"te \\', { 'ke"y': 'Müße 🎈\u0000' }], b: null };
    const { value, release } = await parse({ ...rest, media: LONG, list: [{ url: `${LONG}x` }] });
    const { media, list, ...others } = value as { media: string; list: { url: string }[] };
    expect(others).toEqual(rest);
    expect(media.length).toBeLessThan(2000);
    expect(media.startsWith('data:video/mp4;base64,QUJD')).toBe(true);
    expect(memory.use().usedBytes).toBeLessThan(10_000);
    expect(storage.use().files).toBe(2);
    expect((await contentOf(attachments.read(media))) === LONG).toBe(true);
    expect((await contentOf(attachments.read(list[0]?.url ?? ''))) === `${LONG}x`).toBe(true);
    release();
  });

  it('holds a body of tiny strings in little more memory than is counted', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const heldBytes = (): number => {
      collect();
      return process.memoryUsage().heapUsed;
    };
    let grown = 0;
    async function* body(): AsyncGenerator<Buffer> {
      const before = heldBytes();
      yield* inPieces(Buffer.from(`["a"${',""'.repeat(300_000)}`), () => 65_536);
      grown = heldBytes() - before;
      yield Buffer.from(']');
    }
    (await attachments.parse(body(), LIMITS)).release();
    expect(grown).toBeLessThan(16 * 1024 ** 2);
  });

  it('leaves long texts of other fields where they are: a prompt in Chinese takes three bytes a character', async () => {
    const body = { prompt: '汉'.repeat(100_000), messages: [{ type: 'text', text: LONG }] };
    const { value, release } = await parse(body);
    expect(value).toEqual(body);
    expect(storage.use().files).toBe(0);
    release();
  });

  it('does so wherever the body is cut, and with any escapes', async () => {
    const random = new SeededRandom(5);
    const escapes = '\\\\\\"\\/\\n\\u0041\\u002F\\t';
    const long = `${escapes}${'QUJD'.repeat(70_000)}${escapes.repeat(40)}${'A'.repeat(7)}${escapes}`;
    const json = Buffer.from(`{"a":"\\"\\\\","media":"${long}","b":["\\\\",{"url":"${'\\/'.repeat(200_000)}"}]}`);
    const expected = JSON.parse(json.toString()) as { media: string; b: [string, { url: string }] };
    for (const most of [7, 1000, 100_000, 10_000_000]) {
      const { value, release } = await parse(json, () => random.below(most));
      const { media, b, ...others } = value as typeof expected;
      expect([others, b[0]]).toEqual([{ a: '"\\' }, '\\']);
      expect((await contentOf(attachments.read(media))) === expected.media).toBe(true);
      expect((await contentOf(attachments.read(b[1].url))) === expected.b[1].url).toBe(true);
      release();
    }
  });

  it('resolves its own markers only, until they are released', async () => {
    const others = new JsonAttachments(storage, memory);
    const { value, release } = await parse({ media: LONG });
    const { media } = value as { media: string };
    expect(await contentOf(attachments.read('short'))).toBe('short');
    expect(await contentOf(others.read(media))).toBe(media);
    await expect(parse({ media })).rejects.toThrow('media is longer than'); // of another body
    release();
    expect(await contentOf(attachments.read(media))).toBe(media);
  });

  it.each(['https://example.org/', 'media://films/', 'file-', ''])(
    'tells nobody its markers: %s and a long text is no address',
    async (start) => {
      const intake = await openedIntake();
      const body = Buffer.from(JSON.stringify({ media: start + 'x'.repeat(300_000) }));
      const { value, release } = await intake.parseJson(
        inPieces(body, () => 65_536),
        LIMITS,
      );
      const { media } = value as { readonly media: string };
      expect(() => intake.fromReference(media, 'media')).toThrow('media is too long for an address.');
      release();
      await intake.close();
    },
  );

  it('counts what all bodies hold in memory, and refuses what is too much', async () => {
    const half = { a: Array.from({ length: 4 }, () => 'x'.repeat(200_000)) };
    const held = await Promise.all([1, 2, 3, 4, 5].map(() => parse(half)));
    await expect(parse(half)).rejects.toMatchObject({ code: 'storage_full', retryAfterSeconds: 5 });
    held[0]!.release();
    held.push(await parse(half));
    for (const { release } of held) release();
  });

  it.each([
    ['whose rest is large', Array.from({ length: 100_000 }, (_, index) => `key number ${index}`), /beside its files/],
    ['with a very long string in a field without files', { prompt: LONG.repeat(3) }, /beside its files/],
    ['with a long string that follows the name of a field', { a: ['media', LONG] }, /1 is longer than/],
    ['with __proto__', Buffer.from(`{"media":"${LONG}","__proto__":{"a":1}}`), /__proto__ is not an allowed field/],
    ['that ends early', Buffer.from(`{"media":"${LONG}"`), /not JSON/],
    ['that ends amid a file', Buffer.from(`{"media":"${LONG}`), /not JSON/],
    ['that is nested deeply', Buffer.from('['.repeat(400_000) + ']'.repeat(400_000)), /nested too deeply/],
    ['that is empty', Buffer.from(' \n'), /empty/],
    ['above its limit', Buffer.from(`{"media":"${'x'.repeat(LIMITS.maxBytes)}"}`), /Too large/],
  ])('refuses a body %s', async (_what, body, message) => {
    await expect(parse(body)).rejects.toThrow(message);
  });
});
