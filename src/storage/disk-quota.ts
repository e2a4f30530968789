import { AvocadoError } from '../base/errors.ts';

export interface DiskUse {
  readonly usedBytes: number;
  readonly limitBytes: number;
  readonly files: number;
}

/** @returns the error for a full disk or a full quota */
export function storageFull(cause?: unknown): AvocadoError {
  return new AvocadoError('storage_full', 'The server has no room for media right now. Try again later.', { cause });
}

/** The bytes that one file holds of a quota. */
export interface Reservation {
  /** Reserves more bytes, before they are written. @throws AvocadoError `storage_full` */
  grow(bytes: number): void;
  /** Returns all bytes, after the file is deleted. Repeated calls do nothing. */
  release(): void;
}

/** Limits the total size of the files that are on disk at the same time. */
export class DiskQuota {
  readonly #limitBytes: number;
  #usedBytes = 0;
  #files = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Counts a new file, empty at first. */
  reserve(): Reservation {
    let reservedBytes = 0;
    let released = false;
    this.#files += 1;
    return {
      grow: (bytes) => {
        if (released) throw new Error('A file grows after its reservation was released. This is a bug.');
        if (this.#usedBytes + bytes > this.#limitBytes) throw storageFull();
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
