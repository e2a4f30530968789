// Similarity of two texts (Eq. 4). Lengths are code points after NFC: with UTF-16 units, an emoji's skin colour could
// decide a match.

/** Code points of a text after NFC. */
export function codePoints(text: string): readonly number[] {
  return Array.from(text.normalize('NFC'), (character) => character.codePointAt(0) ?? 0);
}

/** Levenshtein distance of two texts [code points], or undefined when it is above `max`. */
export function editsWithin(one: readonly number[], other: readonly number[], max: number): number | undefined {
  if (Math.abs(one.length - other.length) > max) return undefined; // each additional code point is an edit
  const row = Array.from({ length: other.length + 1 }, (_, column) => column);
  for (const [index, point] of one.entries()) {
    let corner = index;
    let fewest = (row[0] = index + 1);
    for (let column = 1; column <= other.length; column += 1) {
      const above = row[column] ?? 0;
      const edits = Math.min(above + 1, (row[column - 1] ?? 0) + 1, corner + (point === other[column - 1] ? 0 : 1));
      corner = above;
      row[column] = edits;
      if (edits < fewest) fewest = edits;
    }
    if (fewest > max) return undefined; // no later row has fewer
  }
  const edits = row[other.length] ?? 0;
  return edits > max ? undefined : edits;
}

/**
 * Sim(a, b) = 1 - Lev(a, b) / max(|a|, |b|) (Eq. 4; two empty texts are equal) where it reaches γ = 0.6, so that Eq. 5
 * may pair the two; otherwise 0. Compared as whole numbers, since 1 - 4/10 is not 0.6 in floating point. The paper's
 * recurrence says ≥, its text "exceeds".
 * @param strict as the text says: above 0.6
 */
export function pairableSimilarity(one: readonly number[], other: readonly number[], strict: boolean): number {
  const longer = Math.max(one.length, other.length);
  if (longer === 0) return 1;
  const edits = editsWithin(one, other, Math.floor((2 * longer) / 5));
  if (edits === undefined || (strict && 5 * (longer - edits) === 3 * longer)) return 0;
  return (longer - edits) / longer;
}
