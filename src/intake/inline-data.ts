// Files that a request holds as text: data URLs (RFC 2397) and plain base64. They are decoded piece by piece, so that
// 100 MB of text does not block the event loop.
import { Buffer } from 'node:buffer';
import { setImmediate } from 'node:timers/promises';
import { abortError } from '../base/abort.ts';
import { AvocadoError } from '../base/errors.ts';
import type { TemporaryStorage } from '../storage/temporary-storage.ts';
import type { FileText } from './json-attachments.ts';
import { mediaTooLarge, storedSource, type MediaSource } from './media-source.ts';

export interface InlineOptions {
  readonly displayName: string;
  readonly param: string;
  readonly storage: TemporaryStorage;
  readonly maxBytes: number;
}

interface EncodedFile {
  readonly text: FileText;
  /** where in the text the file begins */
  readonly start: number;
  readonly isBase64: boolean;
  /** such as mp4; '' = unknown */
  readonly extension: string;
}

/** Makes the error of malformed text; the reason ends a sentence. */
type Malformed = (reason: string) => AvocadoError;

/** `data:[media type][;base64],` is short; text without a comma by then is not a data URL. */
const MAX_HEAD_CHARACTERS = 1000;

/** @throws AvocadoError `bad_request`, `media_too_large`; open() also `storage_full`, `aborted` */
export function dataUrlSource(reference: FileText, options: InlineOptions): MediaSource {
  return inlineSource(parseDataUrl(reference, options.param), options);
}

/** Plain base64; `format` is the file's extension. @throws as {@link dataUrlSource} */
export function base64Source(text: FileText, format: string | undefined, options: InlineOptions): MediaSource {
  return inlineSource({ text, start: 0, isBase64: true, extension: format ?? '' }, options);
}

/**
 * Up to the comma behind `;base64`. RFC 2397 lets a quoted value hold commas; browsers also write unquoted ones, as in
 * `data:video/webm;codecs=vp9,opus;base64,…`.
 */
const BASE64_HEAD = /^\s*data:([^,;"]*)(?:;(?:"(?:\\.|[^"\\])*"|[^;"])*)*?;\s*base64\s*,/i;
/** Up to the first comma that is not in quotes, or the first one. */
const PLAIN_HEAD = /^\s*data:([^,;"]*)(?:(?:"(?:\\.|[^"\\])*"|[^,"])*|[^,]*),/i;

function parseDataUrl(reference: FileText, param: string): EncodedFile {
  const head = reference.head.slice(0, MAX_HEAD_CHARACTERS);
  const base64 = BASE64_HEAD.exec(head);
  const [whole = '', type = ''] = base64 ?? PLAIN_HEAD.exec(head) ?? [];
  if (whole === '')
    throw new AvocadoError('bad_request', 'The data URL has no comma. Write it like data:video/mp4;base64,AAAA….', {
      param,
    });
  const extension = /^\s*[a-z]+\/([a-z0-9]{1,8})\s*$/i.exec(type)?.[1] ?? '';
  return { text: withoutFragment(reference), start: whole.length, isBase64: base64 !== null, extension };
}

/** A URL's fragment is not part of its data. */
function withoutFragment(text: FileText): FileText {
  return {
    ...text,
    async *pieces(from) {
      for await (const piece of text.pieces(from)) {
        const end = piece.indexOf('#');
        yield end === -1 ? piece : piece.slice(0, end);
        if (end !== -1) return;
      }
    },
  };
}

function inlineSource(file: EncodedFile, { displayName, param, storage, maxBytes }: InlineOptions): MediaSource {
  const tooLarge = (): AvocadoError => mediaTooLarge(`The file in ${displayName}`, maxBytes, param);
  const malformed: Malformed = (reason) =>
    new AvocadoError('bad_request', `The file in ${displayName} ${reason}.`, { param });
  if (minimumBytes(file) > maxBytes) throw tooLarge();
  return storedSource('data', displayName, async ({ signal, onProgress }) => {
    const decode = file.isBase64 ? base64Bytes : percentBytes;
    try {
      const saved = await storage.save(decode(file.text, file.start, malformed), {
        name: `data.${file.extension}`,
        maxBytes,
        tooLarge,
        signal,
        onBytes: (done) => onProgress?.(done, undefined),
      });
      await file.text.release();
      return saved;
    } catch (thrown) {
      throw signal.aborted ? abortError(signal) : thrown;
    }
  });
}

/** The least bytes that the text can encode. (For base64 with line breaks it is a little more than that.) */
function minimumBytes({ text, start, isBase64 }: EncodedFile): number {
  const characters = text.length - start;
  return isBase64 ? Math.floor((characters * 3) / 4) - 2 : Math.floor(characters / 3);
}

/** The bytes of percent-encoded text. @throws the error of `malformed` */
async function* percentBytes(text: FileText, start: number, malformed: Malformed): AsyncGenerator<Buffer> {
  for await (const piece of wholePieces(text.pieces(start))) {
    yield percentDecode(piece, malformed);
    await setImmediate();
  }
}

/**
 * The bytes of base64 or base64url. White space is ignored, percent escapes are decoded, padding may be missing.
 * @throws the error of `malformed`
 */
async function* base64Bytes(text: FileText, start: number, malformed: Malformed): AsyncGenerator<Buffer> {
  let rest = '';
  let padded = false;
  for await (const piece of wholePieces(text.pieces(start))) {
    const plain = piece.includes('%') ? percentDecode(piece, malformed).toString('latin1') : piece;
    const characters = rest + plain.replace(/[\t\n\f\r ]+/g, '');
    const body = characters.replace(/={1,2}$/, '');
    if (/[^A-Za-z0-9+/_-]/.test(body) || (padded && !/^=?$/.test(characters))) throw malformed('is not base64');
    padded ||= body.length < characters.length;
    const whole = padded ? body.length : body.length - (body.length % 4);
    rest = body.slice(whole);
    yield base64Piece(body.slice(0, whole), malformed);
    await setImmediate();
  }
  yield base64Piece(rest, malformed);
}

function base64Piece(characters: string, malformed: Malformed): Buffer {
  if (characters.length % 4 === 1) throw malformed('is not base64: its end is missing');
  return Buffer.from(characters, 'base64');
}

/** Pieces that do not cut a percent escape in two. */
async function* wholePieces(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = '';
  for await (const piece of pieces) {
    const text = rest + piece;
    const escape = text.indexOf('%', Math.max(0, text.length - 2));
    rest = escape === -1 ? '' : text.slice(escape);
    yield text.slice(0, text.length - rest.length);
  }
  if (rest !== '') yield rest;
}

/** Unescaped characters beyond ASCII are refused: a piece could cut one in two. */
function percentDecode(piece: string, malformed: Malformed): Buffer {
  if (/%(?![0-9A-Fa-f]{2})/.test(piece)) throw malformed('holds a broken percent escape: write % as %25');
  if (/[^\0-\x7f]/.test(piece)) throw malformed('holds characters beyond ASCII that are not escaped');
  return Buffer.from(
    piece.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  );
}
