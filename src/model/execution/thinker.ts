// The model as the engine and the encoder see it: two towers that turn features into embeddings, and a decoder with KV
// slots. Graphs, sessions and runtimes are known inside src/model only.
import type { FloatArray, FloatDType } from '../../base/floats.ts';

export interface RunSignal {
  readonly signal?: AbortSignal | undefined;
}

export interface AudioOptions extends RunSignal {
  /** called after every run with the audio tokens so far */
  readonly onProgress?: ((tokens: number) => void) | undefined;
}

export interface Towers {
  /** type of the embeddings: the graphs' activation type, as the decoder takes them */
  readonly dtype: FloatDType;
  /** whether both towers compute at once faster than one after the other; default false */
  readonly parallel?: boolean | undefined;
  /**
   * Encodes any number of temporal steps of one size. Steps never attend to each other.
   * @param patches [steps * gridH * gridW, channels * temporalPatch * patch * patch] f32, rows in the processor's order
   * @returns [steps * gridH * gridW / merge², hidden] in `dtype`
   */
  encodeVision(
    patches: Float32Array<ArrayBuffer>,
    steps: number,
    gridH: number,
    gridW: number,
    options?: RunSignal,
  ): Promise<FloatArray>;
  /**
   * @param mel [melBins, frames] f32 log-mel, bins outermost
   * @returns [floor((frames + 1) / 4), hidden] in `dtype`
   */
  encodeAudio(mel: Float32Array<ArrayBuffer>, frames: number, options?: AudioOptions): Promise<FloatArray>;
}

/** The best tokens of one row, and what the sampler must know of all others. */
export interface Shortlist {
  readonly kind: 'shortlist';
  /** the tokens with the largest logits; equal ones in any order */
  readonly ids: Int32Array;
  /** [ids.length] their logits, falling; all other logits are at most the last */
  readonly values: Float32Array;
  /** log Σ exp(logit) over the vocabulary, summed in float32 */
  readonly logSumExp: number;
  /** log Σ exp(logit / temperature) over the vocabulary, summed in float32; may be infinite */
  readonly scaledLogSumExp: number;
}

/** What the model says of the next token: all logits, or a shortlist where they stay on the device. */
export type Scores = { readonly kind: 'full'; readonly logits: Float32Array } | Shortlist;

/** Tokens [start, start + ids.length) of one sequence, run in one pass and added to its slot. */
export interface PrefillChunk {
  readonly slot: number;
  /** tokens of this sequence already in the slot */
  readonly start: number;
  readonly ids: Int32Array;
  /** [3, ids.length] t, h, w */
  readonly positions: Int32Array;
  /** rows of this chunk, counted from 0, whose token embedding is replaced; ascending */
  readonly mediaRows: Int32Array;
  /** [mediaRows.length, hidden] in the towers' dtype */
  readonly mediaEmbeds: FloatArray;
  /** true = return the scores of the chunk's last token */
  readonly wantLogits: boolean;
  /** at which the row's shortlist sums; default 1, as where sampling is greedy */
  readonly temperature?: number | undefined;
}

/** One token to feed to one running sequence. */
export interface DecodeRow {
  readonly slot: number;
  readonly token: number;
  /** the same on all three axes */
  readonly position: number;
  /** at which the row's shortlist sums; default 1, as where sampling is greedy */
  readonly temperature?: number | undefined;
}

export interface Decoder {
  readonly slots: number;
  /** slots after the `slots` that run: they only keep tokens copied by copyPrefix */
  readonly prefixSlots: number;
  /** most tokens one slot can hold */
  readonly capacity: number;
  /** tokens of a slot that get memory together; more than its capacity where it has its memory from the start */
  readonly blockTokens: number;
  /** blocks that all slots can hold together, prefix slots included */
  readonly blocks: number;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  /** by the sequences in a decode step: whether it was recorded at load. Absent where steps never are, as on a CPU. */
  readonly recordedSteps?: Readonly<Record<string, boolean>> | undefined;
  /** @returns scores of the last token, or undefined. Their arrays are reused by the next call. */
  prefill(chunk: PrefillChunk, options?: RunSignal): Promise<Scores | undefined>;
  /**
   * One step of all given sequences.
   * @returns scores in the order of `rows`. Their arrays are reused by the next call.
   */
  decode(rows: readonly DecodeRow[], options?: RunSignal): Promise<readonly Scores[]>;
  /**
   * All logits of a row of the last prefill (row 0) or decode, until the next run. No run may be in progress.
   * @returns [vocab] f32, reused by the next call
   * @throws AvocadoError `engine_error`, `device_unavailable`
   */
  logits(row: number): Promise<Float32Array>;
  /**
   * Gives an empty slot memory for so many tokens, in whole blocks. No run may be in progress.
   * @throws AvocadoError `engine_error`, `device_unavailable`
   */
  allocate(slot: number, tokens: number): Promise<void>;
  /**
   * Replaces the content of slot `to` with the first `tokens` tokens of slot `from`. Either may be a prefix slot. No
   * run may be in progress. On failure, `to` is empty.
   * @throws AvocadoError `engine_error`
   */
  copyPrefix(from: number, to: number, tokens: number): Promise<void>;
  /**
   * Empties the slot, and takes its blocks back. No run may be in progress.
   * @throws AvocadoError `engine_error`, `device_unavailable`
   */
  free(slot: number): Promise<void>;
}

export interface Thinker {
  readonly towers: Towers;
  readonly decoder: Decoder;
  /** for reports: runtime name and version, device, precision, sessions loaded */
  readonly description: Readonly<Record<string, string | number>>;
  close(): Promise<void>;
}
