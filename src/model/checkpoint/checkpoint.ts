// A Hugging Face directory of a Qwen2.5-Omni thinker as named tensors. Handles shards, name prefixes and tied heads.
// Reads headers only, never a weight.
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { AvocadoError } from '../../base/errors.ts';
import { readJsonFields } from './json-fields.ts';
import { readSafetensorsHeader, type SafetensorsEntry } from './safetensors.ts';
import type { StoredTensor, WeightSource } from './weights.ts';

const PREFIX = 'thinker.';
/** What a thinker's tensor names begin with. All other tensors (talker, token2wav, …) are ignored. */
const PARTS = ['audio_tower.', 'visual.', 'model.', 'lm_head.'];
const HEAD = 'lm_head.weight';
const EMBEDDING = 'model.embed_tokens.weight';
const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

/** The name without `thinker.`, or undefined when the tensor is not part of the thinker. */
function thinkerName(stored: string, prefixed: boolean): string | undefined {
  if (prefixed && !stored.startsWith(PREFIX)) return undefined;
  const name = prefixed ? stored.slice(PREFIX.length) : stored;
  return PARTS.some((part) => name.startsWith(part)) ? name : undefined;
}

export interface Checkpoint extends WeightSource {
  /** real path */
  readonly directory: string;
  /** real paths of the files that hold thinker tensors */
  readonly files: readonly string[];
  /** names without `thinker.`; does not contain a tied head */
  readonly names: readonly string[];
  /** true when `lm_head.weight` is the embedding */
  readonly tied: boolean;
}

class SafetensorsCheckpoint implements Checkpoint {
  readonly directory: string;
  readonly files: readonly string[];
  readonly tied: boolean;
  readonly #entries: ReadonlyMap<string, SafetensorsEntry>;

  constructor(directory: string, entries: ReadonlyMap<string, SafetensorsEntry>) {
    this.directory = directory;
    this.#entries = entries;
    this.files = [...new Set([...entries.values()].map((entry) => entry.file))];
    this.tied = !entries.has(HEAD) && entries.has(EMBEDDING);
  }

  get names(): readonly string[] {
    return [...this.#entries.keys()];
  }

  plain(name: string, shape: readonly number[]): StoredTensor {
    const stored = this.#resolve(name);
    const entry = this.#entries.get(stored);
    if (entry === undefined) {
      // GPTQ and AWQ keep a layer's weight as packed integers under another name.
      const isPacked = this.#entries.has(stored.replace(/weight$/, 'qweight'));
      const problem = isPacked
        ? 'its weights are quantised (GPTQ or AWQ). Use the checkpoint that it was made from, with --precision int4'
        : 'the checkpoint is incomplete or of another model';
      throw new AvocadoError('tensor_missing', `Tensor ${name} is in no file of ${this.directory}: ${problem}.`, {
        param: name,
      });
    }
    const { dtype } = entry;
    if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16') {
      const found = `is stored as ${dtype} in ${entry.file}; expected F32, F16 or BF16`;
      throw new AvocadoError('tensor_invalid', `Tensor ${name} ${found}. Use the unquantised checkpoint.`, {
        param: name,
      });
    }
    if (entry.shape.length !== shape.length || entry.shape.some((size, axis) => size !== shape[axis])) {
      const found = `expected shape [${shape.join(', ')}] from config.json, found [${entry.shape.join(', ')}]`;
      const advice = 'Use the config.json that belongs to these files.';
      throw new AvocadoError('tensor_invalid', `Tensor ${name} in ${entry.file}: ${found}. ${advice}`, { param: name });
    }
    return { name: stored, dtype, shape: entry.shape, file: entry.file, offset: entry.offset, bytes: entry.bytes };
  }

  quantised(): undefined {
    return undefined;
  }

  #resolve(name: string): string {
    return this.tied && name === HEAD ? EMBEDDING : name;
  }
}

/** File names of the shards that contain thinker tensors. */
async function listShards(directory: string): Promise<readonly string[]> {
  const index = await readJsonFields(join(directory, INDEX));
  if (index === undefined) return [SINGLE];
  const map = index.object('weight_map');
  const stored = Object.entries((index.raw('weight_map') ?? {}) as Record<string, unknown>);
  const prefixed = stored.some(([name]) => name.startsWith(PREFIX));
  const shards = new Set<string>();
  for (const [name, file] of stored) {
    if (thinkerName(name, prefixed) === undefined) continue;
    // The index is untrusted input: it may only name files in its own folder.
    if (typeof file !== 'string' || /[/\\]|^\.*$/.test(file))
      throw map.invalid(name, 'must be the name of a file in the same directory');
    shards.add(file);
  }
  if (shards.size === 0)
    throw new AvocadoError('checkpoint_invalid', `${index.file} lists no tensor of a Qwen2.5-Omni thinker.`);
  return [...shards];
}

/**
 * Opens a checkpoint directory: `model.safetensors`, or shards with an index. Reads the headers of the shards that
 * contain thinker tensors and checks them against the sizes of the files.
 * @throws AvocadoError `checkpoint_not_found` (no such directory, no weights in it), `checkpoint_invalid` (a shard is
 * missing, truncated or damaged; no thinker tensors)
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const directory = await realpath(path).catch((error: unknown) => {
    throw new AvocadoError(
      'checkpoint_not_found',
      `No checkpoint at ${path}: give the directory that holds config.json and the safetensors files.`,
      { cause: error },
    );
  });
  const single = await realpath(join(directory, SINGLE)).catch(() => undefined);
  const shards = single === undefined ? await listShards(directory) : [SINGLE];
  if (single === undefined && shards[0] === SINGLE) {
    throw new AvocadoError(
      'checkpoint_not_found',
      `${directory} holds neither ${SINGLE} nor ${INDEX}: download the weights of the checkpoint into it.`,
    );
  }
  const headers = await Promise.all(shards.map((shard) => readSafetensorsHeader(join(directory, shard))));
  const prefixed = headers.some((header) => [...header.keys()].some((name) => name.startsWith(PREFIX)));
  const entries = new Map<string, SafetensorsEntry>();
  for (const header of headers) {
    for (const [stored, entry] of header) {
      const name = thinkerName(stored, prefixed);
      if (name !== undefined) entries.set(name, entry);
    }
  }
  if (entries.size === 0)
    throw new AvocadoError('checkpoint_invalid', `${directory} holds no tensor of a Qwen2.5-Omni thinker.`);
  return new SafetensorsCheckpoint(directory, entries);
}
