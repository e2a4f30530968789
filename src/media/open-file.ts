import { open, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { AvocadoError } from '../base/errors.ts';
import { sniff, SNIFF_BYTES, type FileKind } from './sniff.ts';

export interface MediaFile {
  /** absolute */
  readonly path: string;
  readonly sizeBytes: number;
  readonly kind: FileKind;
}

/**
 * Looks at a file without decoding it: there, regular, not empty, not too big, and what its first bytes say.
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
  // A pipe or a device would make the decoder wait for ever.
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
