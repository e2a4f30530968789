// Where a decoder's runs leave the logits: in this process's memory, or on the device with shortlists beside them.
import type { Device } from '../../settings/engine-settings.ts';
import { SHORTLIST_NAMES, shortlistLength } from '../graphs/shortlist.ts';
import { hostTensor, type Runtime, type Session, type Slab, type SlabView, type Tensors } from '../runtime/runtime.ts';
import type { Scores } from './thinker.ts';

/** The tensors of one plan for so many wanted rows. */
export interface ScoreOutputs {
  readonly feeds: Tensors;
  readonly fetches: Tensors;
  /** [rows] 1 / temperature of each row, to be filled before a run */
  readonly inverseTemperatures: Float32Array;
  /** The rows of the run that has just ended. */
  scores(): readonly Scores[];
}

/** One for all plans of a decoder: a run overwrites the logits of the one before. */
export interface ScoreMemory {
  /** rows that a run must ask for */
  readonly leastRows: number;
  outputs(rows: number): ScoreOutputs;
  /** @returns logits [vocab] of a row of the last run */
  logits(row: number): Promise<Float32Array>;
  release(): void;
}

class HostScores implements ScoreMemory {
  readonly leastRows = 0;
  readonly #vocabSize: number;
  readonly #logits: Float32Array<ArrayBuffer>;

  constructor(rows: number, vocabSize: number) {
    this.#vocabSize = vocabSize;
    this.#logits = new Float32Array(rows * vocabSize);
  }

  outputs(rows: number): ScoreOutputs {
    const data = this.#logits.subarray(0, rows * this.#vocabSize);
    const scores = Array.from({ length: rows }, (_, row): Scores => ({ kind: 'full', logits: this.#row(row) }));
    return {
      feeds: {},
      fetches: { logits: hostTensor('float32', [rows, this.#vocabSize], data) },
      inverseTemperatures: new Float32Array(rows),
      scores: () => scores,
    };
  }

  logits(row: number): Promise<Float32Array> {
    return Promise.resolve(this.#row(row));
  }

  release(): void {
    // The memory is JavaScript's.
  }

  #row(row: number): Float32Array {
    return this.#logits.subarray(row * this.#vocabSize, (row + 1) * this.#vocabSize);
  }
}

class DeviceScores implements ScoreMemory {
  /** TopK of no rows would be a launch of no threads, which CUDA refuses. */
  readonly leastRows = 1;
  readonly #vocabSize: number;
  readonly #runtime: Runtime;
  /** logits [rows, vocab] */
  readonly #slab: Slab;
  readonly #row: Float32Array<ArrayBuffer>;

  constructor(vocabSize: number, runtime: Runtime, slab: Slab) {
    this.#vocabSize = vocabSize;
    this.#runtime = runtime;
    this.#slab = slab;
    this.#row = new Float32Array(vocabSize);
  }

  outputs(rows: number): ScoreOutputs {
    const length = shortlistLength(this.#vocabSize);
    const names = SHORTLIST_NAMES;
    const values = new Float32Array(rows * length);
    const ids = new Int32Array(rows * length);
    const sums = new Float32Array(rows);
    const scaledSums = new Float32Array(rows);
    const inverseTemperatures = new Float32Array(rows);
    return {
      feeds: { [names.inverseTemperature]: hostTensor('float32', [rows, 1], inverseTemperatures) },
      fetches: {
        logits: this.#view(0, [rows, this.#vocabSize]),
        [names.values]: hostTensor('float32', [rows, length], values),
        [names.ids]: hostTensor('int32', [rows, length], ids),
        [names.logSumExp]: hostTensor('float32', [rows, 1], sums),
        [names.scaledLogSumExp]: hostTensor('float32', [rows, 1], scaledSums),
      },
      inverseTemperatures,
      scores: () =>
        Array.from({ length: rows }, (_, row) => ({
          kind: 'shortlist',
          ids: ids.subarray(row * length, (row + 1) * length),
          values: values.subarray(row * length, (row + 1) * length),
          logSumExp: sums[row] ?? NaN,
          scaledLogSumExp: scaledSums[row] ?? NaN,
        })),
    };
  }

  async logits(row: number): Promise<Float32Array> {
    await this.#runtime.read(this.#view(row, [this.#vocabSize]), this.#row);
    return this.#row;
  }

  release(): void {
    this.#slab.release();
  }

  #view(row: number, dims: readonly number[]): SlabView {
    return { kind: 'slab', slab: this.#slab, offset: row * this.#vocabSize, dims };
  }
}

interface MemoryOptions {
  readonly runtime: Runtime;
  readonly session: Session;
  readonly device: Device;
  /** most rows of a run */
  readonly rows: number;
  readonly vocabSize: number;
}

/**
 * The memory that the session's graph needs: on the device when it gives shortlists.
 * @throws AvocadoError as Runtime.allocate
 */
export async function scoreMemory({ runtime, session, device, rows, vocabSize }: MemoryOptions): Promise<ScoreMemory> {
  if (!session.outputs.includes(SHORTLIST_NAMES.values)) return new HostScores(rows, vocabSize);
  return new DeviceScores(vocabSize, runtime, await runtime.allocate('float32', rows * vocabSize, device));
}
