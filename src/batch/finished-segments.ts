// The segments of one item that have their captions, kept until the item has its own: a run that was stopped in the
// middle of a long file goes on behind them.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseJson } from '../base/json.ts';
import { makeDirectory } from '../base/make-directory.ts';
import type { CaptionRequest, SegmentCaption } from '../output/events.ts';
import { AppendFile } from './append-file.ts';

export class FinishedSegments {
  readonly #path: string;
  #file: AppendFile | undefined;
  /** of an earlier run, in order from the first on */
  readonly known: readonly SegmentCaption[];

  /**
   * Reads what an earlier run left.
   * @param directory made where it is missing
   * @param id of the work: media of the same bytes, captioned with the same settings
   * @throws what the disk says
   */
  constructor(directory: string, id: string) {
    makeDirectory(directory);
    this.#path = pathOf(directory, id);
    this.#file = new AppendFile(this.#path);
    const known: SegmentCaption[] = [];
    let whole = 0;
    for (const { at, bytes, text } of this.#file.linesFrom(0)) {
      whole = at + bytes;
      const segment = parseJson(text) as SegmentCaption | null | undefined;
      if (segment?.index === known.length) known.push(segment);
    }
    this.#file.truncate(whole); // what a crash tore
    this.known = known;
  }

  /** Keeps one more. Where the disk does not take it, this and the later ones are made again after a stop. */
  add({ index, start, end, caption, finishReason, usage, media, scenes, error }: SegmentCaption): void {
    if (index < this.known.length) return;
    const segment = { index, start, end, caption, finishReason, usage, media, scenes, error };
    try {
      this.#file?.append(`${JSON.stringify(segment)}\n`);
      this.#file?.sync();
    } catch {
      this.close();
    }
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  /** The item has its caption, or never gets one. */
  static remove(directory: string, id: string): void {
    rmSync(pathOf(directory, id), { force: true });
  }
}

/** Whether the answer can be made of what is kept: captions without their tokens, one of each segment. */
export function keepsSegments({ segments, samples, topLogprobs }: CaptionRequest): boolean {
  return segments !== undefined && samples === 1 && topLogprobs === undefined;
}

function pathOf(directory: string, id: string): string {
  return join(directory, `${id}.jsonl`);
}
