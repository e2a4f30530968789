import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openedIntake, openSource, type OpenedIntake } from '../../fixtures/opened-intake.ts';
import type { MediaSource } from '../../../src/intake/media-source.ts';

let intake: OpenedIntake;
beforeAll(async () => {
  intake = await openedIntake({ maxUploadBytes: 2_000_000 });
});
afterAll(async () => {
  expect({ files: await intake.files(), use: intake.use() }).toMatchObject({
    files: [],
    use: { usedBytes: 0, files: 0 },
  });
  await intake.close();
});

async function contentOf(source: MediaSource): Promise<{ readonly content: Buffer; readonly extension: string }> {
  const { path, contentHash } = await openSource(source);
  const content = await readFile(path);
  expect(contentHash).toBe(createHash('sha256').update(content).digest('hex'));
  await source.release();
  return { content, extension: extname(path) };
}

const fromUrl = (url: string): Promise<{ readonly content: Buffer; readonly extension: string }> =>
  contentOf(intake.fromReference(url, 'media'));

describe('a data URL', () => {
  it.each([
    ['data:video/mp4;base64,aGVsbG8=', 'hello', '.mp4'],
    ['DATA:video/mp4;BASE64,aGVsbG8=', 'hello', '.mp4'],
    ['data:video/mp4;codecs=avc1;base64,aGVsbG8=', 'hello', '.mp4'],
    ['data:video/webm;codecs=vp9,opus;base64,aGVsbG8=', 'hello', '.webm'],
    ['data:video/webm;codecs="vp9,opus";base64,aGVsbG8=', 'hello', '.webm'],
    ['data:video/mp4; codecs="avc1.42E01E, mp4a.40.2" ; base64 ,aGVsbG8=', 'hello', '.mp4'],
    ['data:video/mp4;name="a;base64,\\".mp4";base64,aGVsbG8=', 'hello', '.mp4'],
    ['data:video/mp4;name=a, b.mp4;base64,aGVsbG8=', 'hello', '.mp4'],
    ['data:video/mp4;name="a,b",a%20b', 'a b', '.mp4'],
    ['data:video/mp4;name="a,b', 'b', '.mp4'],
    ['data:text/plain;base64x,aGVsbG8=', 'aGVsbG8=', '.plain'],
    [' \ndata:video/mp4;base64,aGVsbG8=', 'hello', '.mp4'],
    ['data:video/mp4;base64,aGVsbG8=#t=1,2', 'hello', '.mp4'],
    ['data:,a%23b#c', 'a#b', '.'],
    ['data:;base64,aGVsbG8', 'hello', '.'],
    ['data:audio/wav;base64,aGVs\r\n bG8=\n', 'hello', '.wav'],
    ['data:audio/wav;base64,aGVsbG8%3D', 'hello', '.wav'],
    ['data:audio/wav;base64,%2F%2B8%3D', '\xff\xef', '.wav'],
    ['data:image/png;base64,_-8=', '\xff\xef', '.png'],
    ['data:video/quicktime;base64,aGVsbG8=', 'hello', '.'],
    ['data:../../x;base64,aGVsbG8=', 'hello', '.'],
    ['data:image/svg+xml,%3Csvg%3E', '<svg>', '.'],
    ['data:,a%20b%00%ff', 'a b\0\xff', '.'],
    ['data:,', '', '.'],
    ['data:;base64,', '', '.'],
  ])('%j holds %j', async (url, content, extension) => {
    expect(await fromUrl(url)).toEqual({
      content: Buffer.from(content, 'latin1'),
      extension: extension === '.' ? '' : extension,
    });
  });

  it.each([
    'data:',
    'data:video/mp4;base64',
    `data:${'x'.repeat(2000)},a`,
    'data:;base64,a',
    'data:;base64,abc*',
    'data:;base64,ab=c',
    'data:;base64,abcd====',
    'data:;base64,a=',
    'data:;base64,äöü=',
    'data:;base64,aGVs%',
    'data:;base64,aGVs%4',
    'data:,%zz',
    'data:,%',
    'data:,ü',
    `data:;base64,${'AAAA'.repeat(70_000)}=AAA`,
    `data:;base64,${'A'.repeat(262_144)}*`,
  ])('that is malformed is refused', async (url) => {
    expect(await intake.errorOf(url)).toMatchObject({ code: 'bad_request', param: 'media' });
  });

  it('of any length decodes to the original bytes, wherever pieces are cut', async () => {
    for (const size of [196_606, 196_607, 196_608, 196_609, 1_000_003]) {
      const bytes = randomBytes(size);
      const base64 = bytes.toString('base64');
      const escaped = [...bytes.subarray(0, 200_000)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
      expect((await fromUrl(`data:;base64,${base64}`)).content.equals(bytes)).toBe(true);
      expect((await fromUrl(`data:;base64,${base64.replace(/.{76}/g, '$&\r\n')}`)).content.equals(bytes)).toBe(true);
      expect((await fromUrl(`data:;base64,${encodeURIComponent(base64)}`)).content.equals(bytes)).toBe(true);
      expect((await fromUrl(`data:,${escaped}`)).content.equals(bytes.subarray(0, 200_000))).toBe(true);
    }
  });

  it('is accepted at exactly the size limit; one byte more is refused before anything is decoded', async () => {
    const largest = Buffer.alloc(2_000_000);
    expect((await fromUrl(`data:;base64,${largest.toString('base64')}`)).content.equals(largest)).toBe(true);
    for (const url of [
      `data:;base64,${Buffer.alloc(2_000_003).toString('base64')}`,
      `data:,${'a'.repeat(6_000_003)}`,
    ]) {
      expect(() => intake.fromReference(url, 'media')).toThrow(
        expect.objectContaining({ code: 'media_too_large', param: 'media' }) as Error,
      );
    }
    expect(await intake.errorOf(`data:,${'a'.repeat(2_000_001)}`)).toMatchObject({ code: 'media_too_large' });
    expect(await intake.errorOf(`data:;base64,${Buffer.alloc(2_000_001).toString('base64')}`)).toMatchObject({
      code: 'media_too_large',
    });
  });

  it('of 100 MB does not block the event loop', async () => {
    const large = await openedIntake({ maxUploadBytes: 200_000_000, maxTemporaryBytes: 200_000_000 });
    const source = large.fromReference(`data:video/mp4;base64,${'QUJD'.repeat(33_000_000)}`, 'media');
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    const file = await openSource(source);
    delay.disable();
    // The median shows the cost of one piece even on a busy machine.
    expect(delay.percentile(50) / 1e6).toBeLessThan(50);
    expect(large.use().usedBytes).toBe(99_000_000);
    expect(file.contentHash).toMatch(/^[0-9a-f]{64}$/);
    await source.release();
    await large.close();
  });
});

describe('plain base64', () => {
  it('becomes a file with the given display name, and the format as extension', async () => {
    const source = intake.fromBase64('aGVsbG8=', 'wav', 'the input_audio', 'messages.0.content.1.input_audio.data');
    expect([source.kind, source.displayName]).toEqual(['data', 'the input_audio']);
    expect(await contentOf(source)).toEqual({ content: Buffer.from('hello'), extension: '.wav' });
    expect((await contentOf(intake.fromBase64('aGVsbG8=', undefined, 'x', 'y'))).extension).toBe('');
    expect((await contentOf(intake.fromBase64('aGVsbG8=', '../../x', 'x', 'y'))).extension).toBe('');
  });

  it('that is malformed is refused, and the error names its field', async () => {
    await expect(openSource(intake.fromBase64('hello!', 'wav', 'the input_audio', 'data'))).rejects.toMatchObject({
      code: 'bad_request',
      param: 'data',
      message: 'The file in the input_audio is not base64.',
    });
  });

  it('is not decoded after the request is aborted or the source released', async () => {
    const source = intake.fromBase64('aGVsbG8=', 'wav', 'the input_audio', 'data');
    await expect(openSource(source, AbortSignal.abort())).rejects.toMatchObject({ code: 'aborted' });
    await source.release();
    await expect(openSource(source)).rejects.toMatchObject({ code: 'aborted' });
  });
});
