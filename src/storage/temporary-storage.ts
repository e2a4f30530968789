// Temporary files: a directory of this process, a quota over everything in it, and streams saved to it.
// It does not know where the bytes come from.
import { createHash, randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtemp, open, readdir, rm, unlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { extname, join } from 'node:path';
import process from 'node:process';
import { pipeline } from 'node:stream/promises';
import { AvocadoError } from '../base/errors.ts';

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

/** The bytes that one file or body holds of a quota. */
export interface Reservation {
  /** Reserves bytes, before they are written; a negative number returns some. @throws AvocadoError `storage_full` */
  grow(bytes: number): void;
  /** Returns all bytes, after they are deleted. Repeated calls do nothing. */
  release(): void;
}

/** Limits bytes of all requests together: of files on disk, or of bodies in memory. */
export class ByteQuota {
  readonly #limitBytes: number;
  readonly #full: () => AvocadoError;
  #usedBytes = 0;
  #files = 0;

  constructor(limitBytes: number, full: () => AvocadoError = storageFull) {
    this.#limitBytes = limitBytes;
    this.#full = full;
  }

  /** Counts a new file, empty at first. */
  reserve(): Reservation {
    let reservedBytes = 0;
    let released = false;
    this.#files += 1;
    return {
      grow: (bytes) => {
        if (released) throw new Error('A file grows after its reservation was released. This is a bug.');
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
   * @throws AvocadoError `storage_full`, the error of `tooLarge`; errors of `chunks` and the signal's AbortError pass
   */
  save(chunks: AsyncIterable<Uint8Array>, options: SaveOptions): Promise<StoredFile>;
  /** what is on disk now, files still being written included */
  use(): DiskUse;
  /** Deletes all files and the directory. */
  close(): Promise<void>;
}

const PREFIX = 'avocado-intake';
const STARTED_MS = Math.round(performance.timeOrigin);

/**
 * Makes a directory that only this user can read, after deleting those of processes that died. It is deleted by
 * `close()` or when the process exits.
 */
export async function openTemporaryStorage(config: StorageConfig): Promise<TemporaryStorage> {
  const parent = config.temporaryDirectory;
  await removeLeftovers(parent);
  const directory = await mkdtemp(join(parent, `${hostPrefix()}${process.pid}.${STARTED_MS}.`));
  const removeNow = (): void => {
    rmSync(directory, { recursive: true, force: true });
  };
  process.once('exit', removeNow);
  const quota = new ByteQuota(config.maxTemporaryBytes);
  return {
    save: (chunks, options) => save(newPath(directory, options.name), quota.reserve(), chunks, options),
    use: () => quota.use(),
    close: async () => {
      process.removeListener('exit', removeNow);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** A random name, with the client's extension if that is harmless (it helps ffmpeg to recognise the format). */
function newPath(directory: string, clientName: string): string {
  const extension = extname(clientName);
  return join(directory, `${randomUUID()}${/^\.[A-Za-z0-9]{1,8}$/.test(extension) ? extension : ''}`);
}

async function save(
  path: string,
  reservation: Reservation,
  chunks: AsyncIterable<Uint8Array>,
  options: SaveOptions,
): Promise<StoredFile> {
  const remove = async (): Promise<void> => {
    // unlink() instead of rm(), which first looks up what the path is.
    await unlink(path).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    });
    reservation.release();
  };
  try {
    return { path, contentHash: await writeHashed(path, reservation, chunks, options), remove };
  } catch (thrown) {
    await remove();
    throw ['ENOSPC', 'EDQUOT'].includes((thrown as NodeJS.ErrnoException).code ?? '') ? storageFull(thrown) : thrown;
  }
}

/** @returns the SHA-256 of what was written */
async function writeHashed(
  path: string,
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
  // Opened here and not by the stream: an early abort would let the stream create the file after we removed it.
  const handle = await open(path, 'wx', 0o600);
  try {
    await pipeline(counted, handle.createWriteStream(), { signal });
  } finally {
    await handle.close();
  }
  return hash.digest('hex');
}

/** Hosts that share the parent directory cannot see each other's processes, so the host is part of the name. */
function hostPrefix(): string {
  return `${PREFIX}.${hostname().replace(/[^A-Za-z0-9-]/g, '_')}.`;
}

async function removeLeftovers(parent: string): Promise<void> {
  const names = await readdir(parent);
  // Leftovers of another user cannot be deleted; that must not stop the server from starting.
  await Promise.allSettled(
    names.filter(isLeftover).map((name) => rm(join(parent, name), { recursive: true, force: true })),
  );
}

/**
 * Names are `PREFIX.host.pid.startMs.random`. Our own pid with another start time belongs to a dead process, since a
 * server in a container always has the same pid.
 */
function isLeftover(name: string): boolean {
  if (!name.startsWith(hostPrefix())) return false;
  const [pid, startedMs] = name.slice(hostPrefix().length).split('.').map(Number);
  if (pid === undefined || startedMs === undefined || !Number.isInteger(pid) || pid <= 0) return false;
  return pid === process.pid ? startedMs !== STARTED_MS : !isAlive(pid);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
