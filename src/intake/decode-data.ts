// Text that holds a file, turned into bytes a piece at a time, so that 100 MB of it never hold up the event loop.
import { Buffer } from 'node:buffer';
import { setImmediate } from 'node:timers/promises';
import type { AvocadoError } from '../base/errors.ts';
import { sliceOf, type LongText } from './long-texts.ts';

/** Makes the error of malformed text; the reason ends a sentence. */
export type Malformed = (reason: string) => AvocadoError;

/** Decoding one takes well under a millisecond. */
const PIECE_CHARACTERS = 256 * 1024;

/** Pieces that cut no percent escape in two. */
function* pieces(text: LongText, start: number): Generator<string> {
  for (let from = start; from < text.length;) {
    const end = Math.min(from + PIECE_CHARACTERS, text.length);
    const escape = end < text.length ? sliceOf(text, end - 2, end).indexOf('%') : -1;
    const to = escape === -1 ? end : end - 2 + escape;
    yield sliceOf(text, from, to);
    from = to;
  }
}

/** Percent escapes become bytes, everything else its UTF-8; an unescaped character beyond ASCII may not be cut, so it may not be there. */
function percentDecode(piece: string, malformed: Malformed): Buffer {
  if (/%(?![0-9A-Fa-f]{2})/.test(piece)) throw malformed('holds a broken percent escape: write % as %25');
  if (/[^\0-\x7f]/.test(piece)) throw malformed('holds characters beyond ASCII that are not escaped');
  return Buffer.from(
    piece.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  );
}

/** The bytes of percent-encoded text from `start` on. @throws what `malformed` makes */
export async function* percentBytes(text: LongText, start: number, malformed: Malformed): AsyncGenerator<Buffer> {
  for (const piece of pieces(text, start)) {
    yield percentDecode(piece, malformed);
    await setImmediate();
  }
}

/**
 * The bytes of base64 (or base64url) from `start` on. White space and percent escapes in it are undone, padding may be missing.
 * @throws what `malformed` makes
 */
export async function* base64Bytes(text: LongText, start: number, malformed: Malformed): AsyncGenerator<Buffer> {
  let left = '';
  let padded = false;
  for (const piece of pieces(text, start)) {
    const plain = piece.includes('%') ? percentDecode(piece, malformed).toString('latin1') : piece;
    const characters = left + plain.replace(/[\t\n\f\r ]+/g, '');
    const body = characters.replace(/={1,2}$/, '');
    if (/[^A-Za-z0-9+/_-]/.test(body) || (padded && !/^=?$/.test(characters))) throw malformed('is not base64');
    padded ||= body.length < characters.length;
    const whole = padded ? body.length : body.length - (body.length % 4);
    left = body.slice(whole);
    yield base64Piece(body.slice(0, whole), malformed);
    await setImmediate();
  }
  yield base64Piece(left, malformed);
}

function base64Piece(characters: string, malformed: Malformed): Buffer {
  if (characters.length % 4 === 1) throw malformed('is not base64: its end is missing');
  return Buffer.from(characters, 'base64');
}
