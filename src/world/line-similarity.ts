// How alike two spoken lines are: Eq. 4 of the dialogue reward, in whole numbers, so that the bound is met exactly.

/** Insertions, deletions and substitutions between two texts, in code points after NFC, and the longer one's length. */
export function editsBetween(one: string, other: string): { readonly edits: number; readonly longer: number } {
  const left = Array.from(one.normalize('NFC'));
  const right = Array.from(other.normalize('NFC'));
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (const [index, character] of left.entries()) {
    const next = [index + 1];
    for (const [column, against] of right.entries()) {
      const substituted = (row[column] ?? 0) + (character === against ? 0 : 1);
      next.push(Math.min((row[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1, substituted));
    }
    row = next;
  }
  return { edits: row.at(-1) ?? 0, longer: Math.max(left.length, right.length) };
}

/** Whether a pair of lines counts: a similarity of at least 3/5. */
export function areSimilar(one: string, other: string): boolean {
  const { edits, longer } = editsBetween(one, other);
  return 5 * (longer - edits) >= 3 * longer;
}
