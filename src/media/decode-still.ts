import sharp from 'sharp';
import { AvocadoError } from '../base/errors.ts';

export interface StillPicture {
  /** u8 RGB [height, width, 3] */
  readonly data: Uint8Array<SharedArrayBuffer>;
  readonly height: number;
  readonly width: number;
}

/**
 * Decodes a still picture to RGB at full size as qwen-omni-utils `fetch_image` does with PIL: colour profiles ignored, true-colour
 * alpha laid over white, other alpha dropped. Unlike it, EXIF orientation is obeyed, so that a photograph stands upright as a
 * video does.
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

/** @param blend lay colour over white by its alpha, with PIL's rounding (`paste` with a mask); else alpha is dropped */
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
