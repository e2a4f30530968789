// What a run has paid for, as JSON lines that only grow: a run that was killed goes on where it stopped.
import { dirname } from 'node:path';
import { AppendFile } from '../../batch/append-file.ts';
import { directoryUnwritable } from '../../base/errors.ts';
import { parseJson } from '../../base/json.ts';
import { makeDirectory } from '../../base/make-directory.ts';
import { withoutMedia } from '../../chat/chat-client.ts';

/**
 * Rows by key; of equal keys the last row counts. A line that was cut off by a kill is passed over. Two processes may
 * append to the same file.
 */
export class Journal<Row extends { readonly key: string }, Kept = Row> {
  readonly #path: string;
  readonly #file: AppendFile;
  readonly #kept = new Map<string, Kept>();
  readonly #keep: (row: Row) => Kept;

  /**
   * @param keep what of a row stays in memory
   * @throws AvocadoError `directory_unwritable`
   */
  constructor(path: string, keep: (row: Row) => Kept) {
    this.#path = path;
    this.#keep = keep;
    try {
      makeDirectory(dirname(path));
      this.#file = new AppendFile(path);
      let end = 0;
      for (const { at, bytes, text } of this.#file.linesFrom(0)) {
        end = at + bytes;
        const row = parseJson(text) as Row | null | undefined;
        if (typeof row?.key === 'string') this.#kept.set(row.key, keep(row));
      }
      if (end < this.#file.bytes) this.#file.append('\n');
    } catch (cause) {
      throw directoryUnwritable(dirname(path), cause, 'Name another directory with --out.');
    }
  }

  get(key: string): Kept | undefined {
    return this.#kept.get(key);
  }

  /** Every key once, in the order in which the keys were first written. */
  kept(): IterableIterator<Kept> {
    return this.#kept.values();
  }

  /** @throws AvocadoError `directory_unwritable` */
  add(row: Row): Kept {
    try {
      this.#file.append(`${JSON.stringify(row, withoutMedia)}\n`);
    } catch (cause) {
      throw directoryUnwritable(dirname(this.#path), cause, 'Make room and start the command again: it goes on here.');
    }
    const kept = this.#keep(row);
    this.#kept.set(row.key, kept);
    return kept;
  }

  close(): void {
    this.#file.close();
  }
}
