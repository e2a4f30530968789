// Types and loads the addon of native/, and says why it cannot be loaded. Importing this file loads nothing.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

declare const sessionBrand: unique symbol;
declare const slabBrand: unique symbol;
declare const pagePoolBrand: unique symbol;

/** Opaque handles. Their memory is freed by the release call, or when they are garbage-collected. */
export interface NativeSessionHandle {
  readonly [sessionBrand]: true;
}
export interface NativeSlabHandle {
  readonly [slabBrand]: true;
}
export interface NativePagePoolHandle {
  readonly [pagePoolBrand]: true;
}

/** Called once, on the JS thread. `message` is set when the call failed. */
export type NativeDone = (message?: string) => void;

export interface NativeDevice {
  readonly type: 'cpu' | 'cuda';
  readonly index: number;
}

interface NativeSessionConfig {
  readonly device: NativeDevice;
  readonly threads: number;
  readonly spinning: boolean;
  readonly disablePrepacking: boolean;
  readonly recordings: boolean;
  readonly hostInputs: readonly string[];
  readonly ownKernels: boolean;
  /** onnxruntime's levels: 0 verbose … 3 errors, 4 fatal */
  readonly logSeverity: number;
}

/**
 * The functions of native/addon.cc. Wrong arguments throw an Error that ends in `This is a bug.` Only src/model uses
 * sessions and slabs, only src/features the pixel kernels.
 */
export interface NativeAddon {
  /** From now on the kernel ends this process and its children when its parent is gone. It must lead its group. */
  readonly dieWithParent: (parent: number) => void;
  /** A pipe with a buffer of so many bytes: its two file descriptors. Undefined where no more files can be opened. */
  readonly openPipe: (bytes: number) => [read: number, write: number] | undefined;
  /** As fs.closeSync, which warns in a worker thread of a descriptor that fs did not open. */
  readonly closeDescriptor: (descriptor: number) => void;
  /** Loads libonnxruntime, once per process. Returns its version. */
  readonly loadOnnxRuntime: (path: string) => string;
  readonly createSession: (model: Uint8Array, config: NativeSessionConfig, done: NativeDone) => NativeSessionHandle;
  readonly sessionNames: (session: NativeSessionHandle) => { inputs: string[]; outputs: string[] };
  /**
   * `layout` and `memory` as in native/tensor-layout.h, inputs first, then outputs. `recording`: its number. Returns
   * the run's ticket.
   */
  readonly runSession: (
    session: NativeSessionHandle,
    layout: Float64Array,
    memory: readonly unknown[],
    done: NativeDone,
    recording?: number,
  ) => number;
  readonly terminateRun: (session: NativeSessionHandle, ticket: number) => void;
  readonly releaseSession: (session: NativeSessionHandle, done: NativeDone) => void;
  /** With a pool, only addresses are reserved. Their bytes are rounded up to whole pages. */
  readonly allocateSlab: (device: NativeDevice, bytes: number, pool?: NativePagePoolHandle) => NativeSlabHandle;
  readonly releaseSlab: (slab: NativeSlabHandle) => void;
  /**
   * Copies the same pieces in each slab of one device. `pieces` has [from, to, bytes] per piece, in bytes, none
   * overlapping itself. No run may use the slabs until done().
   */
  readonly copyWithinSlabs: (slabs: readonly NativeSlabHandle[], pieces: Float64Array, done: NativeDone) => void;
  readonly createPagePool: (device: NativeDevice, bytes: number) => NativePagePoolHandle;
  readonly pagePoolSize: (pool: NativePagePoolHandle) => [pageBytes: number, pages: number];
  /** The memory is freed once no slab uses the pool. */
  readonly releasePagePool: (pool: NativePagePoolHandle) => void;
  /**
   * Gives zeroed memory to the same ranges of each slab of one pool. `ranges` has [from, bytes] per range, in bytes and
   * whole pages. A failure changes nothing. No run may use the ranges until done().
   */
  readonly commitSlabs: (slabs: readonly NativeSlabHandle[], ranges: Float64Array, done: NativeDone) => void;
  /** Takes the memory of these ranges away, as commitSlabs gives it. */
  readonly decommitSlabs: (slabs: readonly NativeSlabHandle[], ranges: Float64Array, done: NativeDone) => void;
  /** Fills `target` with the slab's bytes from `offset` on. No run may use the slab until done(). */
  readonly readSlab: (slab: NativeSlabHandle, offset: number, target: ArrayBufferView, done: NativeDone) => void;
  /**
   * Pixel kernels (native/pixels.h). They run synchronously, in worker threads. With `done`, the frame is resized in
   * one of Node's threads; its arrays must stay as they are until then.
   */
  readonly resizeFrame: (
    source: Uint8Array,
    sourceHeight: number,
    sourceWidth: number,
    target: Uint8Array | Float32Array,
    targetHeight: number,
    targetWidth: number,
    rows: NativeAxisTaps,
    columns: NativeAxisTaps,
    done?: (error?: Error) => void,
  ) => void;
  readonly cutPatches: (
    frames: Uint8Array | Float32Array,
    frameCount: number,
    height: number,
    width: number,
    fromStep: number,
    toStep: number,
    mean: Float32Array,
    deviation: Float32Array,
    target: Float32Array,
  ) => void;
}

/** Made by features/resize.ts. */
interface NativeAxisTaps {
  readonly start: Int32Array;
  readonly count: Int32Array;
  readonly weights: Float32Array;
  readonly stride: number;
}

export type NativeStatus =
  { readonly loaded: true; readonly path: string } | { readonly loaded: false; readonly reason: string };

let addon: NativeAddon | undefined;
let status: NativeStatus | undefined;

// Both src/base/ and dist/base/ are two folders below the package's root.
const ADDON_PATH = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'native', 'build', 'avocado.node');

export const BUILD_COMMAND = 'node src/setup/build-native.mjs';

/** The addon, or undefined when it is not built or does not load. Then nativeStatus() has the reason. */
export function loadNative(): NativeAddon | undefined {
  if (status === undefined) status = tryLoad();
  return addon;
}

/** Whether loadNative found the addon, or why not. */
export function nativeStatus(): NativeStatus {
  loadNative();
  return status ?? { loaded: false, reason: 'not tried' };
}

function tryLoad(): NativeStatus {
  const remedy = `Build it with \`${BUILD_COMMAND}\` (needs g++).`;
  if (!existsSync(ADDON_PATH)) return { loaded: false, reason: `The native addon is not built. ${remedy}` };
  try {
    addon = createRequire(import.meta.url)(ADDON_PATH) as NativeAddon;
    return { loaded: true, path: ADDON_PATH };
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    return { loaded: false, reason: `The native addon does not load: ${said}. ${remedy}` };
  }
}
