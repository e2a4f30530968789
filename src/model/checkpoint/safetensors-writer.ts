import { open, rm, type FileHandle } from 'node:fs/promises';

export type DumpDType = 'F32' | 'F64' | 'I32' | 'I64' | 'U8';
const ELEMENT_BYTES: Record<DumpDType, number> = { F32: 4, F64: 8, I32: 4, I64: 8, U8: 1 };

/** One tensor to write: its data at once or piece by piece, so that a gigabyte of patches never sits in memory. */
export interface DumpTensor {
  readonly name: string;
  readonly dtype: DumpDType;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView | AsyncIterable<ArrayBufferView>;
}

function headerOf(tensors: readonly DumpTensor[]): Buffer {
  let offset = 0;
  const entries: Record<string, unknown> = {};
  for (const { name, dtype, shape } of tensors) {
    const bytes = shape.reduce((product, size) => product * size, 1) * ELEMENT_BYTES[dtype];
    entries[name] = { dtype, shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const json = Buffer.from(JSON.stringify(entries), 'utf8');
  const padded = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  padded.writeBigUInt64LE(BigInt(padded.length - 8), 0);
  json.copy(padded, 8);
  return padded;
}

async function writeTensor(file: FileHandle, tensor: DumpTensor): Promise<void> {
  const expected = tensor.shape.reduce((product, size) => product * size, 1) * ELEMENT_BYTES[tensor.dtype];
  const pieces = ArrayBuffer.isView(tensor.data) ? [tensor.data] : tensor.data;
  let written = 0;
  for await (const piece of pieces) {
    await file.writeFile(new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength));
    written += piece.byteLength;
  }
  if (written !== expected)
    throw new Error(`${tensor.name} has ${written} bytes where its shape says ${expected}. This is a bug.`);
}

/** Writes a safetensors file (u64 header length, JSON header, raw data), tensors in the given order. On failure nothing is left. */
export async function writeSafetensors(path: string, tensors: readonly DumpTensor[]): Promise<void> {
  const file = await open(path, 'w');
  try {
    await file.writeFile(headerOf(tensors));
    for (const tensor of tensors) await writeTensor(file, tensor);
    await file.close();
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(path, { force: true });
    throw error;
  }
}
