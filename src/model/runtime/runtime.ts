// The interface between our graphs and what runs them, and the checks that both implementations share:
// native-runtime.ts (our addon) and node-runtime.ts (onnxruntime-node in a worker thread). The caller allocates every
// output before the run, so that a run allocates no tensors and updates the KV cache in place.
import { AvocadoError } from '../../base/errors.ts';
import { FLOAT_BYTES } from '../../base/floats.ts';
import { RUNTIME_LOGS, type Device, type RuntimeLog } from '../../settings/engine-settings.ts';
import type { DType } from '../checkpoint/weights.ts';

/** Bytes of one element. */
export const DTYPE_BYTES: Record<DType, number> = {
  ...FLOAT_BYTES,
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

/**
 * A tensor in this process's memory. `data` has as many elements as the product of `dims`. The runtime uses the memory
 * until run() settles.
 */
export interface HostTensor {
  readonly kind: 'host';
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: HostArray;
}

/** A tensor of `data`, which must have as many elements as `dims` say. */
export function hostTensor(dtype: DType, dims: readonly number[], data: HostArray): HostTensor {
  return { kind: 'host', dtype, dims, data };
}

/**
 * Zeroed memory on the session's device that lives across runs, for the KV cache. On a CPU, untouched pages cost
 * nothing.
 */
export interface Slab {
  readonly dtype: DType;
  readonly elements: number;
  release(): void;
}

/**
 * Memory of one device in pages of one size, which slabs share: a paged slab has all its addresses from the start, but
 * memory only where it is committed. On a CPU, what is written elsewhere takes memory that the pool does not count.
 */
export interface PagePool {
  readonly pageBytes: number;
  /** pages that slabs can hold together */
  readonly pages: number;
  /** Frees the pages once no slab uses the pool. */
  release(): void;
}

/** A contiguous part of a slab, in elements. */
export interface SlabRange {
  /** index of the first element */
  readonly from: number;
  readonly elements: number;
}

/** A contiguous part of a slab with a shape of its own. A view that is both feed and fetch is updated in place. */
export interface SlabView {
  readonly kind: 'slab';
  readonly slab: Slab;
  /** index of the view's first element */
  readonly offset: number;
  readonly dims: readonly number[];
}

/** Elements to copy to another place of the same slab. The two places must not overlap. */
export interface SlabPiece {
  /** index of the first element */
  readonly from: number;
  /** index of the first target element */
  readonly to: number;
  readonly elements: number;
}

export type Tensor = HostTensor | SlabView;
export type Tensors = Readonly<Record<string, Tensor>>;

export interface RunOptions {
  /**
   * Aborting stops the run between two graph nodes (native) or lets it finish (node). run() then rejects with
   * `aborted`.
   */
  readonly signal?: AbortSignal | undefined;
  /**
   * Only where the session has `recordings`: all runs with the same number have tensors of the same shapes and the same
   * slabs. The device records the first one and replays it, which spares hundreds of launches (CUDA graphs). Inputs in
   * host memory keep the value of the first run.
   */
  readonly recording?: number | undefined;
}

/** One loaded graph. The session runs one call after another. */
export interface Session {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** whether runs may be recorded */
  readonly recordings?: boolean | undefined;
  /**
   * Runs the graph outside the JS thread.
   * @param feeds a tensor for every input
   * @param fetches a preallocated tensor with exact dims for every wanted output. Neither object is changed once it was
   *   used, only what its tensors hold.
   * @throws AvocadoError `engine_error` with the runtime's own message, `aborted`
   */
  run(feeds: Tensors, fetches: Tensors, options?: RunOptions): Promise<void>;
  /** Frees the session's memory after the runs in progress. */
  release(): Promise<void>;
}

export interface SessionOptions {
  readonly device: Device;
  /** intra-op threads; 0 = the runtime decides */
  readonly threads: number;
  /** how long threads without work spin: until there is some, or on a CPU for some microseconds */
  readonly spinning: boolean;
  /** keep file-mapped weights as they are instead of packing a copy; for fp32 on a CPU from an fp32 checkpoint */
  readonly disablePrepacking: boolean;
  /** what onnxruntime itself writes to stderr; default: silent */
  readonly runtimeLog?: RuntimeLog | undefined;
  /** runs may be recorded; CUDA and the native runtime only, and all nodes must be on the device; default false */
  readonly recordings?: boolean | undefined;
  /** inputs that the device's kernels read in host memory; default none */
  readonly hostInputs?: readonly string[] | undefined;
  /**
   * The native runtime on a CPU: our kernels for attention in decode steps (native/attention.h) and for quantised
   * weights (native/product.h), where the processor and onnxruntime's release allow them; default false.
   */
  readonly ownKernels?: boolean | undefined;
}

/** onnxruntime's number of a level: 4, fatal errors only, to 0, all. */
export function logSeverity(log: RuntimeLog | undefined): number {
  return RUNTIME_LOGS.length - 1 - RUNTIME_LOGS.indexOf(log ?? 'silent');
}

export interface Runtime {
  readonly name: 'native' | 'node';
  /** version of libonnxruntime */
  readonly version: string;
  /**
   * Loads a graph from its serialised ModelProto. Its external data locations are absolute paths without the leading
   * slash and are resolved against "/", because onnxruntime refuses absolute paths and symlinks that leave the model's
   * folder.
   */
  createSession(model: Uint8Array, options: SessionOptions): Promise<Session>;
  /**
   * As many pages as fit into so many bytes. CUDA gives the memory of all at once, so that a lack of it shows here.
   * @throws AvocadoError `device_unavailable`, `engine_error`
   */
  pagePool(device: Device, bytes: number): Promise<PagePool>;
  /**
   * Zeroed memory, or with a pool of the device only its addresses. Those are rounded up to whole pages, and the slab
   * has as many elements as they hold.
   * @throws AvocadoError `device_unavailable`, `engine_error`
   */
  allocate(dtype: DType, elements: number, device: Device, pool?: PagePool): Promise<Slab>;
  /**
   * Gives zeroed memory to the pages of these ranges in each slab, outside the JS thread. Pages that have some keep it
   * as it is. When it fails, nothing has changed. No run may use the ranges meanwhile, not even read past its rows.
   * @param slabs of one pool and type
   * @param ranges whole pages
   * @throws AvocadoError `engine_error`, such as a pool without so many pages, `device_unavailable`
   */
  commit(slabs: readonly Slab[], ranges: readonly SlabRange[]): Promise<void>;
  /**
   * Takes that memory away again: its content is lost, and what is not committed has no known content. Reads and writes
   * there are harmless. A released slab does it by itself.
   * @param slabs as for commit()
   * @param ranges as for commit()
   * @throws AvocadoError `engine_error`, `device_unavailable`
   */
  decommit(slabs: readonly Slab[], ranges: readonly SlabRange[]): Promise<void>;
  /**
   * Copies the same pieces inside each slab, outside the JS thread. No run may use the slabs meanwhile.
   * @param slabs all of one type and size, on one device
   * @throws AvocadoError `engine_error`, `device_unavailable`
   */
  copyWithin(slabs: readonly Slab[], pieces: readonly SlabPiece[]): Promise<void>;
  /**
   * Copies a part of a slab to this process's memory, outside the JS thread. No run may use the slab meanwhile.
   * @param target as many elements of the slab's type as the view has
   * @throws AvocadoError `engine_error`, `device_unavailable`
   */
  read(view: SlabView, target: HostArray): Promise<void>;
  close(): Promise<void>;
}

/** @throws AvocadoError `aborted` when the signal is aborted, with the signal's reason as its cause */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new AvocadoError('aborted', 'The run was cancelled.', { cause: signal.reason });
}

/**
 * Sorts feeds and fetches into the order of the graph's inputs and outputs. An output that is not fetched is undefined.
 * @throws Error when names or sizes do not match the graph: our own code builds both, so that is a bug
 */
export function bindTensors(
  graph: Pick<Session, 'inputs' | 'outputs'>,
  feeds: Tensors,
  fetches: Tensors,
): { inputs: Tensor[]; outputs: (Tensor | undefined)[] } {
  const inputs = graph.inputs.map((name) => {
    const tensor = feeds[name];
    if (tensor === undefined) throw new Error(`Input "${name}" is not fed. This is a bug.`);
    checkSize(name, tensor);
    return tensor;
  });
  const outputs = graph.outputs.map((name) => {
    const tensor = fetches[name];
    if (tensor !== undefined) checkSize(name, tensor);
    return tensor;
  });
  refuseUnknown('feed', feeds, graph.inputs, inputs.length);
  refuseUnknown('fetch', fetches, graph.outputs, outputs.filter((tensor) => tensor !== undefined).length);
  return { inputs, outputs };
}

/** @throws Error when `target` does not have the view's size, or the view reaches past its slab: both are bugs */
export function checkRead(view: SlabView, target: HostArray): void {
  checkSize('read', view);
  checkSize('target', { kind: 'host', dtype: view.slab.dtype, dims: view.dims, data: target });
}

/** Bytes, rounded up to whole pages of the pool, if there is one. */
export function roundedBytes(bytes: number, pool: PagePool | undefined): number {
  return pool === undefined ? bytes : Math.ceil(bytes / pool.pageBytes) * pool.pageBytes;
}

/**
 * [from, bytes] per range.
 * @throws Error when the slabs are of several types: that is a bug
 */
export function rangesInBytes(
  slabs: readonly Pick<Slab, 'dtype'>[],
  ranges: readonly SlabRange[],
): [from: number, bytes: number][] {
  const [first] = slabs;
  if (first === undefined) return [];
  if (slabs.some(({ dtype }) => dtype !== first.dtype))
    throw new Error('The slabs are of several types. This is a bug.');
  const size = DTYPE_BYTES[first.dtype];
  return ranges.map(({ from, elements }) => [from * size, elements * size]);
}

function elementsOf(tensor: Tensor): number {
  let elements = 1;
  for (const size of tensor.dims) elements *= size;
  return elements;
}

function refuseUnknown(what: string, tensors: Tensors, known: readonly string[], used: number): void {
  const names = Object.keys(tensors);
  if (names.length === used) return;
  const unknown = names.find((name) => !known.includes(name)) ?? '';
  throw new Error(`The graph has no tensor "${unknown}" to ${what}; it has ${known.join(', ')}. This is a bug.`);
}

function checkSize(name: string, tensor: Tensor): void {
  const elements = elementsOf(tensor);
  const fits =
    tensor.kind === 'host'
      ? tensor.data.byteLength === elements * DTYPE_BYTES[tensor.dtype]
      : Number.isInteger(tensor.offset) && tensor.offset >= 0 && tensor.offset + elements <= tensor.slab.elements;
  if (!fits) throw new Error(`Tensor "${name}" of [${tensor.dims.join(', ')}] does not fit its memory. This is a bug.`);
}
