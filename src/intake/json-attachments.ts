// Files inside JSON bodies, as base64 or data URLs. Long strings are written to disk while the body arrives, so that a
// body takes little memory and JSON.parse does not block the event loop; the parsed value holds short markers instead.
import { Buffer } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { withoutMark } from '../base/byte-order-mark.ts';
import { AvocadoError } from '../base/errors.ts';
import type { ByteQuota, Reservation, StoredFile, TemporaryStorage } from '../storage/temporary-storage.ts';

/** Text that encodes a file: short in memory, long on disk. Decoding refuses all but ASCII. */
export interface FileText {
  /** its beginning: enough to see its scheme and media type */
  readonly head: string;
  /** in characters */
  readonly length: number;
  /** the characters from one on, in pieces; once */
  pieces(from: number): AsyncIterable<string>;
  /** It is not needed any more. */
  release(): Promise<void>;
}

export interface JsonLimits {
  /** of the whole body */
  readonly maxBytes: number;
  readonly tooLarge: () => AvocadoError;
  /** the value outlives its request, as a job does: its long strings stay in it */
  readonly isKept?: boolean;
}

export interface ParsedJson {
  readonly value: unknown;
  /** Forgets the value's files, and what it holds of memory and disk. */
  readonly release: () => void;
}

/** Longer strings of fields that may hold a file go to disk; shorter ones are parsed in less than a millisecond. */
const LONG_BYTES = 256 * 1024;
/** Limit for the rest of a body: a million fields would block the event loop. */
const MAX_REST_BYTES = 1024 ** 2;
/** What stays of a long string before its marker. */
const HEAD_CHARACTERS = 1200;
/** Decoding so many characters takes well under a millisecond. */
const PIECE_CHARACTERS = 256 * 1024;
/** Fields that may hold a file. */
const FILE_FIELDS: ReadonlySet<string> = new Set(['media', 'url', 'data', 'file_data']);
/** Of the fields above, with room to spare. */
const LONGEST_NAME = 20;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const NOTHING = Buffer.alloc(0);

/** Random for each process, so that no client can write a marker. It must not be told to one. */
const MARKER_START = `~${randomUUID()}~`;
const MARKER = new RegExp(`${MARKER_START}(\\d+)$`);

/** The JSON bodies of all requests in progress, and the files in them. */
export class JsonAttachments {
  readonly #storage: Pick<TemporaryStorage, 'save'>;
  readonly #memory: ByteQuota;
  readonly #texts = new Map<string, FileText>();
  #count = 0;

  /** @param memory counts the bytes that bodies hold in memory */
  constructor(storage: Pick<TemporaryStorage, 'save'>, memory: ByteQuota) {
    this.#storage = storage;
    this.#memory = memory;
  }

  get size(): number {
    return this.#texts.size;
  }

  /**
   * Like JSON.parse, but long strings become markers; `read` resolves them until `release` is called.
   * @throws AvocadoError `bad_request` for text that is not JSON, or has too much beside its files;
   * the error of `tooLarge`; `storage_full`; errors of `chunks` pass
   */
  async parse(chunks: AsyncIterable<Buffer>, limits: JsonLimits): Promise<ParsedJson> {
    const held = this.#memory.reserve();
    const texts: [id: string, text: FileText][] = [];
    const release = (): void => {
      held.release();
      for (const [id, text] of texts) {
        this.#texts.delete(id);
        void text.release();
      }
    };
    const spill = async (bytes: AsyncIterable<Buffer>): Promise<Buffer> => {
      const id = String(this.#count++);
      const text = await this.#store(bytes, limits);
      texts.push([id, text]);
      this.#texts.set(id, text);
      return Buffer.from(JSON.stringify(text.head).slice(1, -1) + MARKER_START + id);
    };
    try {
      const rest = await new JsonReader(chunks, held, limits).read(spill);
      return { value: parseRest(rest, new Set(texts.map(([id]) => id))), release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** The string that a marker stands for, or the text itself. */
  read(text: string): FileText {
    const id = MARKER.exec(text.slice(-100))?.[1];
    return (id === undefined ? undefined : this.#texts.get(id)) ?? shortText(text);
  }

  async #store(bytes: AsyncIterable<Buffer>, limits: JsonLimits): Promise<FileText> {
    let head = '';
    let length = 0;
    async function* counted(): AsyncGenerator<Buffer> {
      for await (const chunk of bytes) {
        if (head.length < HEAD_CHARACTERS) head += chunk.toString('latin1', 0, HEAD_CHARACTERS - head.length);
        length += chunk.length;
        yield chunk;
      }
    }
    return storedText(await this.#storage.save(counted(), { name: '', ...limits }), head, length);
  }
}

function shortText(text: string): FileText {
  function* pieces(from: number): Generator<string> {
    for (let at = from; at < text.length; at += PIECE_CHARACTERS) yield text.slice(at, at + PIECE_CHARACTERS);
  }
  return {
    head: text.slice(0, HEAD_CHARACTERS),
    length: text.length,
    pieces: (from) => Readable.from(pieces(from)),
    release: () => Promise.resolve(),
  };
}

function storedText({ path, remove }: StoredFile, head: string, length: number): FileText {
  return {
    head,
    length,
    // One byte is one character: the text is ASCII, or will be refused.
    pieces: (start) => createReadStream(path, { start, encoding: 'latin1', highWaterMark: PIECE_CHARACTERS }),
    release: remove,
  };
}

/** What is kept of a body, in one piece: a body of tiny strings would cost a hundred times its size in views of it. */
class Kept {
  #bytes = Buffer.allocUnsafe(4096);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(bytes: Buffer): void {
    const length = this.#length + bytes.length;
    if (length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(length, 2 * this.#bytes.length));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    bytes.copy(this.#bytes, this.#length);
    this.#length = length;
  }

  /** Valid until the next push. */
  from(start: number): Buffer {
    return this.#bytes.subarray(start, this.#length);
  }

  cut(length: number): void {
    this.#length = length;
  }
}

/** Splits a body that arrives into its long strings and the rest. */
class JsonReader {
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #held: Reservation;
  readonly #limits: JsonLimits;
  readonly #rest = new Kept();
  #bytes = 0;
  /** what has arrived and is not split yet */
  #chunk: Buffer = NOTHING;
  /** the last short string: before a value it is the name of its field */
  #name = '';

  constructor(chunks: AsyncIterable<Buffer>, held: Reservation, limits: JsonLimits) {
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#held = held;
    this.#limits = limits;
  }

  /** @param spill writes the bytes of a long string to disk @returns the JSON with what `spill` gave in their place */
  async read(spill: (bytes: AsyncIterable<Buffer>) => Promise<Buffer>): Promise<Buffer> {
    while (await this.#more()) if (!this.#wholeStrings()) await this.#string(spill);
    return this.#rest.from(0);
  }

  /** @returns false at the end of the body */
  async #more(): Promise<boolean> {
    while (this.#chunk.length === 0) {
      const next = await this.#chunks.next();
      if (next.done === true) return false;
      this.#chunk = next.value;
      this.#bytes += next.value.length;
      if (this.#bytes > this.#limits.maxBytes) throw this.#limits.tooLarge();
    }
    return true;
  }

  #take(bytes: number): Buffer {
    const taken = this.#chunk.subarray(0, bytes);
    this.#chunk = this.#chunk.subarray(bytes);
    return taken;
  }

  #keep(bytes: Buffer): void {
    this.#held.grow(bytes.length);
    this.#rest.push(bytes);
    if (this.#rest.length <= MAX_REST_BYTES) return;
    const much = `The body has more than ${MAX_REST_BYTES} bytes beside its files.`;
    throw new AvocadoError('bad_request', `${much} Leave out what the request does not need.`);
  }

  /**
   * Keeps what has arrived, up to the start of a string that is longer than it. Nearly all strings are here in full,
   * and a body may have a third of a million: byte by byte they take milliseconds.
   * @returns whether all of it was kept
   */
  #wholeStrings(): boolean {
    const chunk = this.#chunk;
    let start = -1; // of the string at hand; -1 = none
    let last = [0, 0]; // where the last string begins and ends
    for (let at = 0; at < chunk.length; at += 1) {
      const byte = chunk[at];
      if (start >= 0 && byte === BACKSLASH) at += 1;
      if (byte !== QUOTE) continue;
      if (start >= 0 && at - start > LONG_BYTES) break;
      if (start >= 0) last = [start, at];
      start = start >= 0 ? -1 : at + 1;
    }
    const [from = 0, to = 0] = last;
    if (to > 0) this.#name = nameIn(chunk.subarray(from, to));
    this.#keep(this.#take(start >= 0 ? start : chunk.length));
    return start < 0;
  }

  async #string(spill: (bytes: AsyncIterable<Buffer>) => Promise<Buffer>): Promise<void> {
    const content = this.#content();
    const start = this.#rest.length;
    const mayBeFile = this.#limits.isKept !== true && FILE_FIELDS.has(this.#name);
    for (let next = await content.next(); next.done !== true; next = await content.next()) {
      this.#keep(next.value);
      if (!mayBeFile || this.#rest.length - start <= LONG_BYTES) continue;
      const begun = Buffer.from(this.#rest.from(start));
      this.#rest.cut(start);
      this.#held.grow(-begun.length);
      this.#keep(await spill(unescaped(begun, content)));
      break;
    }
    this.#name = nameIn(this.#rest.from(start));
    if (await this.#more()) this.#keep(this.#take(1)); // the closing quote
  }

  /** The bytes of a string until its closing quote, as they come. */
  async *#content(): AsyncGenerator<Buffer, undefined> {
    let escaped = false;
    while (await this.#more()) {
      const { end, closed, open } = endOfString(this.#chunk, escaped);
      escaped = open;
      if (end > 0) yield this.#take(end);
      if (closed) return;
    }
  }
}

function nameIn(bytes: Buffer): string {
  return bytes.length > LONGEST_NAME ? '' : bytes.toString();
}

/**
 * Where the string that the bytes continue ends: at the first quote after an even number of backslashes.
 * @param escaped the first byte belongs to an escape @returns `open`: the bytes end amid an escape
 */
function endOfString(bytes: Buffer, escaped: boolean): { end: number; closed: boolean; open: boolean } {
  const start = escaped ? 1 : 0;
  const isEscaped = (at: number): boolean => {
    let backslashes = 0;
    while (at - 1 - backslashes >= start && bytes[at - 1 - backslashes] === BACKSLASH) backslashes += 1;
    return backslashes % 2 === 1;
  };
  for (let quote = bytes.indexOf(QUOTE, start); quote >= 0; quote = bytes.indexOf(QUOTE, quote + 1))
    if (!isEscaped(quote)) return { end: quote, closed: true, open: false };
  return { end: bytes.length, closed: false, open: bytes.length > start && isEscaped(bytes.length) };
}

const ESCAPE = /\\(?:u([0-9A-Fa-f]{4})|([^u]))/gs;
/** An escape whose rest is in the next piece. */
const CUT_ESCAPE = /(?<!\\)(?:\\\\)*(\\(?:u[0-9A-Fa-f]{0,3})?)$/;
const LONGEST_ESCAPE = 6;
const ESCAPED: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f' };

/** A string's bytes without JSON's escapes: some writers escape each slash, and line breaks must be escaped. */
async function* unescaped(begun: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let cut = '';
  async function* all(): AsyncGenerator<Buffer> {
    yield begun;
    yield* rest;
  }
  for await (const bytes of all()) {
    if (cut === '' && !bytes.includes(BACKSLASH)) {
      yield bytes;
      continue;
    }
    const text = cut + bytes.toString('latin1');
    cut = text.slice(-LONGEST_ESCAPE).includes('\\') ? (CUT_ESCAPE.exec(text)?.[1] ?? '') : '';
    yield Buffer.from(text.slice(0, text.length - cut.length).replace(ESCAPE, plain), 'latin1');
  }
}

function plain(_: string, hex: string | undefined, letter: string): string {
  // Beyond ASCII everything is alike: it will be refused.
  if (hex !== undefined) return String.fromCharCode(Math.min(0xff, Number.parseInt(hex, 16)));
  return ESCAPED[letter] ?? letter;
}

/** @param own the files of this body: a marker of another one is refused */
function parseRest(json: Buffer, own: ReadonlySet<string>): unknown {
  const text = withoutMark(json.toString());
  if (text.trim() === '') throw new AvocadoError('bad_request', 'The body is empty. Send a JSON object.');
  try {
    return JSON.parse(text, (field, value: unknown) => {
      if (field === '__proto__')
        throw new AvocadoError('bad_request', '__proto__ is not an allowed field. Leave it out.', { param: field });
      const id = typeof value === 'string' ? MARKER.exec(value.slice(-100))?.[1] : undefined;
      if (id === undefined || (FILE_FIELDS.has(field) && own.has(id))) return value;
      throw new AvocadoError('bad_request', `${field} is longer than ${LONG_BYTES} bytes, which only a file may be.`, {
        param: field,
      });
    });
  } catch (thrown) {
    if (thrown instanceof AvocadoError) throw thrown;
    const reason =
      thrown instanceof RangeError ? 'its brackets are nested too deeply' : (thrown as Error).message.slice(0, 200);
    throw new AvocadoError('bad_request', `The body is not JSON: ${reason}.`.replace(/\.\.$/, '.'), { cause: thrown });
  }
}
