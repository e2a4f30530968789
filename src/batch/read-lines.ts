// Lists and manifests as streams: bytes in, records out. Bytes travel as latin1 text, one character a byte, until a
// field is whole: names in a list need not be UTF-8.
import { AvocadoError } from '../base/errors.ts';
import { pathText } from './path-text.ts';

/** A prompt has at most 100,000 characters; no honest line is longer. */
const LONGEST_LINE = 4 * 1024 ** 2;
const BYTE_ORDER_MARK = '\xef\xbb\xbf';

/** The text of bytes that were read as latin1. */
function textOf(bytes: string): string {
  return pathText(Buffer.from(bytes, 'latin1'));
}

function tooLong(): AvocadoError {
  return new AvocadoError(
    'bad_request',
    `A line of the list has more than ${LONGEST_LINE} bytes. Is it a list of paths, JSON lines or CSV?`,
  );
}

/** Text of a stream in pieces, without a byte order mark. */
async function* latin1(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let start: string | undefined = '';
  for await (const chunk of chunks) {
    const text = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('latin1');
    if (start === undefined) yield text;
    else {
      start += text;
      if (start !== BYTE_ORDER_MARK && BYTE_ORDER_MARK.startsWith(start)) continue;
      yield start.startsWith(BYTE_ORDER_MARK) ? start.slice(BYTE_ORDER_MARK.length) : start;
      start = undefined;
    }
  }
  if (start !== undefined) yield start;
}

/**
 * The entries of a list: its lines, or what stands between NUL bytes as `find -print0` prints it. Empty ones are left
 * out.
 * @throws AvocadoError `bad_request` for a line without end
 */
export async function* readList(
  chunks: AsyncIterable<Uint8Array>,
  separator: '\n' | '\0',
): AsyncGenerator<{ readonly text: string; readonly line: number }> {
  let rest = '';
  let line = 0;
  const clean = (entry: string): string => (separator === '\n' ? entry.replace(/\r$/, '') : entry);
  for await (const piece of latin1(chunks)) {
    const entries = (rest + piece).split(separator);
    rest = entries.pop() ?? '';
    if (rest.length > LONGEST_LINE) throw tooLong();
    for (const entry of entries) {
      line += 1;
      if (clean(entry) !== '') yield { text: textOf(clean(entry)), line };
    }
  }
  if (clean(rest) !== '') yield { text: textOf(clean(rest)), line: line + 1 };
}

/**
 * The records of a CSV file (RFC 4180): fields between commas, in quotes where they hold commas, quotes or line ends.
 * Records without any text are left out. `line` is the first line of a record.
 * @throws AvocadoError `bad_request` for a record without end
 */
export async function* readCsv(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ readonly fields: readonly string[]; readonly line: number }> {
  const parser = new CsvParser();
  for await (const piece of latin1(chunks)) yield* parser.push(piece);
  yield* parser.end();
}

class CsvParser {
  #fields: string[] = [];
  #field = '';
  #quoted = false;
  /** the last character was a quote inside quotes: the end of the field, or the first half of `""` */
  #closing = false;
  #line = 1;
  #recordLine = 1;
  #length = 0;

  *push(piece: string): Generator<{ fields: readonly string[]; line: number }> {
    for (const character of piece) {
      if (++this.#length > LONGEST_LINE) throw tooLong();
      const wasClosing = this.#closing;
      this.#closing = false;
      if (character === '\n') this.#line += 1;
      if (this.#quoted) {
        if (character === '"') [this.#quoted, this.#closing] = [false, true];
        else this.#field += character;
      } else if (character === '"' && (wasClosing || this.#field === '')) {
        if (wasClosing) this.#field += '"';
        this.#quoted = true;
      } else if (character === ',') this.#endField();
      else if (character === '\n') yield* this.#endRecord();
      else this.#field += character;
    }
  }

  *end(): Generator<{ fields: readonly string[]; line: number }> {
    yield* this.#endRecord();
  }

  #endField(): void {
    this.#fields.push(textOf(this.#field));
    this.#field = '';
  }

  *#endRecord(): Generator<{ fields: readonly string[]; line: number }> {
    this.#field = this.#field.replace(/\r$/, '');
    this.#endField();
    const [fields, line] = [this.#fields, this.#recordLine];
    [this.#fields, this.#recordLine, this.#length] = [[], this.#line, 0];
    if (fields.some((field) => field !== '')) yield { fields, line };
  }
}
