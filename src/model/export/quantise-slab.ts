// A task of the quantising pool: some rows of one matrix, from the checkpoint file to their place in weights.bin.
// Errors go back as values: a thread's exceptions lose their code on the way.
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import type { ErrorCode } from '../../base/errors.ts';
import { quantisedBytes, quantiseRows, type QuantisedBits } from './quantise.ts';
import { decodeValues, STORED_BYTES } from '../checkpoint/stored-values.ts';
import type { StoredDType } from '../checkpoint/weights.ts';

export interface Slab {
  readonly name: string;
  readonly source: string;
  readonly sourceOffset: number;
  readonly dtype: StoredDType;
  readonly rows: number;
  readonly k: number;
  readonly bits: QuantisedBits;
  readonly target: string;
  readonly packedOffset: number;
  readonly scalesOffset: number;
}

export interface SlabFailure {
  readonly code: ErrorCode;
  readonly message: string;
  /** errno name, such as ENOSPC */
  readonly errno?: string | undefined;
}

function readAll(path: string, bytes: number, offset: number): Uint8Array<ArrayBuffer> | undefined {
  const buffer = new Uint8Array(bytes);
  const file = openSync(path, 'r');
  try {
    for (let at = 0; at < bytes;) {
      const read = readSync(file, buffer, at, bytes - at, offset + at);
      if (read === 0) return undefined;
      at += read;
    }
    return buffer;
  } finally {
    closeSync(file);
  }
}

function writeAll(file: number, bytes: Uint8Array, offset: number): void {
  for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at, bytes.length - at, offset + at);
}

function quantise(slab: Slab): SlabFailure | undefined {
  const stored = readAll(slab.source, slab.rows * slab.k * STORED_BYTES[slab.dtype], slab.sourceOffset);
  if (stored === undefined)
    return {
      code: 'checkpoint_invalid',
      message: `${slab.source} ended before tensor ${slab.name}: download this file again.`,
    };
  const values = new Float32Array(slab.rows * slab.k);
  decodeValues(stored, slab.dtype, values);
  const size = quantisedBytes(slab.rows, slab.k, slab.bits);
  const packed = new Uint8Array(size.packed);
  const scales = new Float32Array(size.scales / 4);
  if (!quantiseRows(values, slab.k, slab.bits, packed, scales)) {
    return {
      code: 'tensor_invalid',
      message: `Tensor ${slab.name} in ${slab.source} holds infinite weights: the checkpoint is damaged.`,
    };
  }
  const file = openSync(slab.target, 'r+');
  try {
    writeAll(file, packed, slab.packedOffset);
    writeAll(file, new Uint8Array(scales.buffer), slab.scalesOffset);
  } finally {
    closeSync(file);
  }
  return undefined;
}

/** Quantises one slab into `target`, which must exist. Blocks its thread. @returns what went wrong, or undefined */
export default function quantiseSlab(slab: Slab): SlabFailure | undefined {
  try {
    return quantise(slab);
  } catch (thrown) {
    const error = thrown as NodeJS.ErrnoException;
    return {
      code: 'export_incomplete',
      message: `Quantising ${slab.name} failed: ${error.message}.`,
      errno: error.code,
    };
  }
}
