// A local file before any decoder opens it: it exists, is regular and not too large, and its first bytes tell its kind.
import { open, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { AvocadoError } from '../base/errors.ts';

/** `still` is decoded by sharp, `container` by ffmpeg; ffmpeg also tries `unknown`. The others are refused. */
type FileKind = 'still' | 'heic' | 'playlist' | 'text' | 'container' | 'unknown';

export interface MediaFile {
  /** absolute */
  readonly path: string;
  readonly sizeBytes: number;
  readonly kind: FileKind;
}

/**
 * Checks a file without decoding it: it exists, is regular, not empty and not too large. Its kind comes from its first
 * bytes.
 * @throws AvocadoError `media_not_found`, `media_not_a_file`, `media_empty`, `media_too_large`
 */
export async function openMediaFile(path: string, maxSizeBytes: number): Promise<MediaFile> {
  const absolute = resolve(path);
  const sizeBytes = await checkedSize(absolute, path);
  if (sizeBytes > maxSizeBytes) {
    throw new AvocadoError(
      'media_too_large',
      `${path} is ${megabytes(sizeBytes)} MB; at most ${megabytes(maxSizeBytes)} MB are taken. Cut it or re-encode it.`,
    );
  }
  return { path: absolute, sizeBytes, kind: sniff(await readHead(absolute, path)) };
}

async function checkedSize(absolute: string, path: string): Promise<number> {
  const found = await stat(absolute).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  // A decoder would wait forever on a pipe or a device.
  if (!found.isFile())
    throw new AvocadoError(
      'media_not_a_file',
      `${path} is ${found.isDirectory() ? 'a directory' : 'not a regular file'}. Give a media file.`,
    );
  if (found.size === 0)
    throw new AvocadoError('media_empty', `${path} is empty (0 bytes). Was it fully written or uploaded?`);
  return found.size;
}

async function readHead(absolute: string, path: string): Promise<Uint8Array> {
  const file = await open(absolute).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(SNIFF_BYTES), 0, SNIFF_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

function unreadable(path: string, cause: unknown): AvocadoError {
  const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
  if (reason === 'EACCES' || reason === 'EPERM')
    return new AvocadoError('media_not_found', `${path} may not be read by this user. Change its permissions.`, {
      cause,
    });
  return new AvocadoError('media_not_found', `There is no file ${path} (${reason}). Check the path.`, { cause });
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
}

/** `sniff` needs at most this many bytes from the start of a file. */
export const SNIFF_BYTES = 1024;

const STILLS: readonly (readonly [offset: number, magic: string])[] = [
  [0, '\x89PNG\r\n\x1a\n'],
  [0, '\xff\xd8\xff'],
  [8, 'WEBP'],
  [0, 'II*\0'],
  [0, 'MM\0*'],
  [4, 'ftypavif'],
];

const CONTAINERS: readonly (readonly [offset: number, magic: string])[] = [
  ...['ftyp', 'moov', 'mdat', 'wide', 'free', 'skip', 'pnot'].map((box) => [4, box] as const),
  [0, '\x1aE\xdf\xa3'], // matroska, webm
  [0, 'RIFF'],
  [0, 'OggS'],
  [0, 'FLV\x01'],
  [0, '\x30\x26\xb2\x75'], // asf
  [0, '\0\0\x01\xba'], // mpeg program stream
  [0, 'G'], // mpeg transport stream
  [0, 'fLaC'],
  [0, 'ID3'],
  [0, 'GIF8'],
  [0, 'FORM'],
  [0, 'riff'], // w64
];

/**
 * The kind of a file by its first bytes. Names and extensions are ignored, since the sender chooses them.
 * @param head the first SNIFF_BYTES of a file, or all of a shorter one
 */
export function sniff(head: Uint8Array): FileKind {
  const text = Buffer.from(head.buffer, head.byteOffset, head.byteLength).toString('latin1');
  const has = ([offset, magic]: readonly [number, string]): boolean => text.startsWith(magic, offset);
  if (STILLS.some(has)) return 'still';
  if (/^.{4}ftyp(heic|heix|hevc|mif1|msf1)/s.test(text)) return 'heic';
  if (/^(\ufeff|\xef\xbb\xbf)?\s*(#EXTM3U|ffconcat|\[playlist\]|<\?xml[^]*<(MPD|playlist|smil)|<MPD|<smil)/i.test(text))
    return 'playlist';
  if (isText(text)) return 'text';
  if (CONTAINERS.some(has) || /^\xff[\xe0-\xff]/.test(text)) return 'container';
  return 'unknown';
}

/** No control characters except white space. The first kilobyte of every container has some. */
function isText(text: string): boolean {
  return (
    !/[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]/.test(text) && /^[\t\n\r\x20-\x7e]{4}/.test(text.replace(/^\xef\xbb\xbf/, ''))
  );
}
