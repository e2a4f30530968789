import { codePoints, pairableSimilarity } from '../similarity.ts';
import type { Event, Fact } from './read-caption.ts';

/** The same in every word. */
export function isEqual(told: Fact | Event, truth: Fact | Event): boolean {
  return JSON.stringify(told) === JSON.stringify(truth); // both flat, and always made with their fields in one order
}

/** Equal; of spoken lines, the same speaker and words as similar as the dialogue reward asks. */
export function isSame(told: Fact | Event, truth: Fact | Event): boolean {
  if (told.type === 'speech' && truth.type === 'speech')
    return told.speaker === truth.speaker && areAlike(told.content, truth.content);
  return isEqual(told, truth);
}

/** Whether two spoken lines count as a pair, as for the dialogue reward. */
function areAlike(one: string, other: string): boolean {
  return pairableSimilarity(codePoints(one), codePoints(other), false) > 0;
}
