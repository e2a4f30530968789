// Pictures as Pillow opens them, and what stops the process that reads them.
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import { describe, expect, test, vi } from 'vitest';
import { readPicture } from '../../../src/media/picture-process.ts';
import { probeMedia } from '../../../src/media/probe.ts';
import { decodeStill } from '../../../src/media/still.ts';
import { childrenRunning } from '../../fixtures/child-processes.ts';
import { golden, goldenJson } from '../../fixtures/golden.ts';
import { makeClip } from '../../fixtures/make-clip.ts';
import { manyPages } from '../../fixtures/hostile-media.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

interface PillowPicture {
  readonly mode: string;
  readonly width: number;
  readonly height: number;
  readonly file: string;
  readonly rgb: string;
}

const scratch = scratchDirectory();
const RUN = { timeoutSeconds: 120 };
const MAX_PIXELS = 1e6;

async function written(name: string, bytes: string | Uint8Array): Promise<string> {
  await writeFile(scratch(name), bytes);
  return scratch(name);
}

async function decoded(path: string): Promise<Buffer> {
  const { video } = await probeMedia(path);
  return Buffer.from(await decodeStill(path, video!, MAX_PIXELS, RUN));
}

test("pictures of every kind of colour have the bytes of Pillow's `convert`, RGBA those of `paste` over white", async () => {
  await mkdir(scratch('pillow'));
  for (const [name, { file, rgb, width, height }] of Object.entries(
    goldenJson<Record<string, PillowPicture>>('pictures.json'),
  )) {
    const path = await written(`pillow/${name}`, Buffer.from(file, 'base64'));
    const pixels = name.endsWith('.gif')
      ? Buffer.from(await decodeStill(path, { codec: 'gif', width, height }, MAX_PIXELS, RUN))
      : await decoded(path);
    expect(pixels.toString('base64'), name).toBe(rgb);
  }
});

test('grey of 16 bits is scaled, where Pillow turns all but the darkest 255 levels white', async () => {
  const path = scratch('grey16.png');
  const levels = Uint16Array.from([0, 255, 256, 32_768, 65_535]);
  await sharp(levels, { raw: { width: 5, height: 1, channels: 1 } })
    .toColourspace('grey16')
    .png()
    .toFile(path);
  expect([...(await decoded(path))].filter((_, index) => index % 3 === 0)).toEqual([0, 0, 1, 128, 255]);
});

describe('a picture that is not what it seems', () => {
  const svg =
    '<svg    WEBP="" xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="9" height="9"/></svg>';

  test('SVG never reaches a reader, whatever stands at the place of a magic number', async () => {
    const path = await written('svg.webp', svg);
    await expect(probeMedia(path)).rejects.toMatchObject({ code: 'media_unsupported' });
    for (const format of ['webp', 'png', 'tiff', 'heif'] as const)
      expect(await readPicture({ path, format, maxPixels: MAX_PIXELS }, RUN)).toMatchObject({
        kind: 'failed',
        reason: expect.stringContaining('unsupported image format') as string,
      });
  });

  test('one of another format than its first bytes said is refused', async () => {
    const path = scratch('red.jpg');
    await sharp({ create: { width: 8, height: 8, channels: 3, background: 'red' } })
      .jpeg()
      .toFile(path);
    await expect(decodeStill(path, { codec: 'png', width: 8, height: 8 }, MAX_PIXELS, RUN)).rejects.toMatchObject({
      code: 'media_undecodable',
      message: expect.stringContaining('begins like png and is read as jpeg') as string,
    });
  });

  test('one that is cut short is refused in one line, which does not name our file', async () => {
    const whole = await sharp({ create: { width: 64, height: 48, channels: 3, background: 'teal' } })
      .avif()
      .toBuffer();
    const path = await written('cut.avif', whole.subarray(0, whole.length - 20));
    const message: unknown = await decoded(path).catch((error: unknown) => (error as Error).message);
    expect(message).toMatch(/^The picture cannot be decoded: .*Unexpected end of file.*$/);
    expect(message).not.toContain(path);
  });

  test('one that another of its name replaces is read anew; one of another size is refused', async () => {
    const path = scratch('replaced.png');
    const paint = async (background: string, width: number): Promise<void> => {
      await sharp({ create: { width, height: 8, channels: 3, background } })
        .png()
        .toFile(scratch('next.png'));
      await rename(scratch('next.png'), path);
    };
    await paint('#ff0000', 8);
    const { video } = await probeMedia(path);
    expect([...(await decoded(path)).subarray(0, 3)]).toEqual([255, 0, 0]);
    await paint('#0000ff', 8);
    expect([...(await decodeStill(path, video!, MAX_PIXELS, RUN)).subarray(0, 3)]).toEqual([0, 0, 255]);
    await paint('#00ff00', 16);
    await expect(decodeStill(path, video!, MAX_PIXELS, RUN)).rejects.toMatchObject({
      code: 'media_undecodable',
      message: expect.stringContaining('replaced') as string,
    });
  });
});

const pictureProcesses = (): number[] => childrenRunning('picture-entry');

describe('the process that reads a picture', () => {
  test('is another one where the idle one has died', async () => {
    const path = golden('clips/still.png');
    const first = await decoded(path);
    for (const pid of pictureProcesses()) process.kill(pid, 'SIGKILL');
    expect(first.equals(await decoded(path))).toBe(true);
  });

  test('is no fault of the picture where something else ends it', async () => {
    const idle = pictureProcesses(); // would be replaced
    for (const pid of idle) process.kill(pid, 'SIGKILL');
    const areGone = (): void => {
      expect(pictureProcesses().filter((pid) => idle.includes(pid))).toEqual([]);
    };
    await vi.waitFor(areGone, { timeout: 20_000 });
    await sleep(100); // and that was heard
    const reading = readPicture({ path: golden('clips/still.png'), format: 'png', maxPixels: undefined }, RUN);
    for (const pid of pictureProcesses()) process.kill(pid, 'SIGKILL');
    await expect(reading).rejects.toMatchObject({ code: 'engine_error' });
  });

  test('ends at its time limit and at a cancel, and the next one is read', async () => {
    const path = await written('pages.tif', manyPages(20_000));
    const job = { path, format: 'tiff', maxPixels: undefined } as const;
    await expect(readPicture(job, { timeoutSeconds: 0.01 })).rejects.toMatchObject({ code: 'media_timeout' });
    const stop = new AbortController();
    const reading = readPicture(job, { ...RUN, signal: stop.signal });
    stop.abort();
    await expect(reading).rejects.toMatchObject({ code: 'aborted' });
    await expect(readPicture(job, { ...RUN, signal: stop.signal })).rejects.toMatchObject({ code: 'aborted' });
    expect(await readPicture(job, RUN)).toMatchObject({ kind: 'header', pages: 20_000, width: 8 });
  });
});

describe('several pictures in one file', () => {
  const frames = ['red', 'green', 'blue'].map((background) =>
    sharp({ create: { width: 16, height: 16, channels: 3, background } })
      .png()
      .toBuffer(),
  );
  const animation = async () => sharp(await Promise.all(frames), { join: { animated: true } });

  test('are a video where ffmpeg plays them', async () => {
    const path = scratch('animated.gif');
    await (await animation()).gif({ delay: 200 }).toFile(path);
    expect((await probeMedia(path)).video).toMatchObject({ still: false, totalFrames: 3 });
    const again = ['-i', path, '-f', 'apng'];
    for (const file of [await makeClip(scratch('animated.png'), again), golden('clips/animated.avif')])
      expect((await probeMedia(file)).video, file).toMatchObject({ still: false, totalFrames: 3 });
    const one = await makeClip(scratch('one.png'), ['-i', path, '-frames:v', '1', '-f', 'apng']);
    expect((await probeMedia(one)).video).toMatchObject({ still: true, codec: 'png' });
  });

  test('else give the first one, with a warning', async () => {
    const path = scratch('animated.webp');
    await (await animation()).webp({ delay: 200 }).toFile(path);
    const pages = await written('pages3.tif', manyPages(3));
    for (const file of [path, pages])
      expect(await probeMedia(file)).toMatchObject({
        video: { still: true },
        warnings: ['The file holds 3 pictures; only the first is looked at.'],
      });
  });
});
