// Worker entry: cuts patches. Started by pool.ts.
import { move } from 'piscina';
import { cutPatches, temporalSteps } from './patches.ts';
import type { PatchTask } from './task-protocol.ts';

export default function patchTask({ stack, memory }: PatchTask): unknown {
  return move(cutPatches(stack, 0, temporalSteps(stack), { memory }).buffer);
}
