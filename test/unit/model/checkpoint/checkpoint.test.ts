import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openCheckpoint } from '../../../../src/model/checkpoint/checkpoint.ts';
import { writeVariant, type Variant } from '../../../fixtures/checkpoint-variants.ts';
import { golden } from '../../../fixtures/golden.ts';

const INDEX = 'model.safetensors.index.json';
let scratch: string;
let count = 0;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'avocado-checkpoint-'));
});
afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

const write = (variant: Partial<Variant> = {}): string =>
  writeVariant(join(scratch, `checkpoint-${count++}`), { base: 'tiny-a', ...variant });
/** A file of one shard, changed by hand. */
function writeFileOf(header: string, data = new Uint8Array(0)): string {
  const directory = write({ shards: 1 });
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(join(directory, 'model.safetensors'), Buffer.concat([length, Buffer.from(header), data]));
  return directory;
}

it('says where a tensor is: the bytes there are its values', async () => {
  const directory = golden('checkpoints/tiny-a');
  const tensor = (await openCheckpoint(directory)).plain('model.norm.weight', [112]);
  const bytes = readFileSync(tensor.file).subarray(tensor.offset, tensor.offset + tensor.bytes);
  expect([tensor.dtype, tensor.bytes]).toEqual(['F32', 448]);
  // norm weights of the golden checkpoints are uniform in 0.5 … 1.5
  for (let at = 0; at < bytes.length; at += 4) expect(Math.abs(bytes.readFloatLE(at) - 1)).toBeLessThanOrEqual(0.5);
});

it('uses the embedding for a head that is not stored, and for nothing else', async () => {
  const tied = await openCheckpoint(golden('checkpoints/tiny-b'));
  expect([tied.tied, tied.names.includes('lm_head.weight')]).toEqual([true, false]);
  expect(tied.plain('lm_head.weight', [1536, 256])).toEqual(tied.plain('model.embed_tokens.weight', [1536, 256]));
  const untied = await openCheckpoint(golden('checkpoints/tiny-a'));
  expect([untied.tied, untied.plain('lm_head.weight', [2000, 112]).name]).toEqual([false, 'lm_head.weight']);
});

it('never opens shards without thinker tensors', async () => {
  const directory = write();
  const index = JSON.parse(readFileSync(join(directory, INDEX), 'utf8')) as { weight_map: Record<string, string> };
  index.weight_map['talker.model.norm.weight'] = 'model-of-the-talker.safetensors';
  writeFileSync(join(directory, INDEX), JSON.stringify(index));
  expect((await openCheckpoint(directory)).names.some((name) => name.includes('talker'))).toBe(false);
});

it('counts the missing bytes of a truncated shard, and the extra bytes of a longer one', async () => {
  const short = write({ shards: 1 });
  const file = join(short, 'model.safetensors');
  truncateSync(file, statSync(file).size - 1234);
  await expect(openCheckpoint(short)).rejects.toMatchObject({
    code: 'checkpoint_invalid',
    message: expect.stringContaining('1234 bytes are missing') as string,
  });
  const long = write({ shards: 1 });
  appendFileSync(join(long, 'model.safetensors'), 'xx');
  await expect(openCheckpoint(long)).rejects.toMatchObject({
    code: 'checkpoint_invalid',
    message: expect.stringContaining('2 bytes more') as string,
  });
});

it.each<[string, string, string]>([
  ['no header at all', '', 'damaged header'],
  ['a header that is no object', '[]', 'damaged header'],
  ['a tensor without offsets', '{"model.norm.weight":{"dtype":"F32","shape":[2]}}', 'the entry of model.norm.weight'],
  [
    'offsets that run backwards',
    '{"model.norm.weight":{"dtype":"F32","shape":[0],"data_offsets":[4,0]}}',
    'the entry of model.norm.weight',
  ],
  [
    'a shape that does not fit the bytes',
    '{"model.norm.weight":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}',
    '12 bytes, but 8',
  ],
  [
    'no tensor of a thinker',
    '{"transformer.wte":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}',
    'no tensor of a Qwen2.5-Omni thinker',
  ],
])('refuses a file with %s', async (_, header, message) => {
  await expect(openCheckpoint(writeFileOf(header))).rejects.toMatchObject({
    code: 'checkpoint_invalid',
    message: expect.stringContaining(message) as string,
  });
});

it('refuses a header longer than the file, without allocating it', async () => {
  const directory = write({ shards: 1 });
  for (const length of [9_000n, 2n ** 60n]) {
    const bytes = Buffer.alloc(16);
    bytes.writeBigUInt64LE(length);
    writeFileSync(join(directory, 'model.safetensors'), bytes);
    await expect(openCheckpoint(directory)).rejects.toMatchObject({ code: 'checkpoint_invalid' });
  }
});

it.each(['../model.safetensors', '/etc/hostname', '..'])('refuses an index that names %s', async (file) => {
  const directory = write();
  writeFileSync(join(directory, INDEX), JSON.stringify({ weight_map: { 'thinker.model.norm.weight': file } }));
  await expect(openCheckpoint(directory)).rejects.toMatchObject({
    code: 'checkpoint_invalid',
    message: expect.stringContaining('same directory') as string,
  });
});

it('says of a checkpoint of GPTQ or AWQ that its weights are quantised, and what to use', async () => {
  const header = '{"model.a.qweight":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}}';
  const checkpoint = await openCheckpoint(writeFileOf(header, new Uint8Array(8)));
  expect(() => checkpoint.plain('model.a.weight', [2])).toThrow(
    /Tensor model\.a\.weight is in no file .* quantised \(GPTQ or AWQ\)\. Use the checkpoint that it was made from/,
  );
});

it('names a tensor of another type or shape with what was expected and what was found', async () => {
  const header = [
    '{"model.norm.weight":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}',
    '"model.a":{"dtype":"F16","shape":[2],"data_offsets":[4,8]}}',
  ].join(',');
  const checkpoint = await openCheckpoint(writeFileOf(header, new Uint8Array(8)));
  expect(() => checkpoint.plain('model.norm.weight', [4])).toThrow(
    /model\.norm\.weight is stored as I8 .* expected F32, F16 or BF16/,
  );
  expect(() => checkpoint.plain('model.a', [1, 2])).toThrow(/expected shape \[1, 2\] .* found \[2\]/);
  expect(() => checkpoint.plain('model.b', [1])).toThrow(/Tensor model\.b is in no file/);
});
