/** In tokens of the caption, end token not counted. */
export interface LengthBounds {
  /** up to here R_L is 1 (the paper's 2,048) */
  readonly from: number;
  /** from here on it is 0 (the paper's 4,096) */
  readonly to: number;
  /** below it R_L is 0, since an empty caption would earn 1; the paper has no such bound: 0 */
  readonly least: number;
}

export const PAPER_LENGTHS: LengthBounds = { from: 2048, to: 4096, least: 0 };

/** R_L (Eq. 8), 0 to 1: 1 up to `from`, then falling in a line to 0 at `to`. */
export function lengthReward(tokens: number, { from, to, least }: LengthBounds): number {
  if (tokens < least) return 0;
  return Math.min(1, Math.max(0, 1 - (tokens - from) / (to - from)));
}
