// The portable runtime: onnxruntime-node in a worker thread, so that the JS thread never waits for a run. Right but slower
// than native-runtime.ts: onnxruntime-node copies every fetched tensor, and a run cannot be stopped half-way.
import { AvocadoError } from '../../base/errors.ts';
import { BUILD_COMMAND } from '../../base/native.ts';
import { bindTensors } from './bind-tensors.ts';
import type { NodeRuntimeReply, WireTensor } from './node-runtime-messages.ts';
import { RuntimeThread } from './node-runtime-thread.ts';
import type { ReplyOf } from './node-runtime-thread.ts';
import { refuseAborted } from './refuse-aborted.ts';
import type {
  DType,
  HostTensor,
  RunOptions,
  Runtime,
  Session,
  SessionOptions,
  Slab,
  SlabPiece,
  Tensor,
} from './runtime.ts';
import type { Device } from '../../settings/engine-settings.ts';

type Tensors = Readonly<Record<string, Tensor>>;

class NodeSlab implements Slab {
  readonly dtype: DType;
  readonly elements: number;
  readonly id: number;
  readonly thread: RuntimeThread;
  #released = false;

  constructor(thread: RuntimeThread, id: number, dtype: DType, elements: number) {
    this.thread = thread;
    this.id = id;
    this.dtype = dtype;
    this.elements = elements;
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    // A thread that has ended has freed it already.
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
    refuseAborted(options.signal);
    bindTensors(this, feeds, fetches);
    const { bytes } = await this.#ask(feeds, fetches, options.signal);
    refuseAborted(options.signal);
    const hosts = Object.values(fetches).filter((tensor) => tensor.kind === 'host');
    for (const [index, { data }] of hosts.entries()) {
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength).set(
        new Uint8Array(bytes[index] ?? new ArrayBuffer(0)),
      );
    }
  }

  async release(): Promise<void> {
    this.#released ??= this.#thread.ask('done', () => ({ request: { type: 'release', session: this.#id } }));
    await this.#released;
  }

  async #ask(feeds: Tensors, fetches: Tensors, signal: AbortSignal | undefined): Promise<ReplyOf<'ran'>> {
    try {
      return await this.#thread.ask('ran', () => {
        refuseAborted(signal);
        const wireFeeds = Object.entries(feeds).map(([name, tensor]) => wireOf(this.#thread, name, tensor, bytesOf));
        const wireFetches = Object.entries(fetches).map(([name, tensor]) =>
          wireOf(this.#thread, name, tensor, roomFor),
        );
        const transfer = [...wireFeeds, ...wireFetches].flatMap((wire) => (wire.kind === 'host' ? [wire.bytes] : []));
        return { request: { type: 'run', session: this.#id, feeds: wireFeeds, fetches: wireFetches }, transfer };
      });
    } catch (cause) {
      refuseAborted(signal);
      throw explained('The run failed', cause);
    }
  }
}

/** Over onnxruntime-node; open it with openNodeRuntime. */
export class NodeRuntime implements Runtime {
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

  async allocate(dtype: DType, elements: number, device: Device): Promise<Slab> {
    refuseCuda(device);
    if (dtype === 'bfloat16' || dtype === 'float16') {
      const advice = `Use the fp32 or int4 profile, or build the native runtime with \`${BUILD_COMMAND}\`.`;
      throw new AvocadoError('runtime_unavailable', `The portable runtime has no ${dtype}. ${advice}`);
    }
    const slab = ++this.#lastId;
    await this.#thread.ask('done', () => ({ request: { type: 'allocate', slab, dtype, elements } }));
    return new NodeSlab(this.#thread, slab, dtype, elements);
  }

  async copyWithin(slab: Slab, pieces: readonly SlabPiece[]): Promise<void> {
    const id = idOf(this.#thread, slab);
    await this.#thread.ask('done', () => ({ request: { type: 'copy', slab: id, pieces } }));
  }

  async close(): Promise<void> {
    await this.#thread.close();
  }
}

/** Starts the thread and waits until onnxruntime-node is loaded. @throws AvocadoError `runtime_unavailable` */
export async function openNodeRuntime(): Promise<NodeRuntime> {
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

function idOf(thread: RuntimeThread, slab: Slab): number {
  if (slab instanceof NodeSlab && slab.thread === thread) return slab.id;
  throw new Error('A slab of another runtime was bound. This is a bug.');
}

// A copy of exactly the tensor: the caller keeps its array, and an array may be a small part of a large buffer.
function bytesOf({ data }: HostTensor): ArrayBuffer {
  return data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
}

function roomFor({ data }: HostTensor): ArrayBuffer {
  return new ArrayBuffer(data.byteLength);
}

// The runtime's own message with what was being done; anything else as it is.
function explained(deed: string, cause: unknown): unknown {
  if (!(cause instanceof AvocadoError) || cause.code !== 'engine_error') return cause;
  return new AvocadoError('engine_error', `${deed}: ${cause.message}`, { cause });
}

function refuseCuda(device: Device): void {
  if (device.type === 'cpu') return;
  throw new AvocadoError(
    'device_unavailable',
    `CUDA needs the native runtime. Build it with \`${BUILD_COMMAND}\`, or use the CPU.`,
  );
}
