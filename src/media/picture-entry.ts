// Process entry: reads pictures with sharp, one at a time, for picture-process.ts. It is a process of its own because
// nothing stops sharp once it works, neither a signal nor a deadline, but the end of its process.
import { open } from 'node:fs/promises';
import sharp, { type Metadata } from 'sharp';
import { textLines } from '../base/text-lines.ts';
import { toRgb } from './picture-pixels.ts';
import type { PictureJob, PictureReply } from './picture-process.ts';

// libvips knows more formats than we mean, and some of them are programs (SVG) or start one.
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({
  operation: ['Png', 'Jpeg', 'Webp', 'Tiff', 'Heif', 'Nsgif'].map((format) => `VipsForeignLoad${format}`),
});
// The cache would answer for a file that has been replaced by another of the same name.
sharp.cache(false);
sharp.concurrency(1);

interface Answer {
  readonly reply: PictureReply;
  readonly pixels?: Uint8Array;
}

async function read({ path, format, maxPixels }: PictureJob): Promise<Answer> {
  try {
    const source = sharp(path, { limitInputPixels: maxPixels ?? false, failOn: 'error', ignoreIcc: true });
    const header = await source.metadata();
    if (header.format !== format || (format === 'heif' && header.compression !== 'av1'))
      return failure(`it begins like ${format} and is read as ${header.compression ?? header.format}`);
    if (maxPixels === undefined) return { reply: { kind: 'header', ...factsOf(header) } };
    const cmyk = header.space === 'cmyk';
    // Pillow's sums need the inks themselves; libvips would convert them by a colour profile.
    const { data, info } = await (cmyk ? source.pipelineColourspace('cmyk') : source)
      .autoOrient()
      .toColourspace(cmyk ? 'cmyk' : 'srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    const { width, height, channels } = info;
    const layout = { channels, cmyk, blend: !cmyk && (await isBlended(path, header)) };
    return { reply: { kind: 'pixels', width, height }, pixels: toRgb(data, layout) };
  } catch (cause) {
    return failure(reasonOf(cause, path));
  }
}

/** libvips' words, without the lines that name the file: others who sent the same may read them. */
function reasonOf(cause: unknown, path: string): string {
  const words = cause instanceof Error ? cause.message : String(cause);
  const lines = words.split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '' && !line.includes(path)).join(' ') || 'its bytes lead nowhere';
}

function failure(reason: string): Answer {
  return { reply: { kind: 'failed', reason } };
}

function factsOf({ width, height, orientation, space, hasAlpha, pages }: Metadata) {
  return {
    width,
    height,
    orientation: orientation ?? 1,
    pages: pages ?? 1,
    colours: `${space}${hasAlpha ? '+alpha' : ''}`,
  };
}

/**
 * Whether Pillow opens the picture as RGBA, which the reference blends with white. Transparency that is no channel of
 * the file (a colour or palette entry of a PNG or GIF) is dropped.
 */
async function isBlended(path: string, { format, isPalette, channels }: Metadata): Promise<boolean> {
  if (format !== 'png') return channels === 4 && !isPalette;
  const [bits, colourType] = await readBytes(path, 24, 2);
  return colourType === 6 || (colourType === 4 && bits === 16);
}

async function readBytes(path: string, position: number, length: number): Promise<Uint8Array> {
  const file = await open(path);
  try {
    return (await file.read(new Uint8Array(length), 0, length, position)).buffer;
  } finally {
    await file.close();
  }
}

for await (const line of textLines(process.stdin)) {
  const { reply, pixels } = await read(JSON.parse(line) as PictureJob);
  process.stdout.write(`${JSON.stringify(reply)}\n`);
  if (pixels !== undefined) process.stdout.write(pixels);
}
