import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { bytesOfToken } from './byte-alphabet.ts';
import { readTokenizerDefinition } from './tokenizer-files.ts';
import type { AddedToken, TokenizerDefinition } from './tokenizer-files.ts';

/** What is used of the library; its own declarations import without file extensions, which node's resolution cannot follow. */
interface BytePairEncoder {
  encode(text: string, options: { readonly add_special_tokens: boolean }): { readonly ids: number[] };
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
}
const BytePairEncoder = LibraryTokenizer as unknown as new (tokenizer: object, config: object) => BytePairEncoder;

/** Text ⇄ token ids of one checkpoint. Equal to the Rust `tokenizers` for byte-level BPE (golden tokenizer/*.json). */
export class Tokenizer {
  /** one more than the highest id; the model's embedding may have more rows, which mean nothing */
  readonly size: number;
  readonly #encoder: BytePairEncoder;
  readonly #added: ReadonlyMap<string, AddedToken>;
  readonly #addedById: ReadonlyMap<number, AddedToken>;
  readonly #addedPattern: RegExp;

  constructor(definition: TokenizerDefinition) {
    // The encoder is given no added tokens, so that text it sees can never become one; split() finds them where they count.
    this.#encoder = new BytePairEncoder(
      {
        added_tokens: [],
        normalizer: definition.normalizer,
        pre_tokenizer: definition.preTokenizer,
        post_processor: null,
        decoder: null,
        model: { type: 'BPE', unk_token: null, vocab: definition.vocabulary, merges: definition.merges },
      },
      {},
    );
    this.#added = new Map(definition.addedTokens.map((token) => [token.content, token]));
    this.#addedById = new Map(definition.addedTokens.map((token) => [token.id, token]));
    this.#addedPattern = patternOf(definition.addedTokens.map((token) => token.content));
    const highest = (ids: Iterable<number>): number => [...ids].reduce((most, id) => Math.max(most, id), -1);
    this.size = 1 + Math.max(highest(Object.values(definition.vocabulary)), highest(this.#addedById.keys()));
  }

  /** Text cut at added tokens: their ids, and the plain text between them. */
  split(text: string): (number | string)[] {
    const parts: (number | string)[] = [];
    for (const part of text.split(this.#addedPattern)) {
      if (part !== '') parts.push(this.#added.get(part)?.id ?? part);
    }
    return parts;
  }

  /** Ids of trusted text: `<|im_end|>` and its like become the one id they name. */
  encode(text: string): number[] {
    return this.split(text).flatMap((part) => (typeof part === 'number' ? [part] : this.encodePlain(part)));
  }

  /** Ids of anybody's text: what looks like an added token is ordinary characters, and decodes to itself (in NFC). */
  encodePlain(text: string): number[] {
    return this.#encoder.encode(text, { add_special_tokens: false }).ids;
  }

  /** Text of ids. Bytes that are not UTF-8 become U+FFFD; ids nobody knows, as of padding rows, are nothing. */
  decode(ids: Iterable<number>, options: { readonly skipSpecial: boolean }): string {
    const parts: Uint8Array[] = [];
    for (const id of ids) {
      if (!(options.skipSpecial && this.isSpecial(id))) parts.push(this.bytesOf(id));
    }
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.concat(parts));
  }

  /** The id of an added token or of a vocabulary entry in its byte-level spelling. */
  idOf(token: string): number | undefined {
    return this.#added.get(token)?.id ?? this.#encoder.token_to_id(token);
  }

  tokenOf(id: number): string | undefined {
    return this.#addedById.get(id)?.content ?? this.#encoder.id_to_token(id);
  }

  /** The bytes an id adds to the text; a character may be spread over several ids. */
  bytesOf(id: number): Uint8Array {
    const added = this.#addedById.get(id);
    if (added !== undefined) return Buffer.from(added.content, 'utf8');
    const token = this.#encoder.id_to_token(id);
    return token === undefined ? new Uint8Array(0) : bytesOfToken(token);
  }

  isSpecial(id: number): boolean {
    return this.#addedById.get(id)?.special ?? false;
  }
}

/** The longest token wins where several begin, as in `tokenizers`. The group makes String.split keep the tokens. */
function patternOf(contents: readonly string[]): RegExp {
  if (contents.length === 0) return /(?!)/u;
  const longestFirst = [...contents].sort((a, b) => b.length - a.length);
  return new RegExp(
    `(${longestFirst.map((content) => content.replace(/[\\^$.*+?()[\]{}|/]/gu, '\\$&')).join('|')})`,
    'u',
  );
}

/**
 * The tokenizer of a checkpoint directory: tokenizer.json, or vocab.json with merges.txt and the added tokens of
 * tokenizer_config.json or added_tokens.json.
 * Errors: checkpoint_invalid naming what is missing.
 */
export async function loadTokenizer(directory: string): Promise<Tokenizer> {
  return new Tokenizer(await readTokenizerDefinition(directory));
}
