// The portable runtime: onnxruntime-node in a worker thread (node-runtime-worker.ts), so that the JS thread never waits
// for a run. The same results as native-runtime.ts, but slower: onnxruntime-node copies every fetched tensor, and a run
// cannot be stopped before its end.
import { Worker } from 'node:worker_threads';
import { AvocadoError } from '../../base/errors.ts';
import { BUILD_COMMAND } from '../../base/native.ts';
import { workerEntry } from '../../base/worker-entry.ts';
import type { Device } from '../../settings/engine-settings.ts';
import type { DType } from '../checkpoint/weights.ts';
import { commitPages, decommitPages, NodePagePool, SlabPages } from './node-pages.ts';
import {
  bindTensors,
  checkRead,
  DTYPE_BYTES,
  roundedBytes,
  throwIfAborted,
  type HostArray,
  type HostTensor,
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

/**
 * A tensor in a message: bytes to read, a buffer of the right size to fill, or a part of a slab that lives in the
 * worker.
 */
export type WireTensor =
  | {
      readonly kind: 'host';
      readonly name: string;
      readonly dtype: DType;
      readonly dims: readonly number[];
      readonly bytes: ArrayBuffer;
    }
  | {
      readonly kind: 'slab';
      readonly name: string;
      readonly slab: number;
      readonly offset: number;
      readonly dims: readonly number[];
    };

export type NodeRuntimeRequest =
  | { readonly type: 'load'; readonly session: number; readonly model: Uint8Array; readonly options: SessionOptions }
  | {
      readonly type: 'run';
      readonly session: number;
      readonly feeds: readonly WireTensor[];
      readonly fetches: readonly WireTensor[];
    }
  | { readonly type: 'release'; readonly session: number }
  | { readonly type: 'allocate'; readonly slab: number; readonly dtype: DType; readonly elements: number }
  | { readonly type: 'copy'; readonly slabs: readonly number[]; readonly pieces: readonly SlabPiece[] }
  | { readonly type: 'clear'; readonly slabs: readonly { readonly slab: number; readonly pages: readonly number[] }[] }
  | { readonly type: 'read'; readonly slab: number; readonly offset: number; readonly elements: number }
  | { readonly type: 'free'; readonly slab: number }
  | { readonly type: 'close' };

export type NodeRuntimeReply =
  | { readonly type: 'ready'; readonly version: string }
  | { readonly type: 'loaded'; readonly inputs: readonly string[]; readonly outputs: readonly string[] }
  /** bytes of the host fetches, in the order of the request */
  | { readonly type: 'ran'; readonly bytes: readonly ArrayBuffer[] }
  | { readonly type: 'read'; readonly bytes: readonly ArrayBuffer[] }
  | { readonly type: 'done' }
  | { readonly type: 'failed'; readonly message: string };

type ReplyOf<T extends NodeRuntimeReply['type']> = Extract<NodeRuntimeReply, { type: T }>;

interface Posted {
  readonly request: NodeRuntimeRequest;
  readonly transfer?: ArrayBuffer[];
}

/** The thread in which onnxruntime-node runs. It gets one request at a time. */
class RuntimeThread {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  #settle: { resolve: (reply: NodeRuntimeReply) => void; reject: (error: Error) => void } | undefined;
  #last: Promise<unknown>;
  #ended: AvocadoError | undefined;
  #busy = 0;

  /** The thread's first reply is `ready`. `started` receives it. */
  constructor(started: (reply: Promise<NodeRuntimeReply>) => void) {
    const { filename, execArgv } = workerEntry(import.meta.url, './node-runtime-worker');
    this.#worker = new Worker(filename, { execArgv });
    this.#worker.on('message', (reply: NodeRuntimeReply) => {
      this.#settle?.resolve(reply);
    });
    this.#worker.on('error', (cause) => {
      this.#end(cause);
    });
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#end(undefined);
        resolve();
      });
    });
    const first = this.#reply();
    this.#last = first.catch(() => undefined);
    started(first);
  }

  /** `makeRequest` is called when the thread is free, so that tensors are not copied earlier than needed. */
  async ask<T extends NodeRuntimeReply['type']>(type: T, makeRequest: () => Posted): Promise<ReplyOf<T>> {
    const mine = this.#last.then(async () => {
      const { request, transfer = [] } = makeRequest();
      const answered = this.#reply();
      this.#worker.postMessage(request, transfer);
      return answered;
    });
    this.#last = mine.catch(() => undefined);
    const reply = await mine;
    if (reply.type === 'failed') throw new AvocadoError('engine_error', reply.message);
    if (reply.type !== type)
      throw new Error(`The runtime's thread answered ${reply.type} instead of ${type}. This is a bug.`);
    return reply as ReplyOf<T>;
  }

  /** Resolves when the thread has ended, after it has answered all earlier requests. */
  async close(): Promise<void> {
    this.#busy++;
    this.#worker.ref();
    if (this.#ended === undefined) await this.ask('done', () => ({ request: { type: 'close' } }));
    await this.#exited;
  }

  // A request in progress keeps the process alive; an idle thread does not.
  async #reply(): Promise<NodeRuntimeReply> {
    if (this.#ended !== undefined) throw this.#ended;
    if (this.#busy++ === 0) this.#worker.ref();
    try {
      return await new Promise((resolve, reject) => {
        this.#settle = { resolve, reject };
      });
    } finally {
      if (--this.#busy === 0) this.#worker.unref();
    }
  }

  #end(cause: unknown): void {
    const said = cause instanceof Error ? `: ${cause.message}` : '';
    this.#ended ??= new AvocadoError('runtime_unavailable', `The portable runtime's thread has ended${said}.`, {
      cause,
    });
    this.#settle?.reject(this.#ended);
  }
}

class NodeSlab implements Slab {
  readonly dtype: DType;
  readonly elements: number;
  readonly id: number;
  readonly thread: RuntimeThread;
  /** undefined for a slab without a pool */
  readonly pages: SlabPages | undefined;
  #released = false;

  constructor(thread: RuntimeThread, id: number, dtype: DType, elements: number, pages: SlabPages | undefined) {
    this.thread = thread;
    this.id = id;
    this.dtype = dtype;
    this.elements = elements;
    this.pages = pages;
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.pages?.release();
    // If the thread has ended, the memory is free already.
    this.thread.ask('done', () => ({ request: { type: 'free', slab: this.id } })).catch(() => undefined);
  }
}

class NodeSession implements Session {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly #thread: RuntimeThread;
  readonly #id: number;
  #released: Promise<unknown> | undefined;

  constructor(thread: RuntimeThread, id: number, names: { inputs: readonly string[]; outputs: readonly string[] }) {
    this.#thread = thread;
    this.#id = id;
    this.inputs = names.inputs;
    this.outputs = names.outputs;
  }

  async run(feeds: Tensors, fetches: Tensors, options: RunOptions = {}): Promise<void> {
    if (this.#released !== undefined) throw new Error('The session was released already. This is a bug.');
    throwIfAborted(options.signal);
    bindTensors(this, feeds, fetches);
    const { bytes } = await this.#ask(feeds, fetches, options.signal);
    throwIfAborted(options.signal);
    const hosts = Object.values(fetches).filter((tensor) => tensor.kind === 'host');
    for (const [index, { data }] of hosts.entries()) fill(data, bytes[index]);
  }

  async release(): Promise<void> {
    this.#released ??= this.#thread.ask('done', () => ({ request: { type: 'release', session: this.#id } }));
    await this.#released;
  }

  async #ask(feeds: Tensors, fetches: Tensors, signal: AbortSignal | undefined): Promise<ReplyOf<'ran'>> {
    try {
      return await this.#thread.ask('ran', () => {
        throwIfAborted(signal);
        const wireFeeds = Object.entries(feeds).map(([name, tensor]) => wireOf(this.#thread, name, tensor, bytesOf));
        const wireFetches = Object.entries(fetches).map(([name, tensor]) =>
          wireOf(this.#thread, name, tensor, roomFor),
        );
        const transfer = [...wireFeeds, ...wireFetches].flatMap((wire) => (wire.kind === 'host' ? [wire.bytes] : []));
        return { request: { type: 'run', session: this.#id, feeds: wireFeeds, fetches: wireFetches }, transfer };
      });
    } catch (cause) {
      throwIfAborted(signal);
      throw explained('The run failed', cause);
    }
  }
}

/** Opened by openNodeRuntime. */
class NodeRuntime implements Runtime {
  readonly name = 'node';
  readonly version: string;
  readonly #thread: RuntimeThread;
  #lastId = 0;

  constructor(thread: RuntimeThread, version: string) {
    this.#thread = thread;
    this.version = version;
  }

  async createSession(model: Uint8Array, options: SessionOptions): Promise<Session> {
    refuseCuda(options.device);
    const session = ++this.#lastId;
    try {
      const names = await this.#thread.ask('loaded', () => ({ request: { type: 'load', session, model, options } }));
      return new NodeSession(this.#thread, session, names);
    } catch (cause) {
      throw explained('The graph does not load', cause);
    }
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- asynchronous in the other runtime
  async pagePool(device: Device, bytes: number): Promise<PagePool> {
    refuseCuda(device);
    return new NodePagePool(bytes);
  }

  async allocate(dtype: DType, elements: number, device: Device, pool?: PagePool): Promise<Slab> {
    refuseCuda(device);
    if (dtype === 'bfloat16' || dtype === 'float16') {
      const advice = `Use the fp32 or int4 profile, or build the native runtime with \`${BUILD_COMMAND}\`.`;
      throw new AvocadoError('runtime_unavailable', `The portable runtime has no ${dtype}. ${advice}`);
    }
    if (pool !== undefined && !(pool instanceof NodePagePool))
      throw new Error('A page pool of another runtime was given. This is a bug.');
    const bytes = roundedBytes(elements * DTYPE_BYTES[dtype], pool);
    const pages = pool === undefined ? undefined : new SlabPages(pool, bytes);
    const rounded = bytes / DTYPE_BYTES[dtype];
    const slab = ++this.#lastId;
    await this.#thread.ask('done', () => ({ request: { type: 'allocate', slab, dtype, elements: rounded } }));
    return new NodeSlab(this.#thread, slab, dtype, rounded, pages);
  }

  async copyWithin(slabs: readonly Slab[], pieces: readonly SlabPiece[]): Promise<void> {
    const ids = slabs.map((slab) => idOf(this.#thread, slab));
    await this.#thread.ask('done', () => ({ request: { type: 'copy', slabs: ids, pieces } }));
  }

  async commit(slabs: readonly Slab[], ranges: readonly SlabRange[]): Promise<void> {
    const given = commitPages(
      slabs.map((slab) => nodeSlab(this.#thread, slab)),
      ranges,
    );
    const cleared = given.map(({ slab, pages }) => ({ slab: slab.id, pages }));
    await this.#thread.ask('done', () => ({ request: { type: 'clear', slabs: cleared } }));
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- asynchronous in the other runtime
  async decommit(slabs: readonly Slab[], ranges: readonly SlabRange[]): Promise<void> {
    decommitPages(
      slabs.map((slab) => nodeSlab(this.#thread, slab)),
      ranges,
    );
  }

  async read(view: SlabView, target: HostArray): Promise<void> {
    checkRead(view, target);
    const { offset, dims } = view;
    const slab = idOf(this.#thread, view.slab);
    const elements = dims.reduce((product, size) => product * size, 1);
    const { bytes } = await this.#thread.ask('read', () => ({ request: { type: 'read', slab, offset, elements } }));
    fill(target, bytes[0]);
  }

  async close(): Promise<void> {
    await this.#thread.close();
  }
}

/** Starts the thread and waits until onnxruntime-node is loaded. @throws AvocadoError `runtime_unavailable` */
export async function openNodeRuntime(): Promise<Runtime> {
  let started: Promise<NodeRuntimeReply> | undefined;
  const thread = new RuntimeThread((reply) => {
    started = reply;
  });
  const reply = await started;
  if (reply?.type !== 'ready') throw new Error('The runtime thread did not say that it is ready. This is a bug.');
  return new NodeRuntime(thread, reply.version);
}

function wireOf(
  thread: RuntimeThread,
  name: string,
  tensor: Tensor,
  bytes: (tensor: HostTensor) => ArrayBuffer,
): WireTensor {
  if (tensor.kind === 'host')
    return { kind: 'host', name, dtype: tensor.dtype, dims: tensor.dims, bytes: bytes(tensor) };
  const { slab, offset, dims } = tensor;
  return { kind: 'slab', name, slab: idOf(thread, slab), offset, dims };
}

function nodeSlab(thread: RuntimeThread, slab: Slab): NodeSlab {
  if (slab instanceof NodeSlab && slab.thread === thread) return slab;
  throw new Error('A slab of another runtime was bound. This is a bug.');
}

function idOf(thread: RuntimeThread, slab: Slab): number {
  return nodeSlab(thread, slab).id;
}

// A copy of only the tensor: the caller keeps its array, which may be a small part of a large buffer.
function bytesOf({ data }: HostTensor): ArrayBuffer {
  return data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
}

function fill(target: HostArray, bytes = new ArrayBuffer(0)): void {
  new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(new Uint8Array(bytes));
}

function roomFor({ data }: HostTensor): ArrayBuffer {
  return new ArrayBuffer(data.byteLength);
}

// Puts what was being done before the runtime's own message.
function explained(what: string, cause: unknown): unknown {
  if (!(cause instanceof AvocadoError) || cause.code !== 'engine_error') return cause;
  return new AvocadoError('engine_error', `${what}: ${cause.message}`, { cause });
}

function refuseCuda(device: Device): void {
  if (device.type === 'cpu') return;
  throw new AvocadoError(
    'device_unavailable',
    `CUDA needs the native runtime. Build it with \`${BUILD_COMMAND}\`, or use the CPU.`,
  );
}
