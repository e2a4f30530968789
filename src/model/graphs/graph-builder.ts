// Collects the nodes and initialisers of one graph. It knows ONNX's data model and where the weights are, but nothing
// of the architecture. All activations have one type; a weight stored in another type gets a Cast, which the runtime
// folds when it loads the graph.
import type { FloatDType } from '../../base/floats.ts';
import type { Precision } from '../../settings/engine-settings.ts';
import {
  ONNX_TYPES,
  type DType,
  joinQuantised,
  type QuantisedWeight,
  type StoredDType,
  type StoredTensor,
  type WeightSource,
} from '../checkpoint/weights.ts';
import {
  encodeModel,
  type AttributeValue,
  type Dim,
  type Initializer,
  type OnnxModel,
  type OnnxNode,
  type ValueInfo,
} from './onnx-model.ts';

/**
 * Quantised weights with float32 activations, as a CPU runs them. On CUDA a graph with quantised weights is built as
 * bf16.
 */
export const ACTIVATION_DTYPE: Record<Precision, FloatDType> = {
  fp32: 'float32',
  int8: 'float32',
  int4: 'float32',
  bf16: 'bfloat16',
  fp16: 'float16',
};

const STORED_DTYPE: Record<StoredDType, DType> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16', U8: 'uint8' };
/**
 * On a CPU, MatMulNBits quantises activations to int8, block by block; level 0 has no fast kernel (onnxruntime.md,
 * MatMulNBits).
 */
const ACCURACY_LEVEL_INT8 = 4;

/** cuBLAS takes its fast bf16 and fp16 kernels only for such sizes; others cost three times as much on an H100. */
const FAST_SIZE = 64;

type Bias = 'bias' | 'no bias';

interface LinearOptions {
  /** the weight's shape in the checkpoint; default [n, k] */
  readonly stored?: readonly number[];
  /** outputs and inputs with zeros added at their ends; default n and k */
  readonly paddedN?: number;
  readonly paddedK?: number;
}

/** One of several linear layers of the same input. */
interface Layer {
  readonly layer: string;
  /** outputs */
  readonly n: number;
  readonly bias: Bias;
}

/** A graph that a runtime can load. */
export interface BuiltGraph {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly model: OnnxModel;
}

interface NodeOptions {
  readonly domain?: 'com.microsoft';
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
}

export const int = (value: number): AttributeValue => ({ type: 'int', value });
export const ints = (...value: number[]): AttributeValue => ({ type: 'ints', value });
/** As the file holds it: powers differ in their last bits between versions of Node. */
export const float = (value: number): AttributeValue => ({ type: 'float', value: Math.fround(value) });

export class GraphBuilder {
  readonly activation: FloatDType;
  readonly #name: string;
  readonly #weights: WeightSource;
  readonly #nodes: OnnxNode[] = [];
  readonly #initializers = new Map<string, Initializer>();
  readonly #casts = new Map<string, string>();
  readonly #inputs: ValueInfo[] = [];
  readonly #outputs: ValueInfo[] = [];

  constructor(name: string, weights: WeightSource, precision: Precision) {
    this.#name = name;
    this.#weights = weights;
    this.activation = ACTIVATION_DTYPE[precision];
  }

  input(name: string, dtype: DType, dims: readonly Dim[]): string {
    this.#inputs.push({ name, dtype, dims });
    return name;
  }

  output(name: string, dtype: DType, dims: readonly Dim[]): string {
    this.#outputs.push({ name, dtype, dims });
    return name;
  }

  /** Adds a node whose outputs have the given names; '' omits an optional input or output. */
  nodeTo(outputs: readonly string[], opType: string, inputs: readonly string[], options: NodeOptions = {}): void {
    const name = outputs.find((output) => output !== '');
    if (name === undefined) throw new Error(`Node ${opType} has no output. This is a bug.`);
    this.#nodes.push({
      name,
      opType,
      domain: options.domain ?? '',
      inputs,
      outputs,
      attributes: options.attributes ?? {},
    });
  }

  /** Adds a node with one output and returns the output's name. */
  node(name: string, opType: string, inputs: readonly string[], options: NodeOptions = {}): string {
    this.nodeTo([name], opType, inputs, options);
    return name;
  }

  cast(name: string, input: string, from: DType, to: DType): string {
    return from === to ? input : this.node(name, 'Cast', [input], { attributes: { to: int(ONNX_TYPES[to]) } });
  }

  /** A constant inside the model. */
  constant(
    name: string,
    dtype: DType,
    dims: readonly number[],
    data: Float32Array | Uint16Array | BigInt64Array,
  ): string {
    this.#initializers.set(name, {
      name,
      dtype,
      dims,
      data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    });
    return name;
  }

  /** A constant list of whole numbers. Equal names are one constant. */
  int64s(name: string, values: readonly number[]): string {
    if (this.#initializers.has(name)) return name;
    return this.constant(name, 'int64', [values.length], BigInt64Array.from(values, BigInt));
  }

  /** Reshapes; -1 = the remaining size, 0 = the same size as before. Equal shapes share one constant. */
  reshape(name: string, input: string, shape: readonly number[]): string {
    return this.node(name, 'Reshape', [input, this.int64s(`shape_${shape.join('_')}`, shape)]);
  }

  /** A checkpoint tensor in its stored type, referenced in its file. `dims` = another shape with as many elements. */
  stored(name: string, shape: readonly number[], dims = shape): { readonly value: string; readonly dtype: DType } {
    return this.#external(this.#weights.plain(name, shape), dims);
  }

  /** A checkpoint tensor in the activation type. */
  weight(name: string, shape: readonly number[], dims = shape): string {
    const { value, dtype } = this.stored(name, shape, dims);
    if (dtype === this.activation) return value;
    const known = this.#casts.get(value);
    if (known !== undefined) return known;
    const cast = this.cast(`${value}.${this.activation}`, value, dtype, this.activation);
    this.#casts.set(value, cast);
    return cast;
  }

  /**
   * x [..., k] -> [..., n]: x · Wᵀ (+ bias), with W = `${layer}.weight` [n, k] as the checkpoint stores it. FusedMatMul
   * transposes while it multiplies. If the source has a quantised form, MatMulNBits uses that instead.
   */
  linear(input: string, layer: string, n: number, k: number, bias: Bias, options: LinearOptions = {}): string {
    const weight = `${layer}.weight`;
    const quantised = this.#weights.quantised(weight);
    if (quantised !== undefined) {
      if (quantised.n !== n || quantised.k !== k)
        throw new Error(`Quantised ${layer} is [${quantised.n}, ${quantised.k}], not [${n}, ${k}]. This is a bug.`);
      return this.#quantisedLinear(input, layer, bias, quantised);
    }
    const { stored = [n, k], paddedN = n, paddedK = k } = options;
    const product = bias === 'bias' ? `${layer}.product` : layer;
    const matrix = this.#padded(this.weight(weight, stored, [n, k]), [n, k], [paddedN, paddedK]);
    this.node(product, 'FusedMatMul', [input, matrix], { domain: 'com.microsoft', attributes: { transB: int(1) } });
    if (bias === 'no bias') return product;
    return this.node(layer, 'Add', [product, this.#padded(this.weight(`${layer}.bias`, [n]), [n], [paddedN])]);
  }

  /**
   * Several layers of one input x [..., k], each -> [..., n]. In half precision they are one multiplication, whose
   * result is split: fewer kernels, and larger ones.
   */
  linears(input: string, layers: readonly Layer[], k: number): string[] {
    const joined = this.joinedLinears(input, layers, k);
    if (joined === undefined) return layers.map(({ layer, n, bias }) => this.linear(input, layer, n, k, bias));
    const sizes = layers.map(({ n }) => n);
    const split = this.int64s(`split_${sizes.join('_')}`, sizes);
    const outputs = layers.map(({ layer }) => layer);
    this.nodeTo(outputs, 'Split', [joined, split], { attributes: { axis: int(-1) } });
    return outputs;
  }

  /**
   * The results of several layers side by side, [..., sum of n], by one multiplication. The runtime joins the weights
   * when it loads; quantised ones lie in their file as one matrix. Undefined in float32, and where they do not.
   */
  joinedLinears(input: string, layers: readonly Layer[], k: number): string | undefined {
    const name = layers.map(({ layer }) => layer).join('+');
    const quantised = layers.flatMap(({ layer }) => this.#weights.quantised(`${layer}.weight`) ?? []);
    const joined = joinQuantised(name, quantised);
    if (this.activation === 'float32' || (quantised.length > 0 && joined === undefined)) return undefined;
    const join = (part: string, values: string[]): string =>
      this.node(`${name}.${part}`, 'Concat', values, { attributes: { axis: int(0) } });
    const biases = layers.map(({ layer, n, bias }) =>
      bias === 'bias' ? this.weight(`${layer}.bias`, [n]) : this.#zeros([n]),
    );
    const multiplied = (): string => {
      const weights = layers.map(({ layer, n }) => this.weight(`${layer}.weight`, [n, k]));
      return this.node(`${name}.product`, 'FusedMatMul', [input, join('weight', weights)], {
        domain: 'com.microsoft',
        attributes: { transB: int(1) },
      });
    };
    const product =
      joined === undefined ? multiplied() : this.#quantisedLinear(input, `${name}.product`, 'no bias', joined);
    return this.node(name, 'Add', [product, join('bias', biases)]);
  }

  /** RMSNorm over the last axis, with statistics in float32. */
  rmsNorm(input: string, norm: string, size: number, epsilon: number): string {
    const attributes = { axis: int(-1), epsilon: float(epsilon), stash_type: int(1) };
    return this.node(norm, 'SimplifiedLayerNormalization', [input, this.weight(`${norm}.weight`, [size])], {
      attributes,
    });
  }

  /** RMSNorm of the residual sum `delta (+ bias) + residual`; returns both. */
  skipRmsNorm(
    delta: string,
    residual: string,
    norm: string,
    size: number,
    epsilon: number,
    bias?: string,
  ): { normed: string; sum: string } {
    const inputs = [delta, residual, this.weight(`${norm}.weight`, [size])];
    if (bias !== undefined) inputs.push(bias);
    const sum = `${norm}.residual`;
    const attributes = { epsilon: float(epsilon) };
    this.nodeTo([norm, '', '', sum], 'SkipSimplifiedLayerNormalization', inputs, {
      domain: 'com.microsoft',
      attributes,
    });
    return { normed: norm, sum };
  }

  /**
   * down(silu(gate(x)) * up(x)). If `down` has a bias, the caller adds it. In half precision the intermediate size is
   * padded to one that the device is fast with: silu(0) * 0 is 0, so the result is the same.
   */
  swiGlu(input: string, layer: string, hidden: number, intermediate: number, bias: Bias): string {
    const unchanged = this.activation === 'float32' || this.#isQuantised(`${layer}.gate_proj`);
    const padded = unchanged ? intermediate : Math.ceil(intermediate / FAST_SIZE) * FAST_SIZE;
    const gate = this.linear(input, `${layer}.gate_proj`, intermediate, hidden, bias, { paddedN: padded });
    const up = this.linear(input, `${layer}.up_proj`, intermediate, hidden, bias, { paddedN: padded });
    // The runtime fuses Sigmoid and Mul into one QuickGelu(alpha 1) on devices that have it.
    const silu = this.node(`${layer}.silu`, 'Mul', [gate, this.node(`${layer}.sigmoid`, 'Sigmoid', [gate])]);
    return this.linear(
      this.node(`${layer}.gated`, 'Mul', [silu, up]),
      `${layer}.down_proj`,
      hidden,
      intermediate,
      'no bias',
      { paddedK: padded },
    );
  }

  build(): BuiltGraph {
    const model = {
      name: this.#name,
      nodes: this.#nodes,
      initializers: [...this.#initializers.values()],
      inputs: this.#inputs,
      outputs: this.#outputs,
    };
    return { bytes: encodeModel(model), model };
  }

  /** Zeros after a weight along the one axis on which `size` is larger. The runtime folds this when it loads. */
  #padded(weight: string, shape: readonly number[], size: readonly number[]): string {
    const axis = shape.findIndex((length, at) => length !== size[at]);
    if (axis < 0) return weight;
    const missing = shape.map((length, at) => (at === axis ? (size[at] ?? 0) - length : length));
    return this.node(`${weight}.padded`, 'Concat', [weight, this.#zeros(missing)], { attributes: { axis: int(axis) } });
  }

  /** Zeros of a half-precision activation type. Those of one shape are in the graph once. */
  #zeros(shape: readonly number[]): string {
    const name = `zeros_${shape.join('_')}`;
    if (this.#initializers.has(name)) return name;
    const count = shape.reduce((product, length) => product * length, 1);
    return this.constant(name, this.activation, shape, new Uint16Array(count));
  }

  #isQuantised(layer: string): boolean {
    return this.#weights.quantised(`${layer}.weight`) !== undefined;
  }

  #quantisedLinear(input: string, layer: string, bias: Bias, weight: QuantisedWeight): string {
    const { n, k, bits, blockSize } = weight;
    const blocks = Math.ceil(k / blockSize);
    const packed = this.#external(weight.packed, [n, blocks, (blockSize * bits) / 8]);
    const scales = this.#external(weight.scales, [n, blocks]);
    if (scales.dtype !== this.activation)
      throw new Error(`Scales of ${layer} are ${scales.dtype}, activations ${this.activation}. This is a bug.`);
    const attributes = { K: int(k), N: int(n), bits: int(bits), block_size: int(blockSize) };
    const inputs = [input, packed.value, scales.value];
    if (this.activation === 'float32') {
      return this.node(
        layer,
        'MatMulNBits',
        bias === 'bias' ? [...inputs, '', '', this.weight(`${layer}.bias`, [n])] : inputs,
        { domain: 'com.microsoft', attributes: { ...attributes, accuracy_level: int(ACCURACY_LEVEL_INT8) } },
      );
    }
    // A node of its own, as in bf16: onnxruntime moves the sum into the product where the chosen kernel can do it.
    const product = bias === 'bias' ? `${layer}.product` : layer;
    this.node(product, 'MatMulNBits', inputs, { domain: 'com.microsoft', attributes });
    return bias === 'bias' ? this.node(layer, 'Add', [product, this.weight(`${layer}.bias`, [n])]) : product;
  }

  #external(tensor: StoredTensor, dims: readonly number[]): { readonly value: string; readonly dtype: DType } {
    const dtype = STORED_DTYPE[tensor.dtype];
    const { file, offset, bytes } = tensor;
    if (!this.#initializers.has(tensor.name)) {
      this.#initializers.set(tensor.name, { name: tensor.name, dtype, dims, data: { file, offset, bytes } });
    }
    return { value: tensor.name, dtype };
  }
}
