// JSON from the reply of a language model: it may stand in a code fence or in prose, have curly quotes, or be a Python
// literal.

type Parsed = { readonly value: unknown } | undefined;

/** NaN of what is no number: JavaScript reads null, an empty text and an empty list as 0. */
export function numberOf(value: unknown): number {
  return typeof value === 'number' || (typeof value === 'string' && value.trim() !== '') ? Number(value) : NaN;
}

/**
 * The first of these that parses: the whole text, its first fenced block, its first balanced brackets; then the same
 * three with curly quotes made straight, Python's True, False and None replaced by JSON's, and trailing commas removed;
 * then the same three as a Python literal. Single quotes are not simply replaced by double quotes: that breaks at every
 * apostrophe.
 * @returns undefined when none of them parses
 */
export function recoverJson(text: string): Parsed {
  const whole = text.trim();
  const places = [whole, FENCE.exec(whole)?.[1]?.trim(), firstBalanced(whole)].filter((place) => place !== undefined);
  const readers: readonly ((place: string) => Parsed)[] = [parse, (place) => parse(repair(place)), readPythonLiteral];
  for (const read of readers) {
    for (const place of places) {
      const parsed = read(place);
      if (parsed !== undefined) return parsed;
    }
  }
  return undefined;
}

const FENCE = /```[\w-]*[ \t]*\r?\n?([^]*?)```/;

function parse(text: string): Parsed {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return undefined;
  }
}

/** The first {…} or […] with its brackets closed; brackets in strings do not count, nor do apostrophes inside words. */
function firstBalanced(text: string): string | undefined {
  const start = text.search(/[{[]/);
  if (start === -1) return undefined;
  let depth = 0;
  let before = ''; // the last character that is not a space
  let quote: string | undefined;
  for (let at = start; at < text.length; at += 1) {
    const character = text[at] ?? '';
    if (quote !== undefined) {
      if (character === '\\') at += 1;
      else if (character === quote) quote = undefined;
    } else if (character === '"' || (character === "'" && '[{(,:'.includes(before))) quote = character;
    else if (character === '{' || character === '[') depth += 1;
    else if ((character === '}' || character === ']') && (depth -= 1) === 0) return text.slice(start, at + 1);
    if (character.trim() !== '') before = character;
  }
  return undefined;
}

const JSON_WORDS: Readonly<Record<string, string>> = { True: 'true', False: 'false', None: 'null' };

function repair(text: string): string {
  const straight = text.replace(/[“”]/g, '"').replace(/[‘’]/g, "'");
  return straight.replace(/"(?:[^"\\]|\\[^])*"|\b(?:True|False|None)\b|,(?=\s*[}\]])/g, (found) =>
    found === ',' ? '' : (JSON_WORDS[found] ?? found),
  );
}

/**
 * Reads a Python literal: strings in either quotes, numbers, lists, tuples, dictionaries. Never evaluates code.
 * @returns undefined when the text is not a literal
 */
export function readPythonLiteral(text: string): Parsed {
  try {
    return { value: new PythonReader(text).whole() };
  } catch {
    return undefined; // not a literal, or nested deeper than the call stack
  }
}

class Unreadable extends Error {}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '\n': '' };
const PYTHON_WORDS: Readonly<Record<string, unknown>> = {
  True: true,
  False: false,
  None: null,
  true: true,
  false: false,
  null: null,
};
const CLOSING: Readonly<Record<string, string>> = { '[': ']', '(': ')', '{': '}' };

class PythonReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): unknown {
    const value = this.#value();
    this.#space();
    if (this.#at < this.#text.length) throw new Unreadable();
    return value;
  }

  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match !== null) this.#at = pattern.lastIndex;
    return match;
  }

  #space(): void {
    this.#match(/\s*/y);
  }

  #takes(character: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #value(): unknown {
    this.#space();
    const first = this.#text[this.#at] ?? '';
    if (first === '"' || first === "'") return this.#string();
    if (first === '{') return Object.fromEntries(this.#members(() => [String(this.#value()), this.#after(':')]));
    if (first === '[' || first === '(') return this.#members(() => this.#value());
    const number = this.#match(/[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/y);
    if (number !== null) return Number(number[0]);
    const word = this.#match(/[A-Za-z]+/y)?.[0] ?? '';
    if (!Object.hasOwn(PYTHON_WORDS, word)) throw new Unreadable();
    return PYTHON_WORDS[word];
  }

  #after(character: string): unknown {
    if (!this.#takes(character)) throw new Unreadable();
    return this.#value();
  }

  /** The values between a pair of brackets; a trailing comma is allowed. */
  #members<T>(read: () => T): T[] {
    const close = CLOSING[this.#text[this.#at] ?? ''] ?? '';
    this.#at += 1;
    const members: T[] = [];
    while (!this.#takes(close)) {
      members.push(read());
      if (this.#takes(',')) continue;
      if (this.#takes(close)) break;
      throw new Unreadable();
    }
    return members;
  }

  #string(): string {
    const [, body] = this.#match(/"((?:[^"\\]|\\[^])*)"/y) ?? this.#match(/'((?:[^'\\]|\\[^])*)'/y) ?? [];
    if (body === undefined) throw new Unreadable();
    return body.replace(
      /\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([^]))/g,
      (_all, unicode?: string, byte?: string, plain?: string) => {
        const code = unicode ?? byte;
        if (code !== undefined) return String.fromCharCode(parseInt(code, 16));
        return plain === undefined ? '' : (ESCAPES[plain] ?? plain);
      },
    );
  }
}
