// How the tensors of a run cross to the addon: see native/tensor-layout.h.
import type { NativeSlabHandle } from '../../base/native.ts';
import { onnxDataType } from '../graphs/onnx/encode-model.ts';
import { DTYPE_BYTES } from './runtime.ts';
import type { Slab, Tensor } from './runtime.ts';

export interface TensorLayout {
  /** [ONNX type, byte offset, rank, ...dims] per tensor; zeros for an output that is not wanted */
  readonly numbers: Float64Array;
  /** memory of each tensor: typed array, slab handle or null */
  readonly lent: (ArrayBufferView | NativeSlabHandle | null)[];
}

/** Describes `tensors` (undefined = not wanted) for NativeAddon.runSession. */
export function tensorLayout(
  tensors: readonly (Tensor | undefined)[],
  slabHandle: (slab: Slab) => NativeSlabHandle,
): TensorLayout {
  const numbers: number[] = [];
  const lent: TensorLayout['lent'] = [];
  for (const tensor of tensors) {
    if (tensor === undefined) {
      numbers.push(0, 0, 0);
      lent.push(null);
    } else if (tensor.kind === 'host') {
      numbers.push(onnxDataType(tensor.dtype), 0, tensor.dims.length, ...tensor.dims);
      lent.push(tensor.data);
    } else {
      const { dtype } = tensor.slab;
      numbers.push(onnxDataType(dtype), tensor.offset * DTYPE_BYTES[dtype], tensor.dims.length, ...tensor.dims);
      lent.push(slabHandle(tensor.slab));
    }
  }
  return { numbers: Float64Array.from(numbers), lent };
}
