// Element types, where a graph's weights are on disk, and how stored bytes become numbers. Graphs never contain weight
// bytes: their initialisers point into these files.
import { widen, type FloatDType } from '../../base/floats.ts';

/** Element types of tensors in graphs and runs. */
export type DType = FloatDType | 'int64' | 'int32' | 'uint8' | 'int8';

/** ONNX's number of each element type (TensorProto.DataType), in models and in what crosses to the addon. */
export const ONNX_TYPES: Record<DType, number> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  float16: 10,
  bfloat16: 16,
};

/** Element types of stored tensors, in safetensors' names. */
export type StoredDType = 'F32' | 'F16' | 'BF16' | 'U8';

/** A contiguous, row-major tensor in a file. */
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

/** The weight of one linear layer in the form that MatMulNBits reads: symmetric around 2^(bits-1), no zero points. */
export interface QuantisedWeight {
  readonly bits: 4 | 8;
  readonly blockSize: number;
  readonly n: number;
  readonly k: number;
  /** U8 [n, ceil(k / blockSize), blockSize * bits / 8] */
  readonly packed: StoredTensor;
  /** F32 or BF16 [n, ceil(k / blockSize)] */
  readonly scales: StoredTensor;
}

function joinedTensor(name: string, parts: readonly StoredTensor[]): StoredTensor | undefined {
  const [first] = parts;
  if (first === undefined) return undefined;
  let { offset } = first;
  for (const part of parts) {
    if (part.file !== first.file || part.offset !== offset || part.dtype !== first.dtype) return undefined;
    offset += part.bytes;
  }
  const rows = parts.reduce((sum, { shape }) => sum + (shape[0] ?? 0), 0);
  return { ...first, name, shape: [rows, ...first.shape.slice(1)], bytes: offset - first.offset };
}

/** Weights of several layers of one input as those of one layer; undefined when they do not lie row behind row. */
export function joinQuantised(name: string, parts: readonly QuantisedWeight[]): QuantisedWeight | undefined {
  const [first] = parts;
  const packed = joinedTensor(
    `${name}.packed`,
    parts.map((part) => part.packed),
  );
  const scales = joinedTensor(
    `${name}.scales`,
    parts.map((part) => part.scales),
  );
  if (first === undefined || packed === undefined || scales === undefined) return undefined;
  const { bits, blockSize, k } = first;
  if (parts.some((part) => part.bits !== bits || part.blockSize !== blockSize || part.k !== k)) return undefined;
  return { bits, blockSize, n: packed.shape[0] ?? 0, k, packed, scales };
}

/** Where a graph builder gets its weights. Names are the checkpoint's, without `thinker.`. */
export interface WeightSource {
  /** @throws AvocadoError `tensor_missing`, `tensor_invalid` (wrong shape or dtype), naming the tensor and its file */
  plain(name: string, shape: readonly number[]): StoredTensor;
  /** The quantised form of this tensor, if the precision has one; its checkpoint shape is [n, k]. */
  quantised(name: string): QuantisedWeight | undefined;
}

/** Bytes of one stored element. */
export const STORED_BYTES: Readonly<Record<StoredDType, number>> = { F32: 4, F16: 2, BF16: 2, U8: 1 };

/**
 * Converts stored bytes to numbers, without rounding.
 * @param bytes little-endian elements of `dtype`; their byte offset in the buffer is a multiple of the element size
 * @param values f32, one per element, overwritten
 */
export function decodeValues(
  bytes: Uint8Array<ArrayBuffer>,
  dtype: StoredDType,
  values: Float32Array<ArrayBuffer>,
): void {
  switch (dtype) {
    case 'F32':
      values.set(new Float32Array(bytes.buffer, bytes.byteOffset, values.length));
      return;
    case 'BF16':
    case 'F16':
      widen(
        new Uint16Array(bytes.buffer, bytes.byteOffset, values.length),
        dtype === 'F16' ? 'float16' : 'bfloat16',
        values,
      );
      return;
    case 'U8':
      throw new Error('U8 tensors hold packed weights, not values. This is a bug.');
    default:
      dtype satisfies never;
  }
}
