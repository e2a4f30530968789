// What prompt/ gives to the engine.

/** The media of the user turn, by kind and size. */
export type MediaTokens =
  | {
      readonly kind: 'video';
      readonly gridThw: readonly [number, number, number];
      readonly secondPerGrid: number;
      /** of the first frame, where the sound begins before it; absent: 0, as in the reference */
      readonly startSeconds?: number | undefined;
      readonly audioTokens: number | undefined;
    }
  | { readonly kind: 'image'; readonly gridThw: readonly [number, number, number] }
  | { readonly kind: 'audio'; readonly audioTokens: number };

export type MediaKind = MediaTokens['kind'];

export interface TokenCounts {
  readonly text: number;
  readonly video: number;
  readonly image: number;
  readonly audio: number;
  readonly total: number;
}

export interface Prompt {
  readonly ids: Int32Array;
  /** [3, ids.length] t, h, w (TMRoPE) */
  readonly positions: Int32Array;
  /** 1 + max position - length; the k-th generated token has the position length + ropeDelta + k */
  readonly ropeDelta: number;
  readonly counts: TokenCounts;
}
