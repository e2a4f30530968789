// From chat text to the token ids on either side of the media.
import { AvocadoError } from '../base/errors.ts';
import type { TokenIds } from '../model/checkpoint/config-types.ts';
import type { ChatTemplate, ChatTurn } from './chat-template.ts';
import type { Tokenizer } from './tokenizer.ts';
import type { MediaKind } from './types.ts';

/** Ids before and after the media item, without the item's own start and end tokens. */
export interface EncodedTurn {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/**
 * Tokenises a turn. Ids are those that the reference gets from the whole text, with one exception: what looks like an
 * added token in the user's text stays ordinary text.
 * @throws AvocadoError `checkpoint_invalid` when the template does not place the media exactly once with the model's
 *   tokens
 */
export function encodeTurn(
  tokenizer: Tokenizer,
  template: ChatTemplate,
  tokens: TokenIds,
  turn: ChatTurn,
): EncodedTurn {
  const segments = template.render(turn);
  const ids: number[] = [];
  // The reference tokenises the text between two added tokens as a whole, the template's and the user's: in "user\n"
  // and "\nHello", both newlines are one token.
  let text = '';
  const endText = (): void => {
    for (const id of tokenizer.encodePlain(text)) ids.push(id);
    text = '';
  };
  for (const segment of segments) {
    for (const part of segment.author === 'template' ? tokenizer.split(segment.text) : [segment.text]) {
      if (typeof part === 'string') text += part;
      else {
        endText();
        ids.push(part);
      }
    }
  }
  endText();
  const start = findMedia(ids, mediaTriple(turn.media, tokens), template, turn.media);
  return { before: ids.slice(0, start), after: ids.slice(start + 3) };
}

/** Start token, placeholder and end token, which the template writes for a media item. */
function mediaTriple(media: MediaKind, tokens: TokenIds): readonly [number, number, number] {
  switch (media) {
    case 'video':
      return [tokens.visionStart, tokens.video, tokens.visionEnd];
    case 'image':
      return [tokens.visionStart, tokens.image, tokens.visionEnd];
    case 'audio':
      return [tokens.audioStart, tokens.audio, tokens.audioEnd];
    default:
      return media satisfies never;
  }
}

function findMedia(
  ids: readonly number[],
  triple: readonly [number, number, number],
  template: ChatTemplate,
  media: MediaKind,
): number {
  const start = ids.indexOf(triple[1]) - 1;
  const placed =
    start >= 0 && triple.every((id, offset) => ids[start + offset] === id) && !ids.includes(triple[1], start + 2);
  if (placed) return start;
  throw new AvocadoError(
    'checkpoint_invalid',
    `The chat template (${template.origin}) does not place the ${media} once, ` +
      `as tokens ${triple.join(', ')} of config.json: ` +
      'its tokenizer, chat template and config.json do not belong together. Download the checkpoint again.',
  );
}
