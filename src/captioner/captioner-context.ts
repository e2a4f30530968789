import { contentHash } from '../base/content-hash.ts';
import { FileMemo } from '../base/file-memo.ts';
import { MediaCache } from '../encoder/encoder-cache.ts';
import type { OpenModel } from './open-model.ts';
import { Probes } from './probes.ts';
import { WatchedTowers } from '../encoder/monitored-encoders.ts';

/** An open model, and what the requests of one captioner share beside it. */
export interface CaptionerContext extends OpenModel {
  readonly towers: WatchedTowers;
  readonly probes: Probes;
  /** undefined: nothing is kept of a clip, so nobody needs to know which one it is */
  readonly hashes: FileMemo<string> | undefined;
  readonly media: MediaCache;
}

export interface ContextOptions {
  /** of encoded clips kept for the next request about them; 0 = none */
  readonly mediaCacheBytes: number;
  /** prompts whose beginnings the engine keeps; 0 = none */
  readonly prefixSlots: number;
}

/** A hash is a hundred bytes. */
const FILES_REMEMBERED = 512;

export function captionerContext(model: OpenModel, { mediaCacheBytes, prefixSlots }: ContextOptions): CaptionerContext {
  return {
    ...model,
    towers: new WatchedTowers(model.thinker.towers),
    probes: new Probes(),
    hashes: mediaCacheBytes > 0 || prefixSlots > 0 ? new FileMemo(contentHash, FILES_REMEMBERED) : undefined,
    media: new MediaCache(mediaCacheBytes),
  };
}
