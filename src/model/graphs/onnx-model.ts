// An ONNX model as plain data, and its serialisation as a ModelProto. Only the part of the format that we use; field
// names and numbers follow onnx.proto (onnx 1.17).
import { ONNX_TYPES, type DType } from '../checkpoint/weights.ts';

/** A number, or the name of a size that is only known at run time. */
export type Dim = number | string;

export interface ValueInfo {
  readonly name: string;
  readonly dtype: DType;
  readonly dims: readonly Dim[];
}

export type AttributeValue =
  | { readonly type: 'int'; readonly value: number }
  | { readonly type: 'float'; readonly value: number }
  | { readonly type: 'ints'; readonly value: readonly number[] };

export interface OnnxNode {
  readonly name: string;
  readonly opType: string;
  /** '' is ai.onnx */
  readonly domain: '' | 'com.microsoft';
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, AttributeValue>>;
}

export interface Initializer {
  readonly name: string;
  readonly dtype: DType;
  readonly dims: readonly number[];
  /** Little-endian bytes inside the model, or the part of a file that holds them. */
  readonly data: Uint8Array | { readonly file: string; readonly offset: number; readonly bytes: number };
}

export interface OnnxModel {
  readonly name: string;
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly Initializer[];
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
}

/** Wire types. */
const VARINT = 0;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

const utf8 = new TextEncoder();

/**
 * Writes protobuf's wire format, as much of it as an ONNX model needs (protobuf.dev/programming-guides/encoding). Large
 * byte fields are kept by reference until finish(), so that tables are copied only once.
 */
export class ProtoWriter {
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;

  /** int32, int64 (non-negative or negative, within ±2^53), enum */
  varint(field: number, value: number | bigint): this {
    return this.#tag(field, VARINT).#varint(BigInt.asUintN(64, BigInt(value)));
  }

  float(field: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    return this.#tag(field, FIXED32).#push(bytes);
  }

  bytes(field: number, value: Uint8Array): this {
    return this.#tag(field, LENGTH_DELIMITED).#varint(BigInt(value.byteLength)).#push(value);
  }

  string(field: number, value: string): this {
    return this.bytes(field, utf8.encode(value));
  }

  message(field: number, value: ProtoWriter): this {
    this.#tag(field, LENGTH_DELIMITED).#varint(BigInt(value.#bytes));
    for (const chunk of value.#chunks) this.#push(chunk);
    return this;
  }

  finish(): Uint8Array<ArrayBuffer> {
    const whole = new Uint8Array(this.#bytes);
    let offset = 0;
    for (const chunk of this.#chunks) {
      whole.set(chunk, offset);
      offset += chunk.byteLength;
    }
    return whole;
  }

  #tag(field: number, wireType: number): this {
    return this.#varint(BigInt(field * 8 + wireType));
  }

  #varint(value: bigint): this {
    const bytes: number[] = [];
    let rest = value;
    while (rest >= 0x80n) {
      bytes.push(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    bytes.push(Number(rest));
    return this.#push(Uint8Array.from(bytes));
  }

  #push(chunk: Uint8Array): this {
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    return this;
  }
}

/** IR 10 goes with opset 22, the first opset whose Conv takes bfloat16. */
const IR_VERSION = 10;
const OPSET = 22;
const MICROSOFT_OPSET = 1;

/** TensorProto.DataLocation */
const EXTERNAL = 1;

function encodeAttribute(name: string, attribute: AttributeValue): ProtoWriter {
  const writer = new ProtoWriter().string(1, name);
  switch (attribute.type) {
    case 'float':
      return writer.float(2, attribute.value).varint(20, 1);
    case 'int':
      return writer.varint(3, attribute.value).varint(20, 2);
    case 'ints':
      for (const value of attribute.value) writer.varint(8, value);
      return writer.varint(20, 7);
    default:
      return attribute satisfies never;
  }
}

function encodeNode(node: OnnxNode): ProtoWriter {
  const writer = new ProtoWriter();
  for (const input of node.inputs) writer.string(1, input);
  for (const output of node.outputs) writer.string(2, output);
  writer.string(3, node.name).string(4, node.opType);
  for (const [name, attribute] of Object.entries(node.attributes)) writer.message(5, encodeAttribute(name, attribute));
  return node.domain === '' ? writer : writer.string(7, node.domain);
}

function encodeInitializer(initializer: Initializer): ProtoWriter {
  const writer = new ProtoWriter();
  for (const size of initializer.dims) writer.varint(1, size);
  writer.varint(2, ONNX_TYPES[initializer.dtype]).string(8, initializer.name);
  if (initializer.data instanceof Uint8Array) return writer.bytes(9, initializer.data);
  const { file, offset, bytes } = initializer.data;
  // onnxruntime refuses absolute locations. The session resolves this one against "/" (onnxruntime.md, External data).
  const entries = { location: file.replace(/^\/+/, ''), offset: String(offset), length: String(bytes) };
  for (const [key, value] of Object.entries(entries))
    writer.message(13, new ProtoWriter().string(1, key).string(2, value));
  return writer.varint(14, EXTERNAL);
}

function encodeValueInfo(info: ValueInfo): ProtoWriter {
  const shape = new ProtoWriter();
  for (const dim of info.dims) {
    shape.message(1, typeof dim === 'number' ? new ProtoWriter().varint(1, dim) : new ProtoWriter().string(2, dim));
  }
  const tensor = new ProtoWriter().varint(1, ONNX_TYPES[info.dtype]).message(2, shape);
  return new ProtoWriter().string(1, info.name).message(2, new ProtoWriter().message(1, tensor));
}

/** Serialises a model for createSession. Weights in files are referenced, not copied. */
export function encodeModel(model: OnnxModel): Uint8Array<ArrayBuffer> {
  const graph = new ProtoWriter();
  for (const node of model.nodes) graph.message(1, encodeNode(node));
  graph.string(2, model.name);
  for (const initializer of model.initializers) graph.message(5, encodeInitializer(initializer));
  for (const input of model.inputs) graph.message(11, encodeValueInfo(input));
  for (const output of model.outputs) graph.message(12, encodeValueInfo(output));
  return new ProtoWriter()
    .varint(1, IR_VERSION)
    .string(2, 'avocado')
    .message(7, graph)
    .message(8, new ProtoWriter().string(1, '').varint(2, OPSET))
    .message(8, new ProtoWriter().string(1, 'com.microsoft').varint(2, MICROSOFT_OPSET))
    .finish();
}
