// OnnxModel -> serialised ModelProto. Field numbers from onnx.proto (onnx 1.17).
import type { DType } from '../../runtime/runtime.ts';
import type { AttributeValue, Initializer, OnnxModel, OnnxNode, ValueInfo } from './model-types.ts';
import { ProtoWriter } from './proto.ts';

/** IR 10 goes with opset 22, the first whose Conv takes bfloat16. */
const IR_VERSION = 10;
const OPSET = 22;
const MICROSOFT_OPSET = 1;

/** TensorProto.DataType */
const DATA_TYPES: Record<DType, number> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  float16: 10,
  bfloat16: 16,
};
const EXTERNAL = 1;

/** The number by which attributes such as Cast's `to` name an element type. */
export function onnxDataType(dtype: DType): number {
  return DATA_TYPES[dtype];
}

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
  writer.varint(2, DATA_TYPES[initializer.dtype]).string(8, initializer.name);
  if (initializer.data instanceof Uint8Array) return writer.bytes(9, initializer.data);
  const { file, offset, bytes } = initializer.data;
  // onnxruntime refuses absolute locations; the session resolves this one against "/" (docs/onnxruntime.md section 4).
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
  const tensor = new ProtoWriter().varint(1, DATA_TYPES[info.dtype]).message(2, shape);
  return new ProtoWriter().string(1, info.name).message(2, new ProtoWriter().message(1, tensor));
}

/** The bytes that a session is made from. Weights in files are named, not copied. */
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
