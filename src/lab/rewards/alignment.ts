export interface Alignment {
  /** S_content: the pairs' similarities together */
  readonly content: number;
  /** [generated, reference], counted from 0, in order */
  readonly pairs: readonly (readonly [number, number])[];
}

/**
 * The best total of pairs that keep the order of both sides (Eq. 5). Deterministic: of equal optima a line is left out rather than
 * paired, the last generated one first, so that pairs exist only where they strictly gain.
 * @param similarities [generated, reference]; 0 = the two may not be paired
 */
export function align(similarities: readonly (readonly number[])[]): Alignment {
  const columns = similarities[0]?.length ?? 0;
  const best: number[][] = [new Array<number>(columns + 1).fill(0)];
  const at = (row: number, column: number): number => best[row]?.[column] ?? 0;
  for (const [index, values] of similarities.entries()) {
    const row = [0];
    best.push(row);
    for (const [column, value] of values.entries()) {
      const pair = value > 0 ? at(index, column) + value : 0;
      row.push(Math.max(at(index, column + 1), row[column] ?? 0, pair));
    }
  }
  const pairs: [number, number][] = [];
  let [row, column] = [similarities.length, columns];
  while (row > 0 && column > 0) {
    // Stored values are copies of each other, so that equality is exact.
    if (at(row, column) === at(row - 1, column)) row -= 1;
    else if (at(row, column) === at(row, column - 1)) column -= 1;
    else pairs.push([(row -= 1), (column -= 1)]);
  }
  return { content: at(similarities.length, columns), pairs: pairs.reverse() };
}
