import { createHash } from 'node:crypto';
import { prepareMedia } from './encoded-media.ts';
import { fileIdentity } from '../base/file-memo.ts';
import type { Clip } from './encoder-cache.ts';
import type { MediaPlan } from '../media/types.ts';
import type { PlannedRequest } from '../captioner/plan-request.ts';
import type { CaptionerContext } from '../captioner/captioner-context.ts';
import type { CaptionRequest } from '../output/events.ts';

/** The file's hash as the request brings it, or by reading it; undefined where nothing is kept or it cannot be read. */
async function hashOf(
  { path, contentHash }: CaptionRequest,
  { hashes }: CaptionerContext,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (hashes === undefined) return undefined;
  if (contentHash !== undefined) return contentHash;
  try {
    return await hashes.get(path, signal);
  } catch {
    signal.throwIfAborted();
    return undefined; // decoding says better what is wrong with the file
  }
}

/** Everything that decides the embeddings: bytes, every number of the profile, and whether the sound is listened to. */
function keyOf(hash: string, { profile, video, audio }: MediaPlan): string {
  const numbers = Object.entries(profile).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([hash, numbers, video?.kind ?? 'none', audio !== undefined]))
    .digest('hex');
}

/**
 * The file of a planned request as something to be opened through the cache.
 * @param identity of the file before it was planned: what is kept must be of one state of it, from the first look to the last
 * @throws AbortError
 */
export async function clipOf(
  request: CaptionRequest,
  { plan }: PlannedRequest,
  identity: string | undefined,
  model: CaptionerContext,
  signal: AbortSignal,
): Promise<Clip> {
  const hash = await hashOf(request, model, signal);
  const isIntact = async (): Promise<boolean> => hash === undefined || (await fileIdentity(request.path)) === identity;
  return {
    key: hash === undefined ? undefined : keyOf(hash, plan),
    path: plan.probe.path,
    prepare: (onStep, stop) => prepareMedia(plan, model, { onStep, isIntact }, stop),
  };
}
