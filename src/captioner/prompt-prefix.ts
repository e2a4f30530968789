import { createHash } from 'node:crypto';
import type { SequenceRequest } from '../engine/types.ts';
import type { TokenIds } from '../model/checkpoint/config-types.ts';
import type { Prompt } from '../prompt/types.ts';

/** Tokens from the prompt's first to the one that closes the media: what follows them is the user's text. */
function prefixTokens(ids: Int32Array, tokens: TokenIds): number {
  const ofMedia: ReadonlySet<number> = new Set([
    tokens.video,
    tokens.image,
    tokens.audio,
    tokens.visionEnd,
    tokens.audioEnd,
  ]);
  for (let end = ids.length; end > 0; end--) if (ofMedia.has(ids[end - 1] ?? -1)) return end;
  return 0;
}

function bytesOf(values: Int32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/**
 * The part of a prompt that is the same whatever is asked about the same clip.
 * @param mediaKey equal where the media embeddings are; undefined = of this request alone, no prefix
 */
export function promptPrefix(
  { ids, positions }: Pick<Prompt, 'ids' | 'positions'>,
  tokens: TokenIds,
  mediaKey: string | undefined,
): SequenceRequest['prefix'] {
  const count = prefixTokens(ids, tokens);
  if (mediaKey === undefined || count === 0) return undefined;
  const hash = createHash('sha256')
    .update(mediaKey)
    .update('\0')
    .update(bytesOf(ids.subarray(0, count)));
  for (let axis = 0; axis < 3; axis++)
    hash.update(bytesOf(positions.subarray(axis * ids.length, axis * ids.length + count)));
  return { key: hash.digest('hex'), tokens: count };
}
