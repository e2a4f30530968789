// The one door to native/: finds the addon, types it, and says why it is not there. Importing this file loads nothing.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

declare const sessionBrand: unique symbol;
declare const slabBrand: unique symbol;

/** Opaque handles; memory is freed by their release call, or when they are collected. */
export interface NativeSessionHandle {
  readonly [sessionBrand]: true;
}
export interface NativeSlabHandle {
  readonly [slabBrand]: true;
}

/** Called once, on the JS thread; `message` is what went wrong. */
export type NativeDone = (message?: string) => void;

export interface NativeDevice {
  readonly type: 'cpu' | 'cuda';
  readonly index: number;
}

export interface NativeSessionConfig {
  readonly device: NativeDevice;
  readonly threads: number;
  readonly spinning: boolean;
  readonly disablePrepacking: boolean;
  /** onnxruntime's: 0 verbose … 3 errors, 4 fatal */
  readonly logSeverity: number;
  /** bytes; 0 = no limit */
  readonly deviceMemoryLimit: number;
}

/** The functions of native/addon.cc. Argument mistakes throw `… This is a bug.`; only src/model calls the session part. */
export interface NativeAddon {
  /** Loads libonnxruntime once per process; returns its version. */
  readonly loadOnnxRuntime: (path: string) => string;
  readonly createSession: (model: Uint8Array, config: NativeSessionConfig, done: NativeDone) => NativeSessionHandle;
  readonly sessionNames: (session: NativeSessionHandle) => { inputs: string[]; outputs: string[] };
  /** `layout` and `lent` as in native/tensor-layout.h, inputs first, then outputs; returns the run's ticket. */
  readonly runSession: (
    session: NativeSessionHandle,
    layout: Float64Array,
    lent: readonly unknown[],
    done: NativeDone,
  ) => number;
  readonly terminateRun: (session: NativeSessionHandle, ticket: number) => void;
  readonly releaseSession: (session: NativeSessionHandle, done: NativeDone) => void;
  readonly allocateSlab: (device: NativeDevice, bytes: number) => NativeSlabHandle;
  readonly releaseSlab: (slab: NativeSlabHandle) => void;
  /** `pieces` holds [from, to, bytes] per piece, in bytes; none overlaps itself. No run may use the slab until it is done. */
  readonly copyWithinSlab: (slab: NativeSlabHandle, pieces: Float64Array, done: NativeDone) => void;
  /** Pixel kernels (native/pixels.h), for features/ alone: synchronous, for worker threads; arrays may be shared memory. */
  readonly resizeFrame: (
    source: Uint8Array,
    sourceHeight: number,
    sourceWidth: number,
    target: Uint8Array | Float32Array,
    targetHeight: number,
    targetWidth: number,
    rows: NativeAxisTaps,
    columns: NativeAxisTaps,
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

/** As features/resize-weights.ts makes them. */
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

// src/base/ and dist/base/ both lie two folders below the package's root.
const ADDON_PATH = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'native', 'build', 'avocado.node');

export const BUILD_COMMAND = 'node src/setup/build-native.mjs';

/** The addon, or undefined when it is not built or does not load here; nativeStatus() then has the reason. */
export function loadNative(): NativeAddon | undefined {
  if (status === undefined) status = tryLoad();
  return addon;
}

/** What loadNative found. */
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
