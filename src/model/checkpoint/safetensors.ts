// safetensors files: u64 little-endian header length, JSON header, raw data. The reader reads only the header and
// checks it against the size of the file, so a half-downloaded shard is found before any of it is used. The writer
// makes dumps.
import { open, realpath, rm, stat, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { AvocadoError } from '../../base/errors.ts';
import { isJsonObject, type JsonObject } from '../../base/json.ts';

/** The longest header that the safetensors library itself accepts. */
const MAX_HEADER_BYTES = 100_000_000;
/** Bytes of one element, by safetensors' name of the type. */
const DTYPE_BYTES: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
};

/** A tensor as the header describes it. `dtype` is safetensors' own name; the caller checks whether it is supported. */
export interface SafetensorsEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** real path, absolute */
  readonly file: string;
  /** byte offset in the file */
  readonly offset: number;
  readonly bytes: number;
}

function invalid(file: string, problem: string, cause?: unknown): AvocadoError {
  return new AvocadoError('checkpoint_invalid', `${basename(file)} ${problem} Download this file again: ${file}`, {
    cause,
  });
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((entry) => Number.isSafeInteger(entry) && (entry as number) >= 0);
}

async function readExactly(handle: FileHandle, bytes: number, position: number): Promise<Buffer> {
  const buffer = Buffer.alloc(bytes);
  let read = 0;
  while (read < bytes) {
    const { bytesRead } = await handle.read(buffer, read, bytes - read, position + read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return buffer.subarray(0, read);
}

async function readHeader(
  handle: FileHandle,
  file: string,
  fileBytes: number,
): Promise<{ header: JsonObject; dataStart: number }> {
  const prefix = await readExactly(handle, 8, 0);
  if (prefix.length < 8) throw invalid(file, `holds ${fileBytes} bytes, which is no safetensors file.`);
  const headerBytes = Number(prefix.readBigUInt64LE(0));
  if (headerBytes > MAX_HEADER_BYTES)
    throw invalid(file, `is no safetensors file: its header would be ${headerBytes} bytes long.`);
  const dataStart = 8 + headerBytes;
  if (dataStart > fileBytes) throw invalid(file, `is truncated: at least ${dataStart - fileBytes} bytes are missing.`);
  try {
    const header: unknown = JSON.parse((await readExactly(handle, headerBytes, 8)).toString('utf8'));
    if (!isJsonObject(header)) throw new TypeError('The header is not an object.');
    return { header, dataStart };
  } catch (error) {
    throw invalid(file, 'has a damaged header.', error);
  }
}

function readEntry(file: string, name: string, value: unknown, dataStart: number): SafetensorsEntry {
  const {
    dtype,
    shape,
    data_offsets: offsets,
  } = (value ?? {}) as { dtype?: unknown; shape?: unknown; data_offsets?: unknown };
  const [from, to] = isSizes(offsets) ? offsets : [];
  if (typeof dtype !== 'string' || !isSizes(shape) || from === undefined || to === undefined || to < from) {
    throw invalid(file, `has a damaged header: the entry of ${name} is not a tensor.`);
  }
  const itemBytes = DTYPE_BYTES[dtype];
  const expected = itemBytes === undefined ? undefined : shape.reduce((product, size) => product * size, itemBytes);
  if (expected !== undefined && expected !== to - from) {
    const described = `${name} is ${dtype} [${shape.join(', ')}], ${expected} bytes`;
    throw invalid(file, `has a damaged header: ${described}, but ${to - from} bytes are stored.`);
  }
  return { dtype, shape, file, offset: dataStart + from, bytes: to - from };
}

/**
 * The tensors of one file, by name.
 * @throws AvocadoError `checkpoint_invalid`: the file is missing, is not safetensors, or is truncated (the message
 * names the file and the number of missing bytes)
 */
export async function readSafetensorsHeader(path: string): Promise<ReadonlyMap<string, SafetensorsEntry>> {
  // Files in the Hugging Face cache are symlinks, and onnxruntime refuses symlinks that leave the model's folder.
  const file = await realpath(path).catch((error: unknown) => {
    throw new AvocadoError('checkpoint_invalid', `${basename(path)} is missing: download it again to ${path}`, {
      cause: error,
    });
  });
  // A pipe would be waited for without end.
  if (!(await stat(file)).isFile()) throw invalid(file, 'is not a file.');
  const handle = await open(file, 'r').catch((error: unknown) => {
    throw new AvocadoError('checkpoint_invalid', `${file} cannot be opened: check its permissions.`, { cause: error });
  });
  try {
    const { size: fileBytes } = await handle.stat();
    const { header, dataStart } = await readHeader(handle, file, fileBytes);
    const entries = new Map<string, SafetensorsEntry>();
    let end = dataStart;
    for (const [name, value] of Object.entries(header)) {
      if (name === '__metadata__') continue;
      const entry = readEntry(file, name, value, dataStart);
      entries.set(name, entry);
      end = Math.max(end, entry.offset + entry.bytes);
    }
    if (end > fileBytes) throw invalid(file, `is truncated: ${end - fileBytes} bytes are missing.`);
    if (end < fileBytes)
      throw invalid(file, `is damaged: it has ${fileBytes - end} bytes more than its header describes.`);
    return entries;
  } finally {
    await handle.close();
  }
}

type DumpDType = 'F32' | 'F64' | 'I8' | 'I16' | 'I32' | 'I64' | 'U8';

/** One tensor to write. `data` may come in pieces, so that a gigabyte of patches is never in memory at once. */
export interface DumpTensor {
  readonly name: string;
  readonly dtype: DumpDType;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView | Iterable<ArrayBufferView> | AsyncIterable<ArrayBufferView>;
}

function bytesOf({ dtype, shape }: DumpTensor): number {
  return shape.reduce((product, size) => product * size, DTYPE_BYTES[dtype] ?? 0);
}

function headerOf(tensors: readonly DumpTensor[], metadata: Metadata | undefined): Buffer {
  let offset = 0;
  const entries: Record<string, unknown> = metadata === undefined ? {} : { __metadata__: metadata };
  for (const tensor of tensors) {
    const end = offset + bytesOf(tensor);
    entries[tensor.name] = { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [offset, end] };
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(entries), 'utf8');
  const padded = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  padded.writeBigUInt64LE(BigInt(padded.length - 8), 0);
  json.copy(padded, 8);
  return padded;
}

async function writeTensor(file: FileHandle, tensor: DumpTensor): Promise<void> {
  const expected = bytesOf(tensor);
  const pieces = ArrayBuffer.isView(tensor.data) ? [tensor.data] : tensor.data;
  let written = 0;
  for await (const piece of pieces) {
    await file.writeFile(new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength));
    written += piece.byteLength;
  }
  if (written !== expected)
    throw new Error(`${tensor.name} has ${written} bytes where its shape says ${expected}. This is a bug.`);
}

type Metadata = Readonly<Record<string, string>>;

/** Writes a safetensors file with the tensors in the given order. On failure no file is left. */
export async function writeSafetensors(
  path: string,
  tensors: readonly DumpTensor[],
  metadata?: Metadata,
): Promise<void> {
  const file = await open(path, 'w');
  try {
    await file.writeFile(headerOf(tensors, metadata));
    for (const tensor of tensors) await writeTensor(file, tensor);
    await file.close();
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(path, { force: true });
    throw error;
  }
}
