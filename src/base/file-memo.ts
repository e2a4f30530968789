import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { RecentMap } from './recent-map.ts';

interface Kept<T> {
  readonly identity: string;
  readonly value: T;
}

/**
 * What a path names at this moment; another one as soon as the file is written to or replaced.
 * @returns undefined where there is nothing, or where it may not be looked at
 */
export async function fileIdentity(path: string): Promise<string | undefined> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  // The time of change beside that of modification: programs can set the latter back.
  return found && [found.dev, found.ino, found.size, found.mtimeNs, found.ctimeNs].join('/');
}

/**
 * Something learned by reading a file, kept for as long as the file stays as it was; the least
 * recently asked for goes first.
 */
export class FileMemo<T> {
  readonly #read: (path: string, signal: AbortSignal | undefined) => Promise<T>;
  readonly #kept: RecentMap<string, Kept<T>>;

  /** @param capacity most files remembered */
  constructor(read: (path: string, signal: AbortSignal | undefined) => Promise<T>, capacity: number) {
    this.#read = read;
    this.#kept = new RecentMap(capacity);
  }

  /** @throws what reading throws; failures are not remembered */
  async get(path: string, signal?: AbortSignal): Promise<T> {
    const key = resolve(path);
    const before = await fileIdentity(key);
    const kept = this.#kept.get(key);
    this.#kept.delete(key);
    if (kept !== undefined && kept.identity === before) {
      this.#kept.set(key, kept);
      return kept.value;
    }
    const value = await this.#read(path, signal);
    // A file that changed while it was read has given a value of neither state.
    if (before !== undefined && (await fileIdentity(key)) === before) this.#kept.set(key, { identity: before, value });
    return value;
  }
}

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
