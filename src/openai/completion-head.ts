// What is the same in every answer and every chunk of one completion.

export interface CompletionHead {
  readonly id: string;
  /** seconds since 1970 */
  readonly created: number;
  readonly model: string;
}

export interface ServedAs {
  readonly name: string;
  readonly precision: string;
}

/** @param requestId as in the header x-request-id */
export function completionHead(requestId: string, model: ServedAs, nowMs: number): CompletionHead {
  return { id: `chatcmpl-${requestId}`, created: Math.floor(nowMs / 1000), model: model.name };
}

/** Same fingerprint, same numbers: the weights, how they are held, and how media are prepared. */
export function systemFingerprint({ name, precision }: ServedAs, profile: string): string {
  return `${name}.${precision}.${profile}`;
}
