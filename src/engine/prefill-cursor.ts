import type { PrefillChunk } from '../model/execution/thinker.ts';
import type { SequenceRequest } from './types.ts';

/** Tokens of the prompt that others may take over: its last one is always run, for its logits. */
export function prefixTokens({ ids, prefix }: SequenceRequest): number {
  return Math.min(prefix?.tokens ?? 0, ids.length - 1);
}

/** Cuts a prompt into chunks of at most `chunkTokens`, each with its own ids, positions and media embeddings, and always at its prefix. */
export class PrefillCursor {
  readonly #request: SequenceRequest;
  readonly #chunkTokens: number;
  readonly #hiddenSize: number;
  /** tokens of the prompt that are in the slot */
  #done = 0;
  /** media rows among them */
  #mediaDone = 0;

  constructor(request: SequenceRequest, chunkTokens: number, hiddenSize: number) {
    this.#request = request;
    this.#chunkTokens = chunkTokens;
    this.#hiddenSize = hiddenSize;
  }

  get done(): number {
    return this.#done;
  }

  get nextTokens(): number {
    const boundary = prefixTokens(this.#request);
    return Math.min(this.#chunkTokens, (this.#done < boundary ? boundary : this.#request.ids.length) - this.#done);
  }

  /** The chunk after what is done. Ids and embeddings are views of the request, not copies. */
  chunk(slot: number): PrefillChunk {
    const { ids, positions, mediaRows, mediaEmbeds } = this.#request;
    const start = this.#done;
    const end = start + this.nextTokens;
    const rows = mediaRows.subarray(this.#mediaDone, this.#mediaEnd(end));
    return {
      slot,
      start,
      ids: ids.subarray(start, end),
      positions: slicePositions(positions, ids.length, start, end),
      mediaRows: rows.map((row) => row - start),
      mediaEmbeds: mediaEmbeds.subarray(
        this.#mediaDone * this.#hiddenSize,
        (this.#mediaDone + rows.length) * this.#hiddenSize,
      ),
      wantLogits: end === ids.length,
    };
  }

  /** The chunk is in the slot. */
  advance(): void {
    this.skip(this.nextTokens);
  }

  /** So many tokens more came into the slot. */
  skip(tokens: number): void {
    const end = this.#done + tokens;
    this.#mediaDone = this.#mediaEnd(end);
    this.#done = end;
  }

  /** Index of the first media row at or after prompt row `end`; they ascend. */
  #mediaEnd(end: number): number {
    const { mediaRows } = this.#request;
    let index = this.#mediaDone;
    while (index < mediaRows.length && (mediaRows[index] ?? end) < end) index++;
    return index;
  }
}

/** Columns [start, end) of [3, total]. */
function slicePositions(positions: Int32Array, total: number, start: number, end: number): Int32Array {
  const length = end - start;
  const slice = new Int32Array(3 * length);
  for (let axis = 0; axis < 3; axis++)
    slice.set(positions.subarray(axis * total + start, axis * total + end), axis * length);
  return slice;
}
