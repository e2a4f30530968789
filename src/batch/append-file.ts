import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readSync, statSync, writeSync } from 'node:fs';

const READ_BYTES = 1 << 20;
const GUESSED_LINE_BYTES = 4096;
const NEWLINE = 0x0a;

/** A file of lines that only grows. Synchronous: it is used while a lock is held. */
export class AppendFile {
  readonly #path: string;
  #file: number;
  /** what was found at the path when it was opened */
  #inode: number;

  constructor(path: string) {
    this.#path = path;
    [this.#file, this.#inode] = this.#open();
  }

  get bytes(): number {
    return fstatSync(this.#file).size;
  }

  /** Opens the path again where another file has taken it, or none is left. @returns whether that was so */
  reopenIfReplaced(): boolean {
    const { ino } = statSync(this.#path, { throwIfNoEntry: false }) ?? { ino: -1 };
    if (ino === this.#inode) return false;
    closeSync(this.#file);
    [this.#file, this.#inode] = this.#open();
    return true;
  }

  /** Adds text at the end, all of it or, after an error, nothing. */
  append(text: string): void {
    const bytes = Buffer.from(text);
    const before = this.bytes;
    try {
      for (let at = 0; at < bytes.length;) at += writeSync(this.#file, bytes, at, bytes.length - at, before + at);
    } catch (thrown) {
      ftruncateSync(this.#file, before);
      throw thrown;
    }
  }

  sync(): void {
    fsyncSync(this.#file);
  }

  truncate(bytes: number): void {
    ftruncateSync(this.#file, bytes);
  }

  /** A few bytes as text, fewer at the end of the file. */
  peek(at: number, length: number): string {
    const bytes = Buffer.alloc(length);
    return bytes.toString('utf8', 0, readSync(this.#file, bytes, 0, length, at));
  }

  /** The line that begins at a byte, without its end; undefined where there is none, or it is not finished. */
  lineAt(at: number): string | undefined {
    let bytes = Buffer.alloc(GUESSED_LINE_BYTES);
    for (let have = 0; ;) {
      const read = readSync(this.#file, bytes, have, bytes.length - have, at + have);
      const end = bytes.subarray(0, have + read).indexOf(NEWLINE, have);
      if (end >= 0) return bytes.toString('utf8', 0, end);
      have += read;
      if (read === 0) return undefined;
      if (have === bytes.length) bytes = Buffer.concat([bytes, Buffer.alloc(bytes.length)]);
    }
  }

  /** The finished lines from a byte on, each with the byte it begins at. */
  *linesFrom(from: number): Generator<{ readonly at: number; readonly bytes: number; readonly text: string }> {
    let [rest, restAt] = [Buffer.alloc(0), from];
    for (let position = from; ;) {
      const chunk = Buffer.alloc(READ_BYTES);
      const read = readSync(this.#file, chunk, 0, chunk.length, position);
      if (read === 0) return;
      position += read;
      const bytes = Buffer.concat([rest, chunk.subarray(0, read)]);
      let at = 0;
      for (let end = bytes.indexOf(NEWLINE, at); end >= 0; end = bytes.indexOf(NEWLINE, at)) {
        yield { at: restAt + at, bytes: end + 1 - at, text: bytes.toString('utf8', at, end) };
        at = end + 1;
      }
      restAt += at;
      rest = bytes.subarray(at);
    }
  }

  close(): void {
    closeSync(this.#file);
  }

  #open(): [file: number, inode: number] {
    const file = openSync(this.#path, 'a+');
    return [file, fstatSync(file).ino];
  }
}
