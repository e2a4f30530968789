import type { TokenLogprob } from './types.ts';

/**
 * The `count` most likely tokens, best first (the lower id among equals), without sorting the vocabulary: few scores
 * get past the worst one kept, so that a scan costs about what finding the maximum does.
 * @param scores [vocab] unmodified logits @param normaliser logSumExp of them
 * @returns fewer where fewer have any probability
 */
export function topTokens(scores: Float32Array, count: number, normaliser: number): TokenLogprob[] {
  const kept: number[] = [];
  let worst = -Infinity;
  for (let id = 0; id < scores.length; id++) {
    if (!((scores[id] ?? 0) > worst)) continue;
    if (kept.length >= count) kept.pop();
    insert(kept, id, scores);
    if (kept.length >= count) worst = scores[kept[count - 1] ?? 0] ?? 0;
  }
  return kept.map((id) => ({ id, logprob: (scores[id] ?? 0) - normaliser }));
}

/** After those that are not worse. */
function insert(kept: number[], id: number, scores: Float32Array): void {
  const score = scores[id] ?? 0;
  let at = kept.length;
  while (at > 0 && (scores[kept[at - 1] ?? 0] ?? 0) < score) at--;
  kept.splice(at, 0, id);
}
