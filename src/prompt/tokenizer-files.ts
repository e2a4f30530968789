// Reads a checkpoint's tokenizer: tokenizer.json, or the older vocab.json + merges.txt that mean the same for Qwen2.
import { AvocadoError } from '../base/errors.ts';
import { BYTE_ALPHABET } from './byte-alphabet.ts';
import { isJsonObject, readCheckpointJson, readCheckpointText } from './checkpoint-file.ts';
import type { JsonObject } from './checkpoint-file.ts';

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** vanishes from decoded text when special tokens are skipped */
  readonly special: boolean;
}

/** A byte-level BPE tokenizer: what tokenizer.json says, checked. */
export interface TokenizerDefinition {
  readonly addedTokens: readonly AddedToken[];
  readonly vocabulary: Readonly<Record<string, number>>;
  readonly merges: readonly unknown[];
  readonly normalizer: JsonObject | null;
  readonly preTokenizer: JsonObject | null;
}

/** How Qwen2 cuts text before BPE (transformers, `PRETOKENIZE_REGEX` of the Qwen2 tokenizer); used only with vocab.json. */
const QWEN2_SPLIT =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

const BYTE_LEVEL = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false };

/**
 * The tokenizer of a checkpoint directory.
 * Errors: checkpoint_invalid naming the file that is missing or wrong.
 */
export async function readTokenizerDefinition(directory: string): Promise<TokenizerDefinition> {
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
  const message = `The tokenizer in ${directory} cannot be used: ${reason}. Download the tokenizer files of the checkpoint again.`;
  return new AvocadoError('checkpoint_invalid', message);
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
  return isJsonObject(value) && Object.values(value).every((id) => typeof id === 'number');
}

function addedToken(value: unknown, id: number | undefined, directory: string): AddedToken {
  const tokenId = isJsonObject(value) ? (value['id'] ?? id) : undefined;
  if (
    !isJsonObject(value) ||
    typeof tokenId !== 'number' ||
    typeof value['content'] !== 'string' ||
    value['content'] === ''
  ) {
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
  const merges = await readCheckpointText(directory, 'merges.txt');
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
