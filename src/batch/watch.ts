// A folder that grows: it is listed again and again, which works on every file system, and a file is taken when it has
// rested.
import { stat } from 'node:fs/promises';
import type { Listed } from './inputs.ts';
import { fsPath } from './path-text.ts';
import { seenOf } from './sidecars.ts';

interface Resting {
  readonly seen: string;
  readonly sinceMs: number;
}

/** Which files have rested: their last change is long ago, or they were seen unchanged for long enough. */
export class Settling {
  readonly #settleMs: number;
  readonly #now: () => number;
  #resting = new Map<string, Resting>();
  #next = new Map<string, Resting>();

  /** @param settleMs a file that has not changed for so long is whole */
  constructor(settleMs: number, now: () => number = Date.now) {
    this.#settleMs = settleMs;
    this.#now = now;
  }

  /** @param changedMs when the file was last changed, on the clock of its disk */
  hasRested(path: string, seen: string, changedMs: number): boolean {
    const nowMs = this.#now();
    if (nowMs - changedMs >= this.#settleMs) return true;
    const known = this.#next.get(path) ?? this.#resting.get(path);
    const since = known?.seen === seen ? known.sinceMs : nowMs;
    this.#next.set(path, { seen, sinceMs: since });
    return nowMs - since >= this.#settleMs;
  }

  /** After each round: files that were not in it are forgotten. */
  turn(): void {
    this.#resting = this.#next;
    this.#next = new Map();
  }

  /** Those of a listing that have rested. */
  async *rested(listing: AsyncIterable<Listed>): AsyncGenerator<Listed> {
    for await (const listed of listing) if (await this.#isReady(listed)) yield listed;
  }

  async #isReady(listed: Listed): Promise<boolean> {
    if ('fault' in listed || listed.item.source.kind === 'url') return true;
    const { path } = listed.item.source;
    const found = await stat(fsPath(path), { bigint: true }).catch(() => undefined);
    if (found === undefined) return false; // it has gone again, or is not there yet
    const changedNs = found.mtimeNs > found.ctimeNs ? found.mtimeNs : found.ctimeNs;
    return this.hasRested(path, seenOf(found), Number(changedNs / 1_000_000n));
  }
}
