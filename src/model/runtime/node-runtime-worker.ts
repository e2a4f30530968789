// The thread in which onnxruntime-node runs, because its run() blocks the calling thread. The only file that imports
// onnxruntime-node. The thread is never terminated from outside: that would abort the process if a run is in progress
// (onnxruntime.md, Threads and cancel).
import { parentPort } from 'node:worker_threads';
import { InferenceSession, Tensor, env } from 'onnxruntime-node';
import { PAGE_BYTES } from './node-pages.ts';
import type { NodeRuntimeReply, NodeRuntimeRequest, WireTensor } from './node-runtime.ts';
import type { DType } from '../checkpoint/weights.ts';
import { logSeverity, type SessionOptions, type SlabPiece } from './runtime.ts';

const VIEWS = { float32: Float32Array, int64: BigInt64Array, int32: Int32Array, uint8: Uint8Array, int8: Int8Array };
type PortableType = keyof typeof VIEWS;
type PortableArray = InstanceType<(typeof VIEWS)[PortableType]>;

if (parentPort === null) throw new Error('node-runtime-worker runs in a worker thread only. This is a bug.');
const port = parentPort;
const sessions = new Map<number, InferenceSession>();
const slabs = new Map<number, { dtype: PortableType; array: PortableArray }>();

function portable(dtype: DType): PortableType {
  if (dtype === 'float16' || dtype === 'bfloat16')
    throw new Error(`The portable runtime has no ${dtype}. This is a bug.`);
  return dtype;
}

function found<T>(map: ReadonlyMap<number, T>, id: number): T {
  const value = map.get(id);
  if (value === undefined) throw new Error('A session or slab was used after its release. This is a bug.');
  return value;
}

// Tensors use our memory, not a copy: onnxruntime writes a fetched tensor into the given array, and a slab that is both
// fed and fetched is updated in place.
function tensorOf(wire: WireTensor): Tensor {
  if (wire.kind === 'host') {
    const dtype = portable(wire.dtype);
    return new Tensor(dtype, new VIEWS[dtype](wire.bytes), wire.dims);
  }
  const { dtype, array } = found(slabs, wire.slab);
  const elements = wire.dims.reduce((product, size) => product * size, 1);
  return new Tensor(dtype, array.subarray(wire.offset, wire.offset + elements), wire.dims);
}

function byName(tensors: readonly WireTensor[]): Record<string, Tensor> {
  return Object.fromEntries(tensors.map((wire) => [wire.name, tensorOf(wire)]));
}

/** onnxruntime-node types its levels as 0 to 4. */
function severityOf({ runtimeLog }: SessionOptions): 0 | 1 | 2 | 3 | 4 {
  return logSeverity(runtimeLog) as 0 | 1 | 2 | 3 | 4;
}

/** As kBriefSpin in native/session.cc. */
const BRIEF_SPIN = '20';

async function load(id: number, model: Uint8Array, options: SessionOptions): Promise<NodeRuntimeReply> {
  const session = await InferenceSession.create(model, {
    executionProviders: ['cpu'],
    graphOptimizationLevel: 'all',
    logSeverityLevel: severityOf(options),
    ...(options.threads > 0 ? { intraOpNumThreads: options.threads } : {}),
    extra: {
      session: {
        model_external_initializers_file_folder_path: '/',
        disable_prepacking: options.disablePrepacking ? '1' : '0',
        ...(options.spinning ? {} : { force_spinning_stop: '1' }), // before 1.30, which has the next
        intra_op: { allow_spinning: '1', ...(options.spinning ? {} : { spin_duration_us: BRIEF_SPIN }) },
      },
    },
  });
  sessions.set(id, session);
  return { type: 'loaded', inputs: session.inputNames, outputs: session.outputNames };
}

async function run(
  id: number,
  feeds: readonly WireTensor[],
  fetches: readonly WireTensor[],
): Promise<NodeRuntimeReply> {
  await found(sessions, id).run(byName(feeds), byName(fetches));
  return { type: 'ran', bytes: fetches.flatMap((wire) => (wire.kind === 'host' ? [wire.bytes] : [])) };
}

function copy(array: PortableArray, pieces: readonly SlabPiece[]): void {
  for (const { from, to, elements } of pieces) {
    if (Math.max(from, to) + elements > array.length) throw new Error('A copy reaches past its slab. This is a bug.');
    array.copyWithin(to, from, from + elements);
  }
}

function clear(array: PortableArray, pages: readonly number[]): void {
  for (const page of pages) new Uint8Array(array.buffer, page * PAGE_BYTES, PAGE_BYTES).fill(0);
}

async function answer(request: NodeRuntimeRequest): Promise<NodeRuntimeReply> {
  switch (request.type) {
    case 'load':
      return load(request.session, request.model, request.options);
    case 'run':
      return run(request.session, request.feeds, request.fetches);
    case 'release':
      await found(sessions, request.session).release();
      sessions.delete(request.session);
      return { type: 'done' };
    case 'allocate': {
      const dtype = portable(request.dtype);
      slabs.set(request.slab, { dtype, array: new VIEWS[dtype](request.elements) });
      return { type: 'done' };
    }
    case 'copy':
      for (const slab of request.slabs) copy(found(slabs, slab).array, request.pieces);
      return { type: 'done' };
    case 'clear':
      for (const { slab, pages } of request.slabs) clear(found(slabs, slab).array, pages);
      return { type: 'done' };
    case 'read': {
      const { offset, elements } = request;
      return { type: 'read', bytes: [found(slabs, request.slab).array.slice(offset, offset + elements).buffer] };
    }
    case 'free':
      slabs.delete(request.slab);
      return { type: 'done' };
    case 'close':
      // Once its port is closed, the thread ends.
      setImmediate(() => {
        port.close();
      });
      return { type: 'done' };
    default:
      return request satisfies never;
  }
}

async function reply(request: NodeRuntimeRequest): Promise<void> {
  let result: NodeRuntimeReply;
  try {
    result = await answer(request);
  } catch (error) {
    result = { type: 'failed', message: error instanceof Error ? error.message : String(error) };
  }
  port.postMessage(result, 'bytes' in result ? [...result.bytes] : []);
}

port.on('message', (request: NodeRuntimeRequest) => {
  void reply(request);
});
const ready: NodeRuntimeReply = { type: 'ready', version: env.versions.node ?? 'unknown' };
port.postMessage(ready);
