// Files inside JSON bodies, as base64 or data URLs. JSON.parse of 30 MB of text would block the event loop for a
// quarter of a second, so long strings are cut out of the bytes first; the parsed value holds short markers instead.
import { Buffer } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import { AvocadoError } from '../base/errors.ts';

/** Text that encodes a file: a short one as a string, a long one as its bytes. Decoding refuses all but ASCII. */
export type FileText = string | Buffer;

/** Shorter strings are parsed in less than a millisecond. */
const LONG_BYTES = 256 * 1024;
/** Limit for the rest of a body: a million fields would block the event loop too. */
const MAX_REST_BYTES = 1024 ** 2;
/** What stays of a long string before its marker: enough to see its scheme and media type. */
const HEAD_BYTES = 200;
/** Fields that may hold a file. */
const FILE_FIELDS: ReadonlySet<string> = new Set(['media', 'url', 'data', 'file_data']);

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Random for each process, so that no client can write the marker of another client's file. */
const MARKER_START = `~${randomUUID()}~`;
const MARKER = new RegExp(`${MARKER_START}(\\d+)$`);

/** The files in the JSON bodies of all requests in progress. */
export class JsonAttachments {
  readonly #texts = new Map<string, Buffer>();
  #count = 0;

  get size(): number {
    return this.#texts.size;
  }

  /**
   * Like JSON.parse, but long strings become markers; `read` resolves them until `release` is called.
   * @throws AvocadoError `bad_request` for text that is not JSON, or a long string in a field that cannot hold a file
   */
  parse(json: Buffer): { readonly value: unknown; release(): void } {
    const ids: string[] = [];
    const parts: Buffer[] = [];
    let done = 0;
    for (const [start, end] of longStrings(json)) {
      const id = String(this.#count++);
      this.#texts.set(id, json.subarray(start, end));
      ids.push(id);
      parts.push(json.subarray(done, start), json.subarray(start, start + HEAD_BYTES), Buffer.from(MARKER_START + id));
      done = end;
    }
    const release = (): void => {
      for (const id of ids) this.#texts.delete(id);
    };
    parts.push(json.subarray(done));
    try {
      return { value: parseRest(Buffer.concat(parts)), release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** The string that a marker stands for; any other text is returned as it is. */
  read(text: string): FileText {
    const id = MARKER.exec(text.slice(-100))?.[1];
    return (id === undefined ? undefined : this.#texts.get(id)) ?? text;
  }
}

/** Characters [from, to) of either kind of text. */
export function sliceOf(text: FileText, from: number, to: number): string {
  return typeof text === 'string' ? text.slice(from, to) : text.toString('latin1', from, Math.min(to, text.length));
}

/** The long strings, in order. Strings with any escape are left to the parser. */
function* longStrings(json: Buffer): Generator<readonly [start: number, end: number]> {
  for (let quote = json.indexOf(QUOTE); quote >= 0;) {
    const end = endOfString(json, quote + 1);
    if (end < 0) return;
    if (end - quote > LONG_BYTES && !json.subarray(quote + 1, end).includes(BACKSLASH)) yield [quote + 1, end];
    quote = json.indexOf(QUOTE, end + 1);
  }
}

/** The end of the string that begins at `start`: the first quote after an even number of backslashes. */
function endOfString(json: Buffer, start: number): number {
  for (let end = json.indexOf(QUOTE, start); end >= 0; end = json.indexOf(QUOTE, end + 1)) {
    let backslashes = 0;
    while (json[end - 1 - backslashes] === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0) return end;
  }
  return -1;
}

function parseRest(json: Buffer): unknown {
  if (json.length > MAX_REST_BYTES)
    throw new AvocadoError(
      'bad_request',
      `The body has more than ${MAX_REST_BYTES} bytes beside its files. Leave out what the request does not need.`,
    );
  try {
    return JSON.parse(json.toString(), (field, value: unknown) => {
      if (field === '__proto__')
        throw new AvocadoError('bad_request', '__proto__ is not an allowed field. Leave it out.', { param: field });
      if (typeof value !== 'string' || FILE_FIELDS.has(field) || !MARKER.test(value.slice(-100))) return value;
      throw new AvocadoError('bad_request', `${field} is longer than ${LONG_BYTES} bytes, which only a file may be.`, {
        param: field,
      });
    });
  } catch (thrown) {
    if (thrown instanceof AvocadoError) throw thrown;
    throw new AvocadoError(
      'bad_request',
      `The body is not JSON: ${(thrown as Error).message.slice(0, 200)}.`.replace(/\.\.$/, '.'),
      { cause: thrown },
    );
  }
}
