// Still pictures: what their header says, and their pixels.
import { AvocadoError } from '../base/errors.ts';
import type { MediaFile } from './media-file.ts';
import { readPicture, type PictureFormat, type PictureRun } from './picture-process.ts';
import type { MediaProbe, VideoStream } from './types.ts';

/** Degrees by EXIF orientation; 5 to 8 swap height and width. */
const ROTATIONS: Readonly<Record<number, number>> = { 3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270 };

/** No honest header takes this long, nor does a picture within the limit of pixels. */
const LONGEST_SECONDS = { header: 20, pixels: 60 };

function within(run: PictureRun, seconds: number): PictureRun {
  return { ...run, timeoutSeconds: Math.min(run.timeoutSeconds, seconds) };
}

/**
 * Facts of a still picture, from its header alone.
 * @throws AvocadoError `media_undecodable`, `media_timeout`, `engine_error`, `aborted`
 */
export async function probeStill(file: MediaFile, run: PictureRun): Promise<MediaProbe> {
  const { format } = file;
  if (format === undefined) throw new Error('This file is no still picture. This is a bug.');
  const header = await readPicture(
    { path: file.path, format, maxPixels: undefined },
    within(run, LONGEST_SECONDS.header),
  );
  if (header.kind !== 'header') throw unreadable('read', header.kind === 'failed' ? header.reason : header.kind);
  const rotation = ROTATIONS[header.orientation] ?? 0;
  const sideways = rotation % 180 !== 0;
  const { pages, width, height } = header;
  return {
    path: file.path,
    container: format,
    sizeBytes: file.sizeBytes,
    durationSeconds: 0,
    audio: undefined,
    video: {
      index: 0,
      codec: format,
      pixelFormat: header.colours,
      storedWidth: width,
      storedHeight: height,
      rotation,
      width: sideways ? height : width,
      height: sideways ? width : height,
      averageFps: 0,
      totalFrames: 1,
      durationSeconds: 0,
      still: true,
    },
    ...(pages > 1 ? { warnings: [`The file holds ${pages} pictures; only the first is looked at.`] } : {}),
  };
}

/** Names of ffmpeg for what libvips calls otherwise. */
const LIBVIPS_NAMES: Readonly<Record<string, string>> = { apng: 'png', mjpeg: 'jpeg', av1: 'heif' };

/**
 * Decodes a still picture to RGB at full size as qwen-omni-utils `fetch_image` does with PIL (reference-model.md, Still
 * pictures). Unlike it, EXIF orientation is applied, so that photographs are upright as videos are.
 * @param stream what the probe said; a picture that has another size or format by now is refused
 * @returns u8 RGB [height, width, 3]
 * @throws AvocadoError `media_undecodable`, `media_too_large`, `media_timeout`, `engine_error`, `aborted`
 */
export async function decodeStill(
  path: string,
  stream: Pick<VideoStream, 'codec' | 'width' | 'height'>,
  maxPixels: number,
  run: PictureRun,
): Promise<Uint8Array> {
  const format = (LIBVIPS_NAMES[stream.codec] ?? stream.codec) as PictureFormat;
  const picture = await readPicture({ path, format, maxPixels }, within(run, LONGEST_SECONDS.pixels));
  if (picture.kind === 'failed' && picture.reason.includes('pixel limit'))
    throw new AvocadoError('media_too_large', `The picture has more than ${maxPixels} pixels. Scale it down.`);
  if (picture.kind !== 'pixels') throw unreadable('decoded', picture.kind === 'failed' ? picture.reason : picture.kind);
  if (picture.width === stream.width && picture.height === stream.height) return picture.data;
  const message = 'The picture was replaced by one of another size while it was read. Send the request again.';
  throw new AvocadoError('media_undecodable', message);
}

function unreadable(verb: string, reason: string): AvocadoError {
  return new AvocadoError('media_undecodable', `The picture cannot be ${verb}: ${reason}. Is the file complete?`);
}
