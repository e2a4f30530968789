// Where a graph's weights lie on disk. Graphs never hold weight bytes: initialisers point into these files.

export type StoredDType = 'F32' | 'F16' | 'BF16' | 'U8';

/** A contiguous tensor in some file; row-major. */
export interface StoredTensor {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  /** real path, absolute */
  readonly file: string;
  /** byte offset in the file */
  readonly offset: number;
  readonly bytes: number;
}

/** One linear's weight as MatMulNBits wants it (block 32, symmetric around 2^(bits-1), no zero points). */
export interface QuantisedWeight {
  readonly bits: 4 | 8;
  readonly blockSize: number;
  readonly n: number;
  readonly k: number;
  /** U8 [n, ceil(k / blockSize), blockSize * bits / 8] */
  readonly packed: StoredTensor;
  /** F32 [n, ceil(k / blockSize)] */
  readonly scales: StoredTensor;
}

/** What a graph builder asks for its weights. Names are the checkpoint's, without `thinker.`. */
export interface WeightSource {
  has(name: string): boolean;
  /** @throws AvocadoError `tensor_missing`, `tensor_invalid` (wrong shape or dtype), naming the tensor and its file */
  plain(name: string, shape: readonly number[]): StoredTensor;
  /** The quantised form where the precision has one for this tensor; [n, k] is its checkpoint shape. */
  quantised(name: string): QuantisedWeight | undefined;
}
