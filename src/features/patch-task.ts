// Worker entry: cuts patches. Started by pool.ts.
import { move } from 'piscina';
import { cutPatches } from './patches.ts';
import type { PatchTask } from './task-protocol.ts';

export default function patchTask({ stack, fromStep, toStep, memory }: PatchTask): unknown {
  return move(cutPatches(stack, fromStep, toStep, { memory }).buffer);
}
