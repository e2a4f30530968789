import { align } from '../../src/rewards/alignment.ts';
import { dialogueF1 } from '../../src/rewards/dialogue-f1.ts';
import { codePoints, pairableSimilarity } from '../../src/similarity.ts';
import type { LineReward } from './world-scores.ts';

/** R_D of the world's lines, whose speakers are the same when their names are; 1 when nobody speaks in either. */
export const lineReward: LineReward = (told, truth) => {
  const { content, pairs } = align(told.map((line) => truth.map((other) => pairableSimilarity(codePoints(line.content), codePoints(other.content), false))));
  const speakers = pairs.filter(([row, column]) => told[row]?.speaker === truth[column]?.speaker).length;
  return dialogueF1({ generated: told.length, reference: truth.length, content, speakers }, 1) ?? 1;
};
