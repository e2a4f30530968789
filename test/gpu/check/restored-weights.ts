// What a device with quantised weights should compute, in fp32 on the CPU: the weights are quantised as for that
// device, made numbers again, and referenced by an fp32 export. So the errors of quantising and of the device are told
// apart.
import { closeSync, mkdirSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openCheckpoint, type Checkpoint } from '../../../src/model/checkpoint/checkpoint.ts';
import { readModelConfig } from '../../../src/model/checkpoint/config.ts';
import { decodeValues, type StoredTensor } from '../../../src/model/checkpoint/weights.ts';
import { exportCheckpoint } from '../../../src/model/export/export.ts';
import {
  planQuantisedWeights,
  WEIGHTS_FILE,
  writeQuantisedWeights,
} from '../../../src/model/export/quantised-weights.ts';
import type { Device, QuantisedPrecision } from '../../../src/settings/engine-settings.ts';
import { dequantiseRows } from '../../fixtures/dequantise.ts';

function bytesOf({ file, offset, bytes }: StoredTensor): Uint8Array<ArrayBuffer> {
  const found = new Uint8Array(bytes);
  const open = openSync(file, 'r');
  readSync(open, found, 0, bytes, offset);
  closeSync(open);
  return found;
}

function valuesOf(tensor: StoredTensor): Float32Array<ArrayBuffer> {
  const values = new Float32Array(tensor.shape.reduce((product, size) => product * size, 1));
  decodeValues(bytesOf(tensor), tensor.dtype, values);
  return values;
}

/**
 * For small checkpoints: all restored weights are in memory at once.
 * @param directory empty or new; it must stay where it is
 * @returns the fp32 export
 */
export async function exportRestored(
  source: string,
  precision: QuantisedPrecision,
  device: Device['type'],
  directory: string,
): Promise<string> {
  mkdirSync(directory, { recursive: true });
  const [config, checkpoint] = [await readModelConfig(source), await openCheckpoint(source)];
  const quantised = planQuantisedWeights({ config, checkpoint }, precision, device, directory);
  await writeQuantisedWeights(quantised, join(directory, WEIGHTS_FILE));
  const file = join(directory, 'restored.bin');
  const pieces: Float32Array[] = [];
  let offset = 0;
  const restored = new Map<string, StoredTensor>();
  for (const { format, weight } of quantised.steps) {
    const { n, k, packed, scales } = weight;
    const values = dequantiseRows(bytesOf(packed), valuesOf(scales), n, k, format);
    const name = packed.name.replace(/\.packed$/, '');
    restored.set(name, { name, dtype: 'F32', shape: [n, k], file, offset, bytes: values.byteLength });
    offset += values.byteLength;
    pieces.push(values);
  }
  writeFileSync(file, Buffer.concat(pieces.map((piece) => Buffer.from(piece.buffer))));
  const { names, files, tied } = checkpoint;
  const weights: Checkpoint = {
    ...{ directory: checkpoint.directory, names, files, tied },
    plain: (name, shape) => restored.get(name) ?? checkpoint.plain(name, shape),
    quantised: () => undefined,
  };
  const out = join(directory, 'export');
  await exportCheckpoint({ config, checkpoint: weights }, 'fp32', out);
  return out;
}
