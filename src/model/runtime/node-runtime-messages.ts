// What crosses between node-runtime.ts and its worker thread. One request is under way at a time.
import type { DType, SessionOptions, SlabPiece } from './runtime.ts';

/** A tensor's bytes on the way in, its size on the way out, or a part of a slab that lives in the worker. */
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
  | { readonly type: 'copy'; readonly slab: number; readonly pieces: readonly SlabPiece[] }
  | { readonly type: 'free'; readonly slab: number }
  | { readonly type: 'close' };

export type NodeRuntimeReply =
  | { readonly type: 'ready'; readonly version: string }
  | { readonly type: 'loaded'; readonly inputs: readonly string[]; readonly outputs: readonly string[] }
  /** bytes of the host fetches, in the order they were asked for */
  | { readonly type: 'ran'; readonly bytes: readonly ArrayBuffer[] }
  | { readonly type: 'done' }
  | { readonly type: 'failed'; readonly message: string };
