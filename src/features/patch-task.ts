// The patch pool's worker. See pool.ts.
import { move } from 'piscina';
import { cutPatches } from './patches.ts';
import type { PatchTask } from './pool.ts';

export default function patchTask({ stack, fromStep, toStep }: PatchTask): unknown {
  return move(cutPatches(stack, fromStep, toStep).buffer);
}
