import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';

/** A tenth of a millisecond of hashing at a time, between which everything else goes on. */
const BYTES_AT_ONCE = 128 * 1024;

/**
 * SHA-256 of a file's bytes in hex, as a stream: memory does not grow with the file.
 * @throws the system's error, or AbortError
 */
export async function contentHash(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  const bytes = createReadStream(path, { highWaterMark: BYTES_AT_ONCE });
  await (signal === undefined ? pipeline(bytes, hash) : pipeline(bytes, hash, { signal }));
  return hash.digest('hex');
}
