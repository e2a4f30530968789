// What a caption claims, one statement at a time, and what a reader of captions can do with it.

/**
 * Which sense a claim rests on. `absence`: that there is no sound, or nothing to see, which is true of a copy without
 * it. `other`: both senses, or neither.
 */
export const SENSES = ['sight', 'sound', 'speech', 'absence', 'other'] as const;
export type Sense = (typeof SENSES)[number];

export interface Claim {
  readonly text: string;
  /** its sentence in the caption, from 0 */
  readonly sentence: number;
  readonly sense: Sense;
  /** the words that are said, of a claim of speech that quotes them */
  readonly line?: string | undefined;
}

/** Who splits captions into claims and compares them; verdicts of different readers are not comparable. */
export interface ReaderDescription {
  /** `world`: exact, for captions of the synthetic world. `words`: by the words that two texts share. */
  readonly kind: 'world' | 'words' | 'judge';
  /** of the judge */
  readonly model?: string | undefined;
  /** SHA-256 of its prompts in hex */
  readonly promptHash?: string | undefined;
}

type Soon<T> = T | Promise<T>;

/** Each of its methods throws Unscored where a judge gives no answer, and the signal's reason. */
export interface ClaimReader {
  readonly describe: () => ReaderDescription;
  readonly claims: (caption: string, signal: AbortSignal) => Soon<readonly Claim[]>;
  /** Which claims another caption of the same clip states too. @returns [claims] */
  readonly stated: (claims: readonly Claim[], other: string, signal: AbortSignal) => Soon<readonly boolean[]>;
  /** The caption without some of its claims. @param dropped [claims] */
  readonly without: (
    caption: string,
    claims: readonly Claim[],
    dropped: readonly boolean[],
    signal: AbortSignal,
  ) => Soon<string>;
}
