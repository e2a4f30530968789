import { join } from 'node:path';
import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { readModelText, withTimeLimit } from '../base/bounded.ts';
import { AvocadoError } from '../base/errors.ts';
import { isJsonObject, type JsonObject } from '../base/json.ts';
import { RecentMap } from '../base/recent-map.ts';
import { readCheckpointJson } from './checkpoint-file.ts';

/**
 * The part of the library that is used here. Its own declarations import without file extensions, which TypeScript
 * rejects.
 */
interface BytePairEncoder {
  encode(text: string, options: { readonly add_special_tokens: boolean }): { readonly ids: number[] };
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
}
const BytePairEncoder = LibraryTokenizer as unknown as new (tokenizer: object, config: object) => BytePairEncoder;

interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** left out of decoded text when special tokens are skipped */
  readonly special: boolean;
}

/** A text of 100,000 characters takes a second. The regular expressions of a damaged or hostile file can take days. */
const MAX_ENCODE_MS = 10_000;

/** Most requests have one of a few prompts: so many texts are kept with their ids, up to so many characters each. */
const MOST_KEPT = 64;
const LONGEST_KEPT = 4096;
/** Words, numbers, white space, and repetitions without the end that a bad expression would look for. */
const TRIAL = `Describe it, at 12:30.\n\n ${'a'.repeat(64)}! ${'7'.repeat(64)}? ${' '.repeat(64)}é汉😀\u0301`;

/** A byte-level BPE tokenizer: the checked content of tokenizer.json. */
interface TokenizerDefinition {
  readonly addedTokens: readonly AddedToken[];
  readonly vocabulary: Readonly<Record<string, number>>;
  readonly merges: readonly unknown[];
  readonly normalizer: JsonObject | null;
  readonly preTokenizer: JsonObject | null;
}

/** Text ⇄ token ids of one checkpoint: byte-level BPE with the same results as the Rust `tokenizers`. */
export class Tokenizer {
  /** one more than the highest id; the model's embedding may have more rows, which no text uses */
  readonly size: number;
  readonly #encoder: BytePairEncoder;
  readonly #added: ReadonlyMap<string, AddedToken>;
  readonly #addedById: ReadonlyMap<number, AddedToken>;
  readonly #addedPattern: RegExp;
  /** oldest first */
  readonly #recent = new RecentMap<string, number[]>(MOST_KEPT);

  constructor(definition: TokenizerDefinition) {
    // Without added tokens, so that plain text can never become one. split() finds them in trusted text.
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

  /** Ids of trusted text: added tokens such as `<|im_end|>` become one id. */
  encode(text: string): number[] {
    return this.split(text).flatMap((part) => (typeof part === 'number' ? [part] : this.encodePlain(part)));
  }

  /** Ids of a user's text: what looks like an added token stays ordinary characters, and decodes to itself (in NFC). */
  encodePlain(text: string): number[] {
    const known = this.#recent.get(text);
    if (known !== undefined) return known.slice();
    const ids = this.#encode(text);
    if (text.length > LONGEST_KEPT) return ids;
    this.#recent.set(text, ids.slice());
    return ids;
  }

  #encode(text: string): number[] {
    try {
      return withTimeLimit(MAX_ENCODE_MS, () => this.#encoder.encode(text, { add_special_tokens: false }).ids);
    } catch (cause) {
      throw new AvocadoError(
        'checkpoint_invalid',
        `The checkpoint's tokenizer cannot encode a text: ${(cause as Error).message}. Download tokenizer.json again.`,
        { cause },
      );
    }
  }

  /** Text of ids. Bytes that are not UTF-8 become U+FFFD; unknown ids, such as those of padding rows, add nothing. */
  decode(ids: Iterable<number>, options: { readonly skipSpecial: boolean }): string {
    const parts: Uint8Array[] = [];
    for (const id of ids) {
      if (!(options.skipSpecial && this.isSpecial(id))) parts.push(this.bytesOf(id));
    }
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.concat(parts));
  }

  /** The id of an added token, or of a vocabulary entry in its byte-level spelling. */
  idOf(token: string): number | undefined {
    return this.#added.get(token)?.id ?? this.#encoder.token_to_id(token);
  }

  tokenOf(id: number): string | undefined {
    return this.#addedById.get(id)?.content ?? this.#encoder.id_to_token(id);
  }

  /** The bytes that an id adds to the text. One character may need several ids. */
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

/** Where several tokens match, the longest wins, as in `tokenizers`. The group makes String.split keep the tokens. */
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
 * @throws AvocadoError `checkpoint_invalid` naming the file that is missing or wrong
 */
export async function loadTokenizer(directory: string): Promise<Tokenizer> {
  const definition = await readDefinition(directory);
  try {
    const tokenizer = new Tokenizer(definition);
    tokenizer.encodePlain(TRIAL);
    return tokenizer;
  } catch (thrown) {
    if (thrown instanceof AvocadoError) throw thrown;
    throw invalid(directory, (thrown as Error).message.slice(0, 200));
  }
}

/**
 * How Qwen2 splits text before BPE (`PRETOKENIZE_REGEX` of its tokenizer in transformers); needed only with vocab.json.
 */
const QWEN2_SPLIT =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" +
  '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

const BYTE_LEVEL = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false };

async function readDefinition(directory: string): Promise<TokenizerDefinition> {
  const whole = await readCheckpointJson(directory, 'tokenizer.json');
  const definition = whole === undefined ? await fromVocabulary(directory) : fromTokenizerJson(whole, directory);
  const missing = [...BYTE_ALPHABET.keys()].filter((character) => definition.vocabulary[character] === undefined);
  if (missing.length > 0) {
    throw invalid(
      directory,
      `its vocabulary lacks ${missing.length} of the 256 bytes, so some text could not be encoded`,
    );
  }
  return definition;
}

function invalid(directory: string, reason: string): AvocadoError {
  return new AvocadoError(
    'checkpoint_invalid',
    `The tokenizer in ${directory} cannot be used: ${reason}. Download the tokenizer files of the checkpoint again.`,
  );
}

function fromTokenizerJson(json: JsonObject, directory: string): TokenizerDefinition {
  const { model, decoder, added_tokens: added } = json;
  if (!isJsonObject(model) || !isVocabulary(model['vocab']) || !Array.isArray(model['merges'])) {
    throw invalid(directory, 'tokenizer.json holds no BPE model with vocab and merges');
  }
  if (!isJsonObject(decoder) || decoder['type'] !== 'ByteLevel') {
    throw invalid(directory, 'tokenizer.json is not byte-level BPE as Qwen2 uses it');
  }
  return {
    addedTokens: Array.isArray(added) ? added.map((token: unknown) => addedToken(token, undefined, directory)) : [],
    vocabulary: model['vocab'],
    merges: model['merges'],
    normalizer: isJsonObject(json['normalizer']) ? json['normalizer'] : null,
    preTokenizer: isJsonObject(json['pre_tokenizer']) ? json['pre_tokenizer'] : null,
  };
}

function isVocabulary(value: unknown): value is Readonly<Record<string, number>> {
  return isJsonObject(value) && Object.values(value).every(isTokenId);
}

/** As many as the model's vocabulary may have. */
function isTokenId(id: unknown): id is number {
  return Number.isInteger(id) && (id as number) >= 0 && (id as number) < 2 ** 21;
}

function addedToken(value: unknown, id: number | undefined, directory: string): AddedToken {
  const tokenId = isJsonObject(value) ? (value['id'] ?? id) : undefined;
  if (!isJsonObject(value) || !isTokenId(tokenId) || typeof value['content'] !== 'string' || value['content'] === '') {
    throw invalid(directory, `its added token ${JSON.stringify(value)} has no id or content`);
  }
  if (value['lstrip'] === true || value['rstrip'] === true || value['single_word'] === true) {
    throw invalid(
      directory,
      `its added token ${value['content']} strips or needs its surroundings, which no Qwen2 token does`,
    );
  }
  return { id: tokenId, content: value['content'], special: value['special'] === true };
}

async function fromVocabulary(directory: string): Promise<TokenizerDefinition> {
  const vocabulary = await readCheckpointJson(directory, 'vocab.json');
  const merges = await readModelText(join(directory, 'merges.txt'));
  if (vocabulary === undefined || merges === undefined) {
    const lacking = [vocabulary === undefined ? 'vocab.json' : '', merges === undefined ? 'merges.txt' : ''].filter(
      (name) => name !== '',
    );
    throw invalid(directory, `tokenizer.json is missing, and of its older form ${lacking.join(' and ')} too`);
  }
  if (!isVocabulary(vocabulary)) throw invalid(directory, 'vocab.json does not map tokens to ids');
  return {
    addedTokens: await readAddedTokens(directory),
    vocabulary,
    merges: merges
      .split(/\r?\n/)
      .filter((line, index) => line !== '' && !(index === 0 && line.startsWith('#version')))
      .map((line) => line.split(' ')),
    normalizer: { type: 'NFC' },
    preTokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: QWEN2_SPLIT }, behavior: 'Isolated', invert: false },
        BYTE_LEVEL,
      ],
    },
  };
}

async function readAddedTokens(directory: string): Promise<AddedToken[]> {
  const config = await readCheckpointJson(directory, 'tokenizer_config.json');
  const decoder = config?.['added_tokens_decoder'];
  if (isJsonObject(decoder))
    return Object.entries(decoder).map(([id, token]) => addedToken(token, Number(id), directory));
  const added = await readCheckpointJson(directory, 'added_tokens.json');
  if (added === undefined || !isVocabulary(added)) {
    throw invalid(directory, 'added_tokens_decoder of tokenizer_config.json and added_tokens.json are both missing');
  }
  const special = JSON.stringify((await readCheckpointJson(directory, 'special_tokens_map.json')) ?? {});
  return Object.entries(added).map(([content, id]) => ({
    id,
    content,
    special: special.includes(JSON.stringify(content)),
  }));
}

/**
 * Byte-level vocabularies write every byte as one printable character (GPT-2's `bytes_to_unicode`): printable Latin-1
 * characters are written as themselves, the other 68 bytes as the characters from U+0100 on.
 * @returns the byte of each of the 256 characters
 */
function byteAlphabet(): ReadonlyMap<string, number> {
  const isPrintable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  const alphabet = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) alphabet.set(String.fromCharCode(isPrintable(byte) ? byte : next++), byte);
  return alphabet;
}

const BYTE_ALPHABET = byteAlphabet();

/**
 * Bytes of one vocabulary entry. An entry with other characters is taken as UTF-8, as in the ByteLevel decoder of
 * `tokenizers`.
 */
function bytesOfToken(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let index = 0; index < token.length; index++) {
    const byte = BYTE_ALPHABET.get(token.charAt(index));
    if (byte === undefined) return new TextEncoder().encode(token);
    bytes[index] = byte;
  }
  return bytes;
}
