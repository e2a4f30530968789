// The runtime on our addon: every session has its own thread, slabs stay on the device, a run can be stopped.
import { AvocadoError } from '../../base/errors.ts';
import type {
  NativeAddon,
  NativeDevice,
  NativeDone,
  NativeSessionHandle,
  NativeSlabHandle,
} from '../../base/native.ts';
import { bindTensors } from './bind-tensors.ts';
import { refuseAborted } from './refuse-aborted.ts';
import { DTYPE_BYTES } from './runtime.ts';
import type { DType, RunOptions, Runtime, Session, SessionOptions, Slab, SlabPiece, Tensor } from './runtime.ts';
import { tensorLayout } from './tensor-layout.ts';
import type { Device } from '../../settings/engine-settings.ts';

// What goes wrong comes home as an exception; onnxruntime's log would only say it twice.
const LOG_FATAL = 4;

class NativeSlab implements Slab {
  readonly dtype: DType;
  readonly elements: number;
  readonly handle: NativeSlabHandle;
  readonly #addon: NativeAddon;
  #released = false;

  constructor(addon: NativeAddon, dtype: DType, elements: number, device: Device) {
    this.#addon = addon;
    this.dtype = dtype;
    this.elements = elements;
    this.handle = addon.allocateSlab(nativeDevice(device), elements * DTYPE_BYTES[dtype]);
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
  #released: Promise<void> | undefined;

  constructor(addon: NativeAddon, handle: NativeSessionHandle, forget: (session: NativeSession) => void) {
    this.#addon = addon;
    this.#handle = handle;
    this.#forget = forget;
    ({ inputs: this.inputs, outputs: this.outputs } = addon.sessionNames(handle));
  }

  async run(
    feeds: Readonly<Record<string, Tensor>>,
    fetches: Readonly<Record<string, Tensor>>,
    options: RunOptions = {},
  ): Promise<void> {
    const { signal } = options;
    if (this.#released !== undefined) throw new Error('The session was released already. This is a bug.');
    refuseAborted(signal);
    const { inputs, outputs } = bindTensors(this, feeds, fetches);
    const { numbers, lent } = tensorLayout([...inputs, ...outputs], handleOf);
    let ticket = 0;
    const stop = (): void => {
      this.#addon.terminateRun(this.#handle, ticket);
    };
    const message = await answer((done) => {
      ticket = this.#addon.runSession(this.#handle, numbers, lent, done);
      signal?.addEventListener('abort', stop, { once: true });
    });
    signal?.removeEventListener('abort', stop);
    refuseAborted(signal);
    if (message !== undefined) throw new AvocadoError('engine_error', `The run failed: ${message}`);
  }

  async release(): Promise<void> {
    this.#released ??= answer((done) => {
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
    const { threads, spinning, disablePrepacking, device } = options;
    const config = {
      device: nativeDevice(device),
      threads,
      spinning,
      disablePrepacking,
      logSeverity: LOG_FATAL,
      deviceMemoryLimit: 0,
    };
    let handle: NativeSessionHandle | undefined;
    const message = await answer((done) => {
      handle = this.#addon.createSession(model, config, done);
    });
    if (handle === undefined) throw new Error('A session without a handle. This is a bug.');
    if (message !== undefined) {
      this.#addon.releaseSession(handle, () => undefined);
      throw loadError(device, message);
    }
    const session = new NativeSession(this.#addon, handle, (released) => this.#sessions.delete(released));
    this.#sessions.add(session);
    return session;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the other runtime has to ask its worker
  async allocate(dtype: DType, elements: number, device: Device): Promise<Slab> {
    try {
      return new NativeSlab(this.#addon, dtype, elements, device);
    } catch (cause) {
      const code = device.type === 'cuda' ? 'device_unavailable' : 'engine_error';
      throw new AvocadoError(code, `No memory for the KV cache: ${messageOf(cause)}`, { cause });
    }
  }

  async copyWithin(slab: Slab, pieces: readonly SlabPiece[]): Promise<void> {
    const size = DTYPE_BYTES[slab.dtype];
    const numbers = Float64Array.from(
      pieces.flatMap(({ from, to, elements }) => [from * size, to * size, elements * size]),
    );
    const message = await answer((done) => {
      this.#addon.copyWithinSlab(handleOf(slab), numbers, done);
    });
    if (message !== undefined) throw new AvocadoError('engine_error', `Copying in the KV cache failed: ${message}`);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sessions].map((session) => session.release()));
  }
}

function answer(ask: (done: NativeDone) => void): Promise<string | undefined> {
  return new Promise((resolve) => {
    ask(resolve);
  });
}

function handleOf(slab: Slab): NativeSlabHandle {
  if (slab instanceof NativeSlab) return slab.handle;
  throw new Error('A slab of another runtime was bound. This is a bug.');
}

function nativeDevice(device: Device): NativeDevice {
  return { type: device.type, index: device.type === 'cuda' ? device.index : 0 };
}

// onnxruntime has no code of its own for "no such device"; these are the words of its CUDA provider.
const DEVICE_WORDS =
  /CUDA (failure|error)|Failed to load (shared )?library|no CUDA-capable device|invalid device ordinal|driver version/i;

function loadError(device: Device, message: string): AvocadoError {
  if (device.type === 'cuda' && DEVICE_WORDS.test(message)) {
    const said = `CUDA device ${device.index} cannot be used: ${message.trim()}`;
    return new AvocadoError('device_unavailable', `${said} Run \`avocado doctor\` to see what is missing.`);
  }
  return new AvocadoError('engine_error', `The graph does not load: ${message}`);
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
