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

/** Longer texts are counted in pieces of so many characters first. */
const PIECE_CHARACTERS = 4096;
/** A cut between two pieces adds fewer tokens than this. */
const CUT_TOKENS = 16;
/** Putting combining marks in order takes time that grows with the square of their number. */
const MOST_MARKS = 1000;

/** Whether a text certainly has more than `most` tokens. Stops counting there. */
function isLongerThan(tokenizer: Tokenizer, text: string, most: number): boolean {
  if (text.length <= PIECE_CHARACTERS) return false;
  let count = 0;
  for (let from = 0; from < text.length && count <= most;) {
    const end = from + PIECE_CHARACTERS;
    const to = end + (isHighSurrogate(text.charCodeAt(end - 1)) ? 1 : 0);
    count += Math.max(0, tokenizer.encodePlain(text.slice(from, to)).length - CUT_TOKENS);
    from = to;
  }
  return count > most;
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code < 0xdc00;
}

/** @throws AvocadoError `bad_request` for a run of combining marks that no writing has */
function checkMarks(text: string): void {
  let run = 0;
  for (const [mark] of text.matchAll(/\p{M}|\P{M}+/gu)) {
    run = /^\p{M}/u.test(mark) ? run + 1 : 0;
    if (run <= MOST_MARKS) continue;
    const problem = `more than ${MOST_MARKS} combining marks in a row, which no writing has`;
    throw new AvocadoError('bad_request', `The prompt has ${problem}. Remove them.`, { param: 'prompt' });
  }
}

/**
 * Tokenises a turn. Ids are those that the reference gets from the whole text, with one exception: what looks like an
 * added token in the user's text stays ordinary text.
 * @param most tokens that the turn may have; a text that has more is refused before all of it is tokenised
 * @throws AvocadoError `checkpoint_invalid` when the template does not place the media exactly once with the model's
 *   tokens; `context_length_exceeded`, `bad_request` for the text
 */
export function encodeTurn(
  tokenizer: Tokenizer,
  template: ChatTemplate,
  tokens: TokenIds,
  turn: ChatTurn,
  most = Infinity,
): EncodedTurn {
  const segments = template.render(turn);
  const ids: number[] = [];
  // The reference tokenises the text between two added tokens as a whole, the template's and the user's: in "user\n"
  // and "\nHello", both newlines are one token.
  let text = '';
  const endText = (): void => {
    checkMarks(text);
    if (isLongerThan(tokenizer, text, most)) throw tooLong(most);
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

function tooLong(most: number): AvocadoError {
  const limit = `${most.toLocaleString('en-US')} tokens, the limit for prompt and answer together`;
  return new AvocadoError('context_length_exceeded', `The prompt's text alone has more than ${limit}. Shorten it.`);
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
