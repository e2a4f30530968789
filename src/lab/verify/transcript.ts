// Spoken lines of a caption against a transcript of the sound: word error rates. Pure.

const WORD = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]|[\p{L}\p{N}]+(?:['’][\p{L}\p{N}]+)*/gu;

/** Words in lower case, without marks; characters of scripts that write no spaces are words of their own. */
export function wordsOf(text: string): string[] {
  return (text.normalize('NFKC').toLowerCase().match(WORD) ?? []).map((word) => word.replaceAll('’', "'"));
}

/**
 * Word error rate: edits (substitutions, insertions, deletions) over the words of the transcript.
 * @returns undefined when neither side has words; 1 for each word of the line when only the transcript has none
 */
export function wordErrorRate(said: readonly string[], transcript: readonly string[]): number | undefined {
  if (said.length + transcript.length === 0) return undefined;
  return edits(said, transcript, false) / Math.max(1, transcript.length);
}

/**
 * How badly one line is found in a transcript: the fewest edits between it and any stretch of the transcript, over the
 * words of the line. 0 = it is said word by word, 1 = no word of it.
 * @returns undefined for a line without words
 */
export function lineErrorRate(line: readonly string[], transcript: readonly string[]): number | undefined {
  return line.length === 0 ? undefined : edits(line, transcript, true) / line.length;
}

/** @param anywhere the words of `long` before and after the match cost nothing */
function edits(short: readonly string[], long: readonly string[], anywhere: boolean): number {
  let above = Array.from({ length: long.length + 1 }, (_, column) => (anywhere ? 0 : column));
  for (const [index, word] of short.entries()) {
    const row = [index + 1];
    for (const [column, other] of long.entries())
      row.push(
        Math.min((above[column + 1] ?? 0) + 1, (row[column] ?? 0) + 1, (above[column] ?? 0) + (word === other ? 0 : 1)),
      );
    above = row;
  }
  return anywhere ? Math.min(...above) : (above.at(-1) ?? 0);
}
