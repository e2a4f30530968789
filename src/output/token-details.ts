import type { TokenLogprob } from '../engine/types.ts';
import type { TokenBytes } from './detokenizer.ts';
import type { TokenDetail, TokenWithAlternatives } from './events.ts';

/** A token and those that might have been, with the bytes each would add to the text. */
export function tokenWithAlternatives(
  tokens: Pick<TokenBytes, 'bytesOf'>,
  chosen: TokenLogprob,
  top: readonly TokenLogprob[],
): TokenWithAlternatives {
  const detail = ({ id, logprob }: TokenLogprob): TokenDetail => ({ id, logprob, bytes: [...tokens.bytesOf(id)] });
  return { ...detail(chosen), top: top.map(detail) };
}
