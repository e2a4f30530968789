/** One reward of one caption as the sum sees it. */
export interface Part {
  /** null = could not be scored */
  readonly value: number | null;
  readonly weight: number;
  /** null by choice: left out of the sum instead of spoiling it */
  readonly skipped: boolean;
}

/**
 * R (Eq. 9): the weighted sum of the rewards; all weights are 1 in the paper.
 * @param partial sum what could be scored; otherwise one null makes the total null, so that no caption is compared on fewer rewards
 */
export function weightedSum(parts: readonly Part[], partial: boolean): number | null {
  let total = 0;
  for (const { value, weight, skipped } of parts) {
    if (value !== null) total += weight * value;
    else if (!skipped && !partial) return null;
  }
  return total;
}
