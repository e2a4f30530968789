// Quantised weights for CUDA: what is quantised, how it is laid out, and that it is what the checkpoint holds.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../../../src/model/checkpoint/checkpoint.ts';
import { readModelConfig } from '../../../../src/model/checkpoint/config.ts';
import { decodeValues, type StoredTensor } from '../../../../src/model/checkpoint/weights.ts';
import {
  planQuantisedWeights,
  WEIGHTS_FILE,
  writeQuantisedWeights,
} from '../../../../src/model/export/quantised-weights.ts';
import { buildDecoderGraph } from '../../../../src/model/graphs/decoder.ts';
import { dequantiseRows } from '../../../fixtures/dequantise.ts';
import { golden } from '../../../fixtures/golden.ts';

const scratch = mkdtempSync(join(tmpdir(), 'avocado-quantised-'));
afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

async function plan(name: 'tiny-a' | 'tiny-b', precision: 'int8' | 'int4', device: 'cpu' | 'cuda') {
  const directory = golden(`checkpoints/${name}`);
  const opened = { config: await readModelConfig(directory), checkpoint: await openCheckpoint(directory) };
  return { ...opened, weights: planQuantisedWeights(opened, precision, device, scratch) };
}

function bytesOf({ file, offset, bytes }: StoredTensor): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(file).subarray(offset, offset + bytes));
}

function valuesOf(tensor: StoredTensor): Float32Array<ArrayBuffer> {
  const values = new Float32Array(tensor.shape.reduce((product, size) => product * size, 1));
  decodeValues(bytesOf(tensor), tensor.dtype, values);
  return values;
}

describe.each(['int8', 'int4'] as const)('%s', (precision) => {
  const bits = precision === 'int8' ? 8 : 4;

  it('for CUDA quantises the decoder in blocks of 64 with bfloat16 scales, and leaves the towers alone', async () => {
    const { weights, config } = await plan('tiny-a', precision, 'cuda');
    expect(weights.steps).toHaveLength(7 * config.text.layers + 1);
    for (const { source, weight } of weights.steps) {
      const isHead = /^(lm_head|model\.embed_tokens)/.test(source.name);
      const { n, k, packed, scales } = weight;
      expect(weight).toMatchObject({ bits: isHead ? 8 : bits, blockSize: 64 });
      const blocks = Math.ceil(k / 64);
      expect(packed).toMatchObject({ dtype: 'U8', shape: [n, blocks, 8 * weight.bits] });
      expect(scales).toMatchObject({ dtype: 'BF16', shape: [n, blocks], bytes: 2 * n * blocks });
    }
    expect(weights.quantised('visual.blocks.0.attn.q.weight')).toBeUndefined();
  });

  it('for a CPU also quantises the towers, to 8 bits, in blocks of 128 with float32 scales', async () => {
    const { weights } = await plan('tiny-a', precision, 'cpu');
    expect(weights.quantised('visual.blocks.0.attn.q.weight')).toMatchObject({ bits: 8, blockSize: 128 });
    const layer = weights.quantised('model.layers.0.mlp.down_proj.weight');
    expect(layer).toMatchObject({ bits, blockSize: 128, scales: { dtype: 'F32' } });
  });

  it.each(['tiny-a', 'tiny-b'] as const)('of %s for CUDA is within half a step of the weights', async (name) => {
    const { weights } = await plan(name, precision, 'cuda');
    const file = join(scratch, WEIGHTS_FILE);
    rmSync(file, { force: true });
    await writeQuantisedWeights(weights, file);
    for (const { source, format, weight } of weights.steps) {
      const { n, k } = weight;
      const exact = valuesOf(source);
      const scales = valuesOf(weight.scales);
      const restored = dequantiseRows(bytesOf(weight.packed), scales, n, k, format);
      const blocks = Math.ceil(k / 64);
      const excess = exact.map((value, at) => {
        const step = Math.abs(scales[Math.floor(at / k) * blocks + Math.floor((at % k) / 64)] ?? NaN);
        // With 4 bits the codes end at +7: what lies beyond is as wrong as it is far from that.
        const allowed = format.bits === 4 ? Math.max(0.5, Math.abs(value) / step - 7) : 0.5;
        return Math.abs(value - (restored[at] ?? NaN)) - allowed * step * 1.0001;
      });
      expect([source.name, excess.every((value) => value <= 1e-30)]).toEqual([source.name, true]);
    }
  });

  it('for CUDA is a bf16 graph in which only products differ', async () => {
    const { weights, config, checkpoint } = await plan('tiny-b', precision, 'cuda');
    const { nodes } = buildDecoderGraph(config, weights, 'bf16').model;
    const products = nodes.filter(({ opType }) => opType === 'MatMulNBits');
    // Query, key and value are one product, of rows that lie behind one another in the file.
    expect(products).toHaveLength(5 * config.text.layers + 1);
    const joined = weights.steps.slice(0, 3).reduce((sum, { weight }) => sum + weight.n, 0);
    expect(products[0]?.attributes).toMatchObject({ N: { value: joined }, K: { value: config.text.hiddenSize } });
    for (const { inputs, attributes } of products) {
      expect(inputs).toHaveLength(3);
      expect(attributes).toMatchObject({ block_size: { value: 64 } });
      expect(attributes).not.toHaveProperty('accuracy_level');
    }
    // Plain weights of query, key and value are joined by a node.
    const linear = new Set(['MatMulNBits', 'FusedMatMul', 'Concat']);
    const others = (list: typeof nodes): string[] =>
      list.map(({ opType }) => opType).filter((type) => !linear.has(type));
    expect(others(nodes)).toEqual(others(buildDecoderGraph(config, checkpoint, 'bf16').model.nodes));
  });
});
