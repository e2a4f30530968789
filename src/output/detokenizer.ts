/** What the detokenizer asks of a tokenizer. */
export interface TokenBytes {
  /** bytes an id adds to the text, not necessarily whole characters */
  bytesOf(id: number): Uint8Array;
  isSpecial(id: number): boolean;
}

/**
 * Token ids → text, piece by piece. A piece never ends inside a character: bytes of an unfinished
 * one wait for the next token.
 * All pieces and flush() joined are exactly the text of all ids decoded at once without special tokens; the cost of a
 * token does not grow with the length of the text.
 */
export class Detokenizer {
  readonly #tokens: TokenBytes;
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

  constructor(tokens: TokenBytes) {
    this.#tokens = tokens;
  }

  /** Text that became certain with this token; often '' in the middle of emoji and rare characters. */
  push(id: number): string {
    return this.#tokens.isSpecial(id) ? '' : this.#utf8.decode(this.#tokens.bytesOf(id), { stream: true });
  }

  /** The rest: U+FFFD when generation ended inside a character. The detokenizer can then be used anew. */
  flush(): string {
    return this.#utf8.decode();
  }
}
