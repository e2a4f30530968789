// Temporary files: a directory of this process, a quota over everything in it, and streams saved to it.
// It does not know where the bytes come from.
import { createHash, randomUUID } from 'node:crypto';
import { access, constants, open, stat, symlink, unlink, type FileHandle } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { AvocadoError, directoryUnwritable } from '../base/errors.ts';
import { makeDirectory } from '../base/make-directory.ts';
import { makeTemporaryDirectory, removeTemporaryDirectory } from '../base/temporary-directory.ts';

export interface DiskUse {
  readonly usedBytes: number;
  readonly limitBytes: number;
  readonly files: number;
}

/** @returns the error for too many bytes of requests in memory */
export function memoryFull(): AvocadoError {
  const retryAfterSeconds = 5;
  return new AvocadoError(
    'storage_full',
    `The server holds as much of requests in memory as it may. Send the request again in ${retryAfterSeconds} s.`,
    { retryAfterSeconds },
  );
}

/** @returns the error for a full disk or a full quota */
export function storageFull(cause?: unknown): AvocadoError {
  return new AvocadoError('storage_full', 'The server has no room for media right now. Try again later.', { cause });
}

/** @returns the error for a file that would not fit even if it were the only one: sending it again cannot help */
function neverFits(limitBytes: number): AvocadoError {
  return new AvocadoError(
    'media_too_large',
    `The file is larger than the ${limitBytes} bytes that all media on this server may take together. ` +
      'Cut it or re-encode it, or start the server with a larger --max-temp-bytes.',
  );
}

/** The bytes that one file or body holds of a quota. */
export interface Reservation {
  /**
   * Reserves bytes, before they are written; a negative number returns some.
   * @throws AvocadoError `storage_full`, or the quota's error for what can never fit
   */
  grow(bytes: number): void;
  /** Returns all bytes, after they are deleted. Repeated calls do nothing. */
  release(): void;
}

/** Limits bytes of all requests together: of files on disk, or of bodies in memory. */
export class ByteQuota {
  readonly #limitBytes: number;
  readonly #full: () => AvocadoError;
  readonly #tooLarge: () => AvocadoError;
  #usedBytes = 0;
  #files = 0;

  /** @param tooLarge the error for a single reservation above the limit */
  constructor(limitBytes: number, full: () => AvocadoError = storageFull, tooLarge = full) {
    this.#limitBytes = limitBytes;
    this.#full = full;
    this.#tooLarge = tooLarge;
  }

  /** Counts a new file, empty at first. */
  reserve(): Reservation {
    let reservedBytes = 0;
    let released = false;
    this.#files += 1;
    return {
      grow: (bytes) => {
        if (released) throw new Error('A file grows after its reservation was released. This is a bug.');
        if (reservedBytes + bytes > this.#limitBytes) throw this.#tooLarge();
        if (this.#usedBytes + bytes > this.#limitBytes) throw this.#full();
        this.#usedBytes += bytes;
        reservedBytes += bytes;
      },
      release: () => {
        if (released) return;
        released = true;
        this.#usedBytes -= reservedBytes;
        this.#files -= 1;
      },
    };
  }

  use(): DiskUse {
    return { usedBytes: this.#usedBytes, limitBytes: this.#limitBytes, files: this.#files };
  }
}

export interface StorageConfig {
  /** the parent of the directory that this process makes for itself */
  readonly temporaryDirectory: string;
  /** limit for all temporary files together */
  readonly maxTemporaryBytes: number;
}

export interface StoredFile {
  readonly path: string;
  /** SHA-256 in hex */
  readonly contentHash: string;
  /** Deletes the file and returns its bytes to the quota. Repeated calls do nothing. */
  readonly remove: () => Promise<void>;
}

export interface SaveOptions {
  /** the client's name for the file; only a harmless extension is kept */
  readonly name: string;
  readonly maxBytes: number;
  readonly tooLarge: () => AvocadoError;
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: ((done: number) => void) | undefined;
}

export interface TemporaryStorage {
  /**
   * Writes a stream to a new file and hashes it on the way. After an error nothing is left on disk.
   * @throws AvocadoError `storage_full`, `media_too_large` for more than the whole limit, the error of `tooLarge`;
   * errors of `chunks` and the signal's AbortError pass
   */
  save(chunks: AsyncIterable<Uint8Array>, options: SaveOptions): Promise<StoredFile>;
  /**
   * A link to another file, below a name of its own. It takes no room.
   * @throws AvocadoError `storage_full`
   */
  link(target: string, name: string): Promise<Pick<StoredFile, 'path' | 'remove'>>;
  /** Whether files can be written. A directory that somebody removed is made anew. */
  isReady(): Promise<boolean>;
  /** what is on disk now, files still being written included */
  use(): DiskUse;
  /** Deletes all files and the directory. */
  close(): Promise<void>;
}

const KIND = 'avocado-intake';

/**
 * Makes a directory that only this user can read, after deleting those of processes that died. It is deleted by
 * `close()` or when the process exits, and made anew if somebody removed it: cleaners of temporary files do.
 * @throws AvocadoError `directory_unwritable` when it cannot be made
 */
export async function openTemporaryStorage(config: StorageConfig): Promise<TemporaryStorage> {
  const directory = new OwnDirectory(config.temporaryDirectory);
  await directory.open();
  const { maxTemporaryBytes } = config;
  const quota = new ByteQuota(maxTemporaryBytes, storageFull, () => neverFits(maxTemporaryBytes));
  return {
    save: (chunks, options) => save(directory, quota.reserve(), chunks, options),
    link: async (target, name) => {
      const path = await directory.within(async (parent) => {
        const at = join(parent, name);
        await symlink(target, at);
        return at;
      });
      return { path, remove: () => removeFile(path) };
    },
    isReady: () => directory.isReady(),
    use: () => quota.use(),
    close: () => directory.remove(),
  };
}

/** @returns the error for files that cannot be written, for a reason that is the operator's business */
function storageBroken(cause: unknown): AvocadoError {
  return new AvocadoError('storage_full', 'The server cannot write temporary files right now. Try again later.', {
    cause,
  });
}

/** The directory, or one above it, has been removed or replaced. */
const MISSING = ['ENOENT', 'ENOTDIR'];

function codeOf(thrown: unknown): string {
  return (thrown as NodeJS.ErrnoException).code ?? '';
}

class OwnDirectory {
  readonly #parent: string;
  /** the last one is in use */
  readonly #made: string[] = [];
  #remaking: Promise<void> | undefined;

  constructor(parent: string) {
    this.#parent = parent;
  }

  /** @throws AvocadoError `directory_unwritable` */
  async open(): Promise<void> {
    try {
      await this.#make();
    } catch (cause) {
      throw directoryUnwritable(this.#parent, cause, 'Set TMPDIR to a directory for temporary files that can be.');
    }
  }

  /** Runs `use` in the directory, again if the directory had been removed. @throws AvocadoError `storage_full` */
  async within<T>(use: (path: string) => Promise<T>): Promise<T> {
    try {
      return await use(this.#path);
    } catch (thrown) {
      if (!MISSING.includes(codeOf(thrown))) throw storageFault(thrown);
    }
    try {
      await this.#remake();
      return await use(this.#path);
    } catch (thrown) {
      throw storageFault(thrown);
    }
  }

  async isReady(): Promise<boolean> {
    try {
      await this.within((path) => access(path, constants.W_OK | constants.X_OK));
      return true;
    } catch {
      return false;
    }
  }

  async remove(): Promise<void> {
    await Promise.allSettled(this.#made.map(removeTemporaryDirectory));
  }

  get #path(): string {
    return this.#made.at(-1) ?? '';
  }

  /** A new name: the old one may be somebody else's by now. */
  async #make(): Promise<void> {
    this.#made.push(await makeTemporaryDirectory(this.#parent, KIND));
  }

  /** Once for all that find it missing at the same time. */
  #remake(): Promise<void> {
    this.#remaking ??= this.#makeIfMissing().finally(() => {
      this.#remaking = undefined;
    });
    return this.#remaking;
  }

  async #makeIfMissing(): Promise<void> {
    const found = await stat(this.#path).catch(() => undefined);
    if (found !== undefined) return;
    makeDirectory(this.#parent);
    await this.#make();
  }
}

/** Errors of our own files; others, such as those of the sender, pass. */
function storageFault(thrown: unknown): unknown {
  if (['ENOSPC', 'EDQUOT'].includes(codeOf(thrown))) return storageFull(thrown);
  const { syscall = '' } = thrown as NodeJS.ErrnoException;
  return ['open', 'write', 'mkdir', 'mkdtemp', 'symlink', 'access'].includes(syscall) ? storageBroken(thrown) : thrown;
}

/** Never fails: an ending must not wait for a disk. What cannot be deleted now goes with the directory. */
async function removeFile(path: string): Promise<void> {
  await unlink(path).catch(() => undefined); // instead of rm(), which first looks up what the path is
}

/** A random name, with the client's extension if that is harmless (it helps ffmpeg to recognise the format). */
function newPath(directory: string, clientName: string): string {
  const extension = extname(clientName);
  return join(directory, `${randomUUID()}${/^\.[A-Za-z0-9]{1,8}$/.test(extension) ? extension : ''}`);
}

async function save(
  directory: OwnDirectory,
  reservation: Reservation,
  chunks: AsyncIterable<Uint8Array>,
  options: SaveOptions,
): Promise<StoredFile> {
  let path: string | undefined;
  const remove = async (): Promise<void> => {
    if (path !== undefined) await removeFile(path);
    reservation.release();
  };
  try {
    // Opened here and not by the stream: an early abort would let the stream create the file after we removed it.
    const handle = await directory.within((parent) => {
      path = newPath(parent, options.name);
      return open(path, 'wx', 0o600);
    });
    return { path: path ?? '', contentHash: await writeHashed(handle, reservation, chunks, options), remove };
  } catch (thrown) {
    await remove();
    throw storageFault(thrown);
  }
}

/** @returns the SHA-256 of what was written */
async function writeHashed(
  handle: FileHandle,
  reservation: Reservation,
  chunks: AsyncIterable<Uint8Array>,
  { maxBytes, tooLarge, signal, onBytes }: SaveOptions,
): Promise<string> {
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
  try {
    await pipeline(counted, handle.createWriteStream(), { signal });
  } finally {
    await handle.close();
  }
  return hash.digest('hex');
}
