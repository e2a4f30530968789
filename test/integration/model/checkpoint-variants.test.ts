import { mkdtempSync, rmSync, truncateSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeVariant, type Variant } from '../../fixtures/checkpoint-variants.ts';
import { runDifference, runFixed, type FixedRun } from '../../fixtures/fixed-run.ts';

let scratch: string;
let count = 0;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'avocado-variants-'));
});
afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

const cacheDir = (): string => join(scratch, 'cache');
const write = (variant: Variant): string => writeVariant(join(scratch, `variant-${count++}`), variant);
const run = (variant: Variant): Promise<FixedRun> => runFixed(write(variant), { cacheDir: cacheDir() });

describe.each(['tiny-a', 'tiny-b'] as const)('A checkpoint like %s computes the same numbers', (base) => {
  let expected: FixedRun;
  beforeAll(async () => {
    expected = await run({ base });
  });

  it('computes something', () => {
    expect(Math.max(...(expected.logits[0] ?? []))).toBeGreaterThan(1);
    expect(expected.logits[1]).not.toEqual(expected.logits[0]);
  });

  const layouts: [string, Omit<Variant, 'base'>][] = [
    ['in a single file', { shards: 1 }],
    ['in five shards', { shards: 5 }],
    ['without the thinker prefix', { prefix: false }],
    ['without the prefix in a single file', { prefix: false, shards: 1 }],
    ['with tensors of talker and token2wav', { strangers: true }],
    ['behind the symlinks of the hub cache', { hub: true }],
    ['with the thinker alone in config.json', { config: (config) => config.thinker_config ?? {} }],
    ['as float32', { dtype: 'F32' }],
  ];
  it.each(layouts)('%s', async (_, layout) => {
    const difference = runDifference(await run({ base, ...layout }), expected);
    // Weights that are float32 already are not packed, and unpacked weights are summed in another order.
    expect(difference).toBeLessThan(layout.dtype === undefined ? 1e-7 : 5e-5);
  });

  it('whether half floats are stored as such or as the equal float32', async () => {
    const half = await run({ base, dtype: 'F16', roundedTo: 'F16' });
    const full = await run({ base, dtype: 'F32', roundedTo: 'F16' });
    expect(runDifference(half, full)).toBeLessThan(5e-5);
    expect(runDifference(half, expected)).toBeGreaterThan(1e-5);
  });
});

describe('A damaged checkpoint is refused by name', () => {
  it('when a tensor is missing', async () => {
    const without = run({ base: 'tiny-a', without: ['visual.blocks.1.attn.k.bias'] });
    await expect(without).rejects.toMatchObject({
      code: 'tensor_missing',
      message: expect.stringContaining('visual.blocks.1.attn.k.bias') as string,
    });
  });

  it('when a tensor has another shape than config.json says', async () => {
    const name = 'model.layers.1.mlp.up_proj.weight';
    const reshaped = run({ base: 'tiny-a', shapes: { [name]: [112, 208] } });
    await expect(reshaped).rejects.toMatchObject({
      code: 'tensor_invalid',
      message: expect.stringMatching(/up_proj\.weight.*\[208, 112\].*\[112, 208\]/) as string,
    });
  });

  it.each(['fp32', 'int4'] as const)('when a shard is truncated (%s)', async (precision) => {
    const directory = write({ base: 'tiny-b' });
    truncateSync(join(directory, 'model-00002-of-00002.safetensors'), 1_000_000);
    const opened = runFixed(directory, { cacheDir: cacheDir(), precision });
    await expect(opened).rejects.toMatchObject({
      code: 'checkpoint_invalid',
      message: expect.stringContaining('model-00002-of-00002') as string,
    });
  });

  it('when a shard is missing', async () => {
    const directory = write({ base: 'tiny-b' });
    unlinkSync(join(directory, 'model-00001-of-00002.safetensors'));
    const opened = runFixed(directory, { cacheDir: cacheDir() });
    await expect(opened).rejects.toMatchObject({
      code: 'checkpoint_invalid',
      message: expect.stringContaining('model-00001-of-00002') as string,
    });
  });

  it('when it is another model', async () => {
    const other = run({ base: 'tiny-a', config: (config) => ({ ...config, model_type: 'qwen2_5_vl' }) });
    await expect(other).rejects.toMatchObject({
      code: 'checkpoint_invalid',
      message: expect.stringContaining('qwen2_5_vl') as string,
    });
  });

  it('when there is none', async () => {
    await expect(runFixed(join(scratch, 'nowhere'))).rejects.toMatchObject({ code: 'checkpoint_not_found' });
  });
});
