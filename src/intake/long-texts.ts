// Files inside JSON, as base64: parsed in one piece, 30 MB of it would stop the server for a quarter of a second. So long texts are
// cut out of the bytes before the rest is parsed, and stand there by a short mark.
import { Buffer } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import { AvocadoError } from '../base/errors.ts';

/** Shorter ones are parsed in less than a millisecond. */
const LONG_BYTES = 256 * 1024;
/** Everything else of a body: a million fields would hold up the server as a file would. */
const MOST_REST_BYTES = 1024 ** 2;
/** What stays of a long text before its mark: enough to see its scheme and type by. */
const HEAD_BYTES = 200;
/** Fields that may hold a file. */
const FILE_FIELDS: ReadonlySet<string> = new Set(['media', 'url', 'data', 'file_data']);

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** A text as it came: short ones as strings, long ones as the bytes of their characters (ASCII, or it is refused later). */
export type LongText = string | Buffer;

/** Nobody outside can guess a mark, so no client can name another's text. */
const MARK = new RegExp(`~${randomUUID()}~(\\d+)$`);
const MARK_START = MARK.source.slice(0, MARK.source.indexOf('('));

/** Where the string that begins behind `start` ends: at a quote that no odd number of backslashes escapes. */
function endOfString(json: Buffer, start: number): number {
  for (let end = json.indexOf(QUOTE, start); end >= 0; end = json.indexOf(QUOTE, end + 1)) {
    let backslashes = 0;
    while (json[end - 1 - backslashes] === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0) return end;
  }
  return -1;
}

/** Places of the strings worth cutting out, in order. What is escaped in any way is left to the parser. */
function* longStrings(json: Buffer): Generator<readonly [start: number, end: number]> {
  for (let quote = json.indexOf(QUOTE); quote >= 0;) {
    const end = endOfString(json, quote + 1);
    if (end < 0) return;
    if (end - quote > LONG_BYTES && !json.subarray(quote + 1, end).includes(BACKSLASH)) yield [quote + 1, end];
    quote = json.indexOf(QUOTE, end + 1);
  }
}

/** The long texts of the requests that are being answered. */
export class LongTexts {
  readonly #texts = new Map<string, Buffer>();
  #count = 0;

  get size(): number {
    return this.#texts.size;
  }

  /**
   * JSON.parse, but long texts are marks, to be given to `read`, until `release` is called.
   * @throws AvocadoError `bad_request` for what is no JSON, or a long text where no file may be
   */
  parse(json: Buffer): { readonly value: unknown; release(): void } {
    const marks: string[] = [];
    const parts: Buffer[] = [];
    let done = 0;
    for (const [start, end] of longStrings(json)) {
      const mark = String(this.#count++);
      this.#texts.set(mark, json.subarray(start, end));
      marks.push(mark);
      parts.push(json.subarray(done, start), json.subarray(start, start + HEAD_BYTES), Buffer.from(MARK_START + mark));
      done = end;
    }
    const release = (): void => {
      for (const mark of marks) this.#texts.delete(mark);
    };
    parts.push(json.subarray(done));
    try {
      return { value: parseRest(Buffer.concat(parts)), release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** The text behind a mark; any other text is itself. */
  read(text: string): LongText {
    const mark = MARK.exec(text.slice(-100))?.[1];
    return (mark === undefined ? undefined : this.#texts.get(mark)) ?? text;
  }
}

function parseRest(json: Buffer): unknown {
  if (json.length > MOST_REST_BYTES)
    throw new AvocadoError(
      'bad_request',
      `The body has more than ${MOST_REST_BYTES} bytes beside its files. Leave out what the request does not need.`,
    );
  try {
    return JSON.parse(json.toString(), (field, value: unknown) => {
      if (field === '__proto__')
        throw new AvocadoError('bad_request', '__proto__ is no field of anything. Leave it out.', { param: field });
      if (typeof value !== 'string' || FILE_FIELDS.has(field) || !MARK.test(value.slice(-100))) return value;
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

/** Characters [from, to) of a text of either kind. */
export function sliceOf(text: LongText, from: number, to: number): string {
  return typeof text === 'string' ? text.slice(from, to) : text.toString('latin1', from, Math.min(to, text.length));
}
