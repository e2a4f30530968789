import sharp, { type Metadata } from 'sharp';
import { AvocadoError } from '../base/errors.ts';
import type { MediaFile } from './open-file.ts';
import type { MediaProbe } from './types.ts';

/** EXIF orientations 5 to 8 lie on their side. @see decode-still.ts */
const ROTATIONS: Readonly<Record<number, number>> = { 3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270 };

/**
 * Facts of a still picture, from its header alone.
 * @throws AvocadoError `media_undecodable`
 */
export async function probeStill(file: MediaFile): Promise<MediaProbe> {
  let header: Metadata;
  try {
    // The limit is checked by the caller, who knows how to say it.
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
