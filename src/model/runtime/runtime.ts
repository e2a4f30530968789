// The small interface between our graphs and whatever runs them. Two implementations: native-runtime.ts (our addon)
// and node-runtime.ts (onnxruntime-node in a worker thread). Callers preallocate every output, so that a run
// allocates nothing the caller can see and the KV cache is updated in place.
import type { Device } from '../../settings/engine-settings.ts';

export type DType = 'float32' | 'float16' | 'bfloat16' | 'int64' | 'int32' | 'uint8' | 'int8';

/** Bytes of one element. */
export const DTYPE_BYTES: Record<DType, number> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  uint8: 1,
  int8: 1,
};

export type HostArray =
  | Float32Array<ArrayBuffer>
  | BigInt64Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Uint8Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>;

/** A tensor in this process's memory; element count of `data` = product of `dims`. Lent to the runtime until run() settles. */
export interface HostTensor {
  readonly kind: 'host';
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: HostArray;
}

/** Memory on the session's device that lives across runs (a KV cache slab). Zero-filled lazily: untouched pages cost nothing on a CPU. */
export interface Slab {
  readonly dtype: DType;
  readonly elements: number;
  release(): void;
}

/** A contiguous part of a slab, seen with its own shape. The same view given as feed and fetch is updated in place. */
export interface SlabView {
  readonly kind: 'slab';
  readonly slab: Slab;
  /** first element of the view, counted in elements */
  readonly offset: number;
  readonly dims: readonly number[];
}

/** Elements of a slab that go to another place in it; the two places do not overlap. */
export interface SlabPiece {
  /** first element */
  readonly from: number;
  /** first element of where they go */
  readonly to: number;
  readonly elements: number;
}

export type Tensor = HostTensor | SlabView;

export interface RunOptions {
  /** Aborting ends the run between two graph nodes (native) or after it (node); run() then rejects with code `aborted`. */
  readonly signal?: AbortSignal | undefined;
}

/** One loaded graph. Runs of one session are serialised by the session itself. */
export interface Session {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /**
   * Runs the graph off the JS thread. `feeds` holds every input, `fetches` a preallocated tensor for every wanted output
   * (its dims are exact). @throws AvocadoError `engine_error` with the runtime's own message, `aborted`.
   */
  run(
    feeds: Readonly<Record<string, Tensor>>,
    fetches: Readonly<Record<string, Tensor>>,
    options?: RunOptions,
  ): Promise<void>;
  /** Frees the session's memory; waits for a run in flight. */
  release(): Promise<void>;
}

export interface SessionOptions {
  readonly device: Device;
  /** intra-op threads; 0 = the runtime's choice */
  readonly threads: number;
  /** spinning worker threads are faster alone and slower beside other work */
  readonly spinning: boolean;
  /** fp32 on CPU straight from an fp32 checkpoint: keep weights file-mapped instead of packing a copy */
  readonly disablePrepacking: boolean;
}

export interface Runtime {
  readonly name: 'native' | 'node';
  /** version of libonnxruntime */
  readonly version: string;
  /**
   * Loads a graph from its serialised ModelProto. External data locations inside are absolute paths without the leading
   * slash; they resolve against "/" (docs: onnxruntime refuses absolute paths and symlinks that leave the model's folder).
   */
  createSession(model: Uint8Array, options: SessionOptions): Promise<Session>;
  allocate(dtype: DType, elements: number, device: Device): Promise<Slab>;
  /** Copies inside a slab, off the JS thread. No run may use the slab meanwhile. @throws AvocadoError `engine_error` */
  copyWithin(slab: Slab, pieces: readonly SlabPiece[]): Promise<void>;
  close(): Promise<void>;
}
