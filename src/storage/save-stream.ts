import { createHash } from 'node:crypto';
import { open, unlink } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { AvocadoError } from '../base/errors.ts';
import { storageFull, type Reservation, type SpaceAccount } from './disk-quota.ts';
import type { TemporaryDirectory } from './temporary-directory.ts';
import type { LocalFile } from '../intake/types.ts';

export interface TemporarySpace {
  readonly directory: TemporaryDirectory;
  readonly account: SpaceAccount;
}

/** A file of ours. `remove()` also gives its bytes back, any number of times. */
export interface SavedFile extends LocalFile {
  readonly contentHash: string;
  readonly remove: () => Promise<void>;
}

export interface SaveOptions {
  /** the client's name for it; only a harmless extension is kept */
  readonly name: string;
  readonly maxBytes: number;
  readonly tooLarge: () => AvocadoError;
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: ((done: number) => void) | undefined;
}

/**
 * Writes a stream to a new file, counting and hashing it on the way. On any failure nothing is left.
 * @throws AvocadoError `storage_full`, that of `tooLarge`; the stream's own errors pass
 */
export async function saveStream(
  { directory, account }: TemporarySpace,
  chunks: AsyncIterable<Uint8Array>,
  options: SaveOptions,
): Promise<SavedFile> {
  const path = directory.newPath(options.name);
  const reservation = account.open();
  const remove = async (): Promise<void> => {
    // Not rm(), which asks what it removes on the thread that serves everybody.
    await unlink(path).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    });
    reservation.release();
  };
  try {
    return { path, contentHash: await write(path, chunks, reservation, options), remove };
  } catch (thrown) {
    await remove();
    throw ['ENOSPC', 'EDQUOT'].includes((thrown as NodeJS.ErrnoException).code ?? '') ? storageFull(thrown) : thrown;
  }
}

async function write(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  reservation: Reservation,
  options: SaveOptions,
): Promise<string> {
  const { maxBytes, tooLarge, signal, onBytes } = options;
  const hash = createHash('sha256');
  let done = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      done += chunk.length;
      if (done > maxBytes) throw tooLarge();
      reservation.grow(chunk.length);
      hash.update(chunk);
      onBytes?.(done);
      yield chunk;
    }
  }
  // Opened here, not by the stream: one that is aborted early would make the file after it was removed.
  const handle = await open(path, 'wx', 0o600);
  try {
    await pipeline(counted, handle.createWriteStream(), { signal });
  } finally {
    await handle.close();
  }
  return hash.digest('hex');
}
