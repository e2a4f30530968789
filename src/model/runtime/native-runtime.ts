// The runtime on our addon: every session has a thread of its own, slabs stay on the device, a run can be stopped.
import { AvocadoError } from '../../base/errors.ts';
import type {
  NativeAddon,
  NativeDevice,
  NativeDone,
  NativePagePoolHandle,
  NativeSessionHandle,
  NativeSlabHandle,
} from '../../base/native.ts';
import type { Device } from '../../settings/engine-settings.ts';
import { allocationError, loadError, runError } from './device-errors.ts';
import { ONNX_TYPES, type DType } from '../checkpoint/weights.ts';
import {
  bindTensors,
  checkRead,
  DTYPE_BYTES,
  logSeverity,
  rangesInBytes,
  roundedBytes,
  throwIfAborted,
  type HostArray,
  type PagePool,
  type RunOptions,
  type Runtime,
  type Session,
  type SessionOptions,
  type Slab,
  type SlabPiece,
  type SlabRange,
  type SlabView,
  type Tensor,
  type Tensors,
} from './runtime.ts';

class NativePagePool implements PagePool {
  readonly pageBytes: number;
  readonly pages: number;
  readonly handle: NativePagePoolHandle;
  readonly #addon: NativeAddon;
  #released = false;

  constructor(addon: NativeAddon, device: Device, bytes: number) {
    this.#addon = addon;
    this.handle = addon.createPagePool(nativeDevice(device), Math.floor(bytes));
    [this.pageBytes, this.pages] = addon.pagePoolSize(this.handle);
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#addon.releasePagePool(this.handle);
  }
}

class NativeSlab implements Slab {
  readonly dtype: DType;
  readonly elements: number;
  readonly handle: NativeSlabHandle;
  readonly #addon: NativeAddon;
  #released = false;

  constructor(addon: NativeAddon, dtype: DType, elements: number, device: Device, pool: NativePagePool | undefined) {
    this.#addon = addon;
    this.dtype = dtype;
    const bytes = roundedBytes(elements * DTYPE_BYTES[dtype], pool);
    this.elements = bytes / DTYPE_BYTES[dtype];
    this.handle = addon.allocateSlab(nativeDevice(device), bytes, pool?.handle);
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#addon.releaseSlab(this.handle);
  }
}

class NativeSession implements Session {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly #addon: NativeAddon;
  readonly #handle: NativeSessionHandle;
  readonly #forget: (session: NativeSession) => void;
  /** by their feeds: a decode step has the same tensors thousands of times */
  readonly #layouts = new WeakMap<Tensors, { readonly fetches: Tensors; readonly layout: TensorLayout }>();
  readonly recordings: boolean;
  #released: Promise<void> | undefined;

  constructor(
    addon: NativeAddon,
    handle: NativeSessionHandle,
    recordings: boolean,
    forget: (session: NativeSession) => void,
  ) {
    this.#addon = addon;
    this.#handle = handle;
    this.recordings = recordings;
    this.#forget = forget;
    ({ inputs: this.inputs, outputs: this.outputs } = addon.sessionNames(handle));
  }

  async run(feeds: Tensors, fetches: Tensors, options: RunOptions = {}): Promise<void> {
    const { signal, recording } = options;
    if (this.#released !== undefined) throw new Error('The session was released already. This is a bug.');
    throwIfAborted(signal);
    const { numbers, memory } = this.#layoutOf(feeds, fetches);
    let ticket = 0;
    const stop = (): void => {
      this.#addon.terminateRun(this.#handle, ticket);
    };
    const message = await messageOfCall((done) => {
      ticket = this.#addon.runSession(this.#handle, numbers, memory, done, recording);
      signal?.addEventListener('abort', stop, { once: true });
    });
    signal?.removeEventListener('abort', stop);
    throwIfAborted(signal);
    if (message !== undefined) throw runError(message);
  }

  #layoutOf(feeds: Tensors, fetches: Tensors): TensorLayout {
    const known = this.#layouts.get(feeds);
    if (known?.fetches === fetches) return known.layout;
    const { inputs, outputs } = bindTensors(this, feeds, fetches);
    const layout = tensorLayout([...inputs, ...outputs]);
    this.#layouts.set(feeds, { fetches, layout });
    return layout;
  }

  async release(): Promise<void> {
    this.#released ??= messageOfCall((done) => {
      this.#addon.releaseSession(this.#handle, done);
    }).then(() => {
      this.#forget(this);
    });
    await this.#released;
  }
}

/** The runtime over an addon that has loaded libonnxruntime `version`. */
export class NativeRuntime implements Runtime {
  readonly name = 'native';
  readonly version: string;
  readonly #addon: NativeAddon;
  readonly #sessions = new Set<NativeSession>();

  /** @throws AvocadoError `runtime_unavailable` when the library does not load */
  constructor(addon: NativeAddon, library: string) {
    this.#addon = addon;
    try {
      this.version = addon.loadOnnxRuntime(library);
    } catch (cause) {
      throw new AvocadoError('runtime_unavailable', `onnxruntime does not load: ${messageOf(cause)}`, { cause });
    }
  }

  async createSession(model: Uint8Array, options: SessionOptions): Promise<Session> {
    const { threads, spinning, disablePrepacking, device, runtimeLog } = options;
    const recordings = options.recordings === true && device.type === 'cuda';
    const config = {
      device: nativeDevice(device),
      threads,
      spinning,
      disablePrepacking,
      recordings,
      hostInputs: options.hostInputs ?? [],
      ownKernels: options.ownKernels === true && device.type === 'cpu',
      logSeverity: logSeverity(runtimeLog),
    };
    let handle: NativeSessionHandle | undefined;
    const message = await messageOfCall((done) => {
      handle = this.#addon.createSession(model, config, done);
    });
    if (handle === undefined) throw new Error('A session without a handle. This is a bug.');
    if (message !== undefined) {
      this.#addon.releaseSession(handle, () => undefined);
      throw loadError(device, message);
    }
    const forget = (released: NativeSession) => this.#sessions.delete(released);
    const session = new NativeSession(this.#addon, handle, recordings, forget);
    this.#sessions.add(session);
    return session;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- asynchronous in the other runtime
  async pagePool(device: Device, bytes: number): Promise<PagePool> {
    try {
      return new NativePagePool(this.#addon, device, bytes);
    } catch (cause) {
      throw allocationError(device, messageOf(cause), cause);
    }
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- asynchronous in the other runtime
  async allocate(dtype: DType, elements: number, device: Device, pool?: PagePool): Promise<Slab> {
    if (pool !== undefined && !(pool instanceof NativePagePool))
      throw new Error('A page pool of another runtime was given. This is a bug.');
    try {
      return new NativeSlab(this.#addon, dtype, elements, device, pool);
    } catch (cause) {
      throw allocationError(device, messageOf(cause), cause);
    }
  }

  async copyWithin(slabs: readonly Slab[], pieces: readonly SlabPiece[]): Promise<void> {
    const [first] = slabs;
    if (first === undefined) return;
    const size = DTYPE_BYTES[first.dtype];
    const numbers = Float64Array.from(
      pieces.flatMap(({ from, to, elements }) => [from * size, to * size, elements * size]),
    );
    const message = await messageOfCall((done) => {
      this.#addon.copyWithinSlabs(slabs.map(handleOf), numbers, done);
    });
    if (message !== undefined) throw runError(message, 'Copying in the KV cache failed');
  }

  async commit(slabs: readonly Slab[], ranges: readonly SlabRange[]): Promise<void> {
    if (slabs.length === 0) return;
    const message = await messageOfCall((done) => {
      this.#addon.commitSlabs(slabs.map(handleOf), Float64Array.from(rangesInBytes(slabs, ranges).flat()), done);
    });
    if (message !== undefined) throw runError(message, 'Committing memory of the KV cache failed');
  }

  async decommit(slabs: readonly Slab[], ranges: readonly SlabRange[]): Promise<void> {
    if (slabs.length === 0) return;
    const message = await messageOfCall((done) => {
      this.#addon.decommitSlabs(slabs.map(handleOf), Float64Array.from(rangesInBytes(slabs, ranges).flat()), done);
    });
    if (message !== undefined) throw runError(message, 'Decommitting memory of the KV cache failed');
  }

  async read(view: SlabView, target: HostArray): Promise<void> {
    checkRead(view, target);
    const message = await messageOfCall((done) => {
      this.#addon.readSlab(handleOf(view.slab), view.offset * DTYPE_BYTES[view.slab.dtype], target, done);
    });
    if (message !== undefined) throw runError(message, 'Reading from the device failed');
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sessions].map((session) => session.release()));
  }
}

interface TensorLayout {
  /** [ONNX type, byte offset, rank, ...dims] per tensor; zeros for an output that is not wanted */
  readonly numbers: Float64Array;
  /** memory of each tensor: typed array, slab handle or null */
  readonly memory: (ArrayBufferView | NativeSlabHandle | null)[];
}

/** Describes the tensors of a run (undefined = not wanted) for the addon. See native/tensor-layout.h. */
function tensorLayout(tensors: readonly (Tensor | undefined)[]): TensorLayout {
  const numbers: number[] = [];
  const memory: TensorLayout['memory'] = [];
  for (const tensor of tensors) {
    if (tensor === undefined) {
      numbers.push(0, 0, 0);
      memory.push(null);
    } else if (tensor.kind === 'host') {
      numbers.push(ONNX_TYPES[tensor.dtype], 0, tensor.dims.length, ...tensor.dims);
      memory.push(tensor.data);
    } else {
      const { dtype } = tensor.slab;
      numbers.push(ONNX_TYPES[dtype], tensor.offset * DTYPE_BYTES[dtype], tensor.dims.length, ...tensor.dims);
      memory.push(handleOf(tensor.slab));
    }
  }
  return { numbers: Float64Array.from(numbers), memory };
}

/** Resolves with the error message of a call to the addon, or with undefined. */
function messageOfCall(call: (done: NativeDone) => void): Promise<string | undefined> {
  return new Promise((resolve) => {
    call(resolve);
  });
}

function handleOf(slab: Slab): NativeSlabHandle {
  if (slab instanceof NativeSlab) return slab.handle;
  throw new Error('A slab of another runtime was bound. This is a bug.');
}

function nativeDevice(device: Device): NativeDevice {
  return { type: device.type, index: device.type === 'cuda' ? device.index : 0 };
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
