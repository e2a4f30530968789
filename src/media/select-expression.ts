/**
 * ffmpeg's `select` expression for these frames. A flat sum of eq() fails beyond a hundred terms (expression depth) and costs
 * one comparison per pick and frame; a balanced tree of if(lt()) costs ten for 768 picks.
 * @param indices ascending, without repetition, at least one
 */
export function selectExpression(indices: readonly number[]): string {
  const middle = indices.length >> 1;
  const pivot = indices[middle];
  if (pivot === undefined) throw new Error('A selection needs at least one frame. This is a bug.');
  if (indices.length === 1) return `eq(n,${pivot})`;
  return `if(lt(n,${pivot}),${selectExpression(indices.slice(0, middle))},${selectExpression(indices.slice(middle))})`;
}
