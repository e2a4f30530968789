import { open } from 'node:fs/promises';
import { Piscina } from 'piscina';
import { AvocadoError } from '../../base/errors.ts';
import { workerEntry } from '../../base/worker-entry.ts';
import { blocksOf, quantisedBytes } from './quantise.ts';
import quantiseSlab, { type Slab, type SlabFailure } from './quantise-slab.ts';
import type { QuantisationStep, QuantisedWeights } from './quantised-weights.ts';
import { STORED_BYTES } from '../checkpoint/stored-values.ts';

export interface ExportOptions {
  /** bytes of the source weights done, of all that must be read */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Elements of one slab: with its f32 values, 40 MB a thread at most. */
const SLAB_ELEMENTS = 1 << 22;
const THREADS = 2;
/** Below this, starting threads takes longer than the work. */
const INLINE_BYTES = 64 * 2 ** 20;

function slabsOf({ source, weight }: QuantisationStep, target: string): Slab[] {
  const { n, k, bits } = weight;
  const slabs: Slab[] = [];
  const rowBytes = source.bytes / n;
  const step = Math.max(1, Math.floor(SLAB_ELEMENTS / k));
  for (let row = 0; row < n; row += step) {
    const before = quantisedBytes(row, k, bits);
    slabs.push({
      name: source.name,
      source: source.file,
      sourceOffset: source.offset + row * rowBytes,
      dtype: source.dtype,
      rows: Math.min(step, n - row),
      k,
      bits,
      target,
      packedOffset: weight.packed.offset + before.packed,
      scalesOffset: weight.scales.offset + row * blocksOf(k) * 4,
    });
  }
  return slabs;
}

/** Makes the file at full length, so that slabs may be written in any order. */
async function createSparse(path: string, bytes: number): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.truncate(bytes);
  } finally {
    await file.close();
  }
}

function throwFailure(failure: SlabFailure): never {
  const full = failure.errno === 'ENOSPC' || failure.errno === 'EDQUOT';
  const advice = full ? ' Free space on that disk, or give another directory.' : '';
  throw new AvocadoError(failure.code, failure.message + advice);
}

type RunSlab = (slab: Slab) => Promise<SlabFailure | undefined>;

/** Keeps `THREADS` slabs in flight; the first failure or an abort stops the rest. */
async function runAll(
  weights: QuantisedWeights,
  target: string,
  runSlab: RunSlab,
  { onProgress, signal }: ExportOptions,
): Promise<void> {
  const total = weights.steps.reduce((sum, { source }) => sum + source.bytes, 0);
  const slabs = weights.steps.flatMap((step) => slabsOf(step, target)).values();
  let done = 0;
  let failed = false;
  onProgress?.(0, total);
  const lane = async (): Promise<void> => {
    for (const slab of slabs) {
      if (failed) return;
      signal?.throwIfAborted();
      const failure = await runSlab(slab);
      if (failure !== undefined) {
        failed = true;
        throwFailure(failure);
      }
      done += slab.rows * slab.k * STORED_BYTES[slab.dtype];
      onProgress?.(done, total);
    }
  };
  const lanes = await Promise.allSettled(Array.from({ length: THREADS }, lane));
  const broken = lanes.find((result) => result.status === 'rejected');
  if (broken !== undefined) throw broken.reason;
}

/**
 * Writes weights.bin: reads the checkpoint slab by slab with positional reads, in two threads when it is large. Memory
 * does not depend on the size of the model.
 * @throws AvocadoError `checkpoint_invalid`, `tensor_invalid`, `export_incomplete` (the disk is full or broken); the signal's reason
 */
export async function quantiseCheckpoint(
  weights: QuantisedWeights,
  target: string,
  options: ExportOptions = {},
): Promise<void> {
  await createSparse(target, weights.bytes);
  const total = weights.steps.reduce((sum, { source }) => sum + source.bytes, 0);
  if (total < INLINE_BYTES) {
    await runAll(
      weights,
      target,
      (slab) =>
        new Promise((resolve) =>
          setImmediate(() => {
            resolve(quantiseSlab(slab));
          }),
        ),
      options,
    );
    return;
  }
  const pool = new Piscina<Slab, SlabFailure | undefined>({
    ...workerEntry(import.meta.url, './quantise-slab'),
    minThreads: THREADS,
    maxThreads: THREADS,
  });
  try {
    await runAll(weights, target, (slab) => pool.run(slab), options);
  } finally {
    await pool.destroy();
  }
}
