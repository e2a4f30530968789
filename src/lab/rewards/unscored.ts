// Why one reward of one caption is null. These are no errors of the request: its other rewards, and other captions, have theirs.

/** Code → what it means. */
export const UNSCORED = {
  no_reference: 'the item has no reference caption, or the judge finds nothing in it to compare with',
  no_token_count: 'the item has no completion_tokens and the service no tokenizer',
  no_claims: 'this judge cannot tell false claims; the world judge can',
  judge_timeout: 'the judge gave no answer in time, in any of its tries',
  judge_unreachable: 'the judge cannot be reached, or is overloaded, after all tries',
  judge_refused: 'the judge says that the request is wrong, such as a wrong key or model',
  parse_failed: 'the judge answered, but never in the form that was asked for',
  deadline: 'the batch has a deadline, and it passed first',
  aborted: 'who asked has gone',
  internal: 'a fault of ours; please report it',
} as const satisfies Record<string, string>;

export type UnscoredCode = keyof typeof UNSCORED;

/** A reward that cannot be given. Never 0: a policy must not be punished for a judge's bad day. */
export class Unscored extends Error {
  readonly code: UnscoredCode;

  constructor(code: UnscoredCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'Unscored';
    this.code = code;
  }
}
