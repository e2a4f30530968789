import { AvocadoError } from '../base/errors.ts';

export interface SpaceUse {
  readonly usedBytes: number;
  readonly limitBytes: number;
  readonly files: number;
}

/** @returns the error of a disk, or of our share of it, that has no room */
export function storageFull(cause?: unknown): AvocadoError {
  return new AvocadoError('storage_full', 'The server has no room for media right now. Try again later.', { cause });
}

/** What one file takes up. */
export class Reservation {
  readonly #account: SpaceAccount;
  #bytes = 0;
  #released = false;

  constructor(account: SpaceAccount) {
    this.#account = account;
  }

  /** Before the bytes are written. @throws AvocadoError `storage_full` */
  grow(bytes: number): void {
    if (this.#released) throw new Error('A file grows that was given back. This is a bug.');
    this.#account.take(bytes);
    this.#bytes += bytes;
  }

  /** After the file is gone. Any number of times. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#account.giveBack(this.#bytes);
  }
}

/** Bytes of media on disk, all requests together, so that no number of them fills it. */
export class SpaceAccount {
  readonly #limitBytes: number;
  #usedBytes = 0;
  #files = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Counts a file that is about to be made. */
  open(): Reservation {
    this.#files += 1;
    return new Reservation(this);
  }

  take(bytes: number): void {
    if (this.#usedBytes + bytes > this.#limitBytes) throw storageFull();
    this.#usedBytes += bytes;
  }

  giveBack(bytes: number): void {
    this.#usedBytes -= bytes;
    this.#files -= 1;
  }

  use(): SpaceUse {
    return { usedBytes: this.#usedBytes, limitBytes: this.#limitBytes, files: this.#files };
  }
}
