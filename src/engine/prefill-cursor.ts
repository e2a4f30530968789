import type { Decoder, PrefillChunk } from '../model/execution/thinker.ts';
import type { SequenceRequest } from './types.ts';

/** Prompt tokens that may come from a cached prefix; the last one is always run, for its logits. */
export function prefixTokens({ ids, prefix }: SequenceRequest): number {
  return Math.min(prefix?.tokens ?? 0, ids.length - 1);
}

/** At which temperature the shortlists of a sequence sum; greedy sampling needs no sum. */
export function sumTemperature({ sampling: { temperature } }: SequenceRequest): number {
  return temperature > 0 ? temperature : 1;
}

/**
 * Cuts a prompt into chunks of at most `chunkTokens`, each with its ids, positions and media embeddings. A chunk
 * always ends at the prefix.
 */
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

  /** The next chunk. Ids and embeddings are views of the request, not copies. */
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
      temperature: sumTemperature(this.#request),
    };
  }

  /** The chunk is in the slot. */
  advance(): void {
    this.skip(this.nextTokens);
  }

  /** `tokens` more came into the slot without a run. */
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

/**
 * Prefills a whole prompt into slot 0 of a decoder that runs nothing else.
 * @returns logits [vocab] of its last token
 */
export async function prefillPrompt(
  request: SequenceRequest,
  decoder: Pick<Decoder, 'hiddenSize' | 'prefill' | 'logits' | 'allocate' | 'free'>,
  chunkTokens: number,
  signal?: AbortSignal,
): Promise<Float32Array> {
  await decoder.free(0);
  await decoder.allocate(0, request.ids.length);
  const cursor = new PrefillCursor(request, chunkTokens, decoder.hiddenSize);
  while (cursor.done < request.ids.length) {
    await decoder.prefill(cursor.chunk(0), { signal });
    cursor.advance();
  }
  return (await decoder.logits(0)).slice();
}
