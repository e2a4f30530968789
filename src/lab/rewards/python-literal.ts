// Reads a Python literal (strings in either quotes, numbers, lists, tuples, dictionaries), as judges print them. Never evaluates.

class Unreadable extends Error {}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '\n': '' };
const WORDS: Readonly<Record<string, unknown>> = {
  True: true,
  False: false,
  None: null,
  true: true,
  false: false,
  null: null,
};
const CLOSING: Readonly<Record<string, string>> = { '[': ']', '(': ')', '{': '}' };

class Reader {
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
    if (!Object.hasOwn(WORDS, word)) throw new Unreadable();
    return WORDS[word];
  }

  #after(character: string): unknown {
    if (!this.#takes(character)) throw new Unreadable();
    return this.#value();
  }

  /** Everything between a pair of brackets; a comma at the end is as good as none. */
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

/** @returns undefined when the text is no literal */
export function readPythonLiteral(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: new Reader(text).whole() };
  } catch {
    return undefined; // no literal, or nested deeper than the stack
  }
}
