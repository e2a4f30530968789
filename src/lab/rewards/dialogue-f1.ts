/** What two silent sides earn; `skip` leaves R_D out of the sum. */
export type EmptyBoth = 0 | 1 | 'skip';

export interface DialogueCounts {
  /** N: lines of the caption */
  readonly generated: number;
  /** M: lines of the reference */
  readonly reference: number;
  /** S_content: similarities of the pairs together */
  readonly content: number;
  /** S_speaker: pairs whose speakers are the same */
  readonly speakers: number;
}

/**
 * R_D (Eq. 6 and 7), 0 to 1: the F1 of S_combined = (S_speaker + S_content) / 2 over M and over N, which is (S_speaker + S_content) / (M + N).
 * The paper is silent on silence. Invented speech must not pay, so one silent side earns 0. Both earn `emptyBoth`, by default 1: a group
 * of rollouts shares M, and where nobody speaks only this tells those who keep quiet from those who invent.
 * @returns null = skipped
 */
export function dialogueF1(
  { generated, reference, content, speakers }: DialogueCounts,
  emptyBoth: EmptyBoth,
): number | null {
  if (generated === 0 && reference === 0) return emptyBoth === 'skip' ? null : emptyBoth;
  if (generated === 0 || reference === 0) return 0;
  return (speakers + content) / (generated + reference);
}
