// Still pictures, through sharp: what their header says, and their pixels.
import sharp, { type Metadata } from 'sharp';
import { AvocadoError } from '../base/errors.ts';
import type { MediaFile } from './media-file.ts';
import type { MediaProbe } from './types.ts';

/** Degrees by EXIF orientation; 5 to 8 swap height and width. */
const ROTATIONS: Readonly<Record<number, number>> = { 3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270 };

/**
 * Facts of a still picture, from its header alone.
 * @throws AvocadoError `media_undecodable`
 */
export async function probeStill(file: MediaFile): Promise<MediaProbe> {
  let header: Metadata;
  try {
    // probeMedia checks the limit and names both sizes in its error.
    header = await sharp(file.path, { limitInputPixels: false }).metadata();
  } catch (cause) {
    throw new AvocadoError(
      'media_undecodable',
      `The picture cannot be read: ${cause instanceof Error ? cause.message : String(cause)}. Is the file complete?`,
      { cause },
    );
  }
  const rotation = ROTATIONS[header.orientation ?? 1] ?? 0;
  const sideways = rotation % 180 !== 0;
  const pages = header.pages ?? 1;
  return {
    path: file.path,
    container: header.format,
    sizeBytes: file.sizeBytes,
    durationSeconds: 0,
    audio: undefined,
    video: {
      index: 0,
      codec: header.format,
      pixelFormat: `${header.space}${header.hasAlpha ? '+alpha' : ''}`,
      storedWidth: header.width,
      storedHeight: header.height,
      rotation,
      width: sideways ? header.height : header.width,
      height: sideways ? header.width : header.height,
      averageFps: 0,
      totalFrames: 1,
      durationSeconds: 0,
      still: true,
    },
    ...(pages > 1 ? { warnings: [`The file holds ${pages} pictures; only the first is looked at.`] } : {}),
  };
}

interface StillPicture {
  /** u8 RGB [height, width, 3] */
  readonly data: Uint8Array<SharedArrayBuffer>;
  readonly height: number;
  readonly width: number;
}

/**
 * Decodes a still picture to RGB at full size as qwen-omni-utils `fetch_image` does with PIL: colour profiles ignored,
 * true-colour alpha blended with white, other alpha dropped. Unlike it, EXIF orientation is applied, so that
 * photographs are upright as videos are.
 * @throws AvocadoError `media_undecodable`, `media_too_large`
 */
export async function decodeStill(path: string, maxPixels: number): Promise<StillPicture> {
  try {
    const source = sharp(path, { limitInputPixels: maxPixels, failOn: 'error', ignoreIcc: true, pages: 1 });
    const { isPalette, channels } = await source.metadata();
    const { data, info } = await source
      .autoOrient()
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    const pixels = info.width * info.height;
    const rgb = new Uint8Array(new SharedArrayBuffer(pixels * 3));
    fillRgb(rgb, data, info.channels, channels === 4 && !isPalette);
    return { data: rgb, height: info.height, width: info.width };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    if (reason.includes('pixel limit'))
      throw new AvocadoError('media_too_large', `The picture has more than ${maxPixels} pixels. Scale it down.`, {
        cause,
      });
    throw new AvocadoError('media_undecodable', `The picture cannot be decoded: ${reason}. Is the file complete?`, {
      cause,
    });
  }
}

/**
 * @param blend blend colours with white by their alpha, rounded as PIL's `paste` with a mask does; otherwise drop alpha
 */
function fillRgb(rgb: Uint8Array, source: Uint8Array, channels: number, blend: boolean): void {
  const grey = channels < 3;
  const alphaAt = blend && channels === 4 ? 3 : undefined;
  for (let from = 0, to = 0; to < rgb.length; from += channels, to += 3) {
    for (let channel = 0; channel < 3; channel++) {
      const value = source[from + (grey ? 0 : channel)] ?? 0;
      rgb[to + channel] = alphaAt === undefined ? value : overWhite(value, source[from + alphaAt] ?? 255);
    }
  }
}

function overWhite(value: number, alpha: number): number {
  const sum = value * alpha + 255 * (255 - alpha) + 128;
  return ((sum >> 8) + sum) >> 8;
}
