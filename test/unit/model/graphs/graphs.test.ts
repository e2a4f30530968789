import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../../../src/model/checkpoint/checkpoint.ts';
import { readModelConfig } from '../../../../src/model/checkpoint/config.ts';
import { buildAudioGraph } from '../../../../src/model/graphs/audio.ts';
import { buildDecoderGraph } from '../../../../src/model/graphs/decoder.ts';
import { buildVisionGraph } from '../../../../src/model/graphs/vision.ts';
import { ACTIVATION_DTYPE, type BuiltGraph } from '../../../../src/model/graphs/graph-builder.ts';
import { EXPORTER_VERSION } from '../../../../src/model/export/manifest.ts';
import { golden } from '../../../fixtures/golden.ts';
import { PRECISIONS, type Precision } from '../../../../src/settings/engine-settings.ts';

const BUILDERS = { vision: buildVisionGraph, audio: buildAudioGraph, decoder: buildDecoderGraph };
const CHECKPOINTS = { 'tiny-a': 'float32', 'tiny-b': 'bfloat16' } as const;

async function build(
  part: keyof typeof BUILDERS,
  checkpoint: keyof typeof CHECKPOINTS,
  precision: Precision,
): Promise<BuiltGraph> {
  const directory = golden(`checkpoints/${checkpoint}`);
  return BUILDERS[part](await readModelConfig(directory), await openCheckpoint(directory), precision);
}

/** Operators with a bfloat16 kernel on CUDA, or that see no bfloat16 (onnxruntime.md, Operators). */
const ON_CUDA_BFLOAT16 = new Set([
  'Add',
  'Cast',
  'Concat',
  'Conv',
  'Exp',
  'FusedMatMul',
  'Gather',
  'GatherElements',
  'Gelu',
  'GroupQueryAttention',
  'Identity',
  'LayerNormalization',
  'Log',
  'MRotaryEmbedding',
  'Mul',
  'MultiHeadAttention',
  'ReduceSum',
  'Reshape',
  'RotaryEmbedding',
  'ScatterND',
  'Shape',
  'Sigmoid',
  'SimplifiedLayerNormalization',
  'SkipSimplifiedLayerNormalization',
  'Sub',
  'Split',
  'Sub',
  'TopK',
  'Transpose',
]);

describe.each(Object.keys(CHECKPOINTS) as (keyof typeof CHECKPOINTS)[])('From %s', (checkpoint) => {
  describe.each(Object.keys(BUILDERS) as (keyof typeof BUILDERS)[])('the %s graph', (part) => {
    it.each(PRECISIONS)('in %s defines every value once and before its use', async (precision) => {
      const { model } = await build(part, checkpoint, precision);
      const defined = new Set([...model.inputs, ...model.initializers].map(({ name }) => name));
      expect(defined.size).toBe(model.inputs.length + model.initializers.length);
      for (const node of model.nodes) {
        for (const input of node.inputs)
          if (input !== '') expect(defined, `${node.name} reads ${input}`).toContain(input);
        for (const output of node.outputs) {
          if (output === '') continue;
          expect(defined, `${output} again`).not.toContain(output);
          defined.add(output);
        }
      }
      for (const { name } of model.outputs) expect(defined).toContain(name);
    });

    it('references weights in their files and copies none', async () => {
      const { model, bytes } = await build(part, checkpoint, 'fp32');
      const tables = model.initializers.flatMap(({ data }) => (data instanceof Uint8Array ? [data.length] : []));
      const inside = tables.reduce((sum, size) => sum + size, 0);
      expect(bytes.length - inside).toBeLessThan(40_000);
      for (const { name, data } of model.initializers)
        if (!(data instanceof Uint8Array)) expect([name, data.file.startsWith('/')]).toEqual([name, true]);
    });

    it('casts no weight that is stored in the activation type', async () => {
      const stored = CHECKPOINTS[checkpoint];
      const precision = stored === 'float32' ? 'fp32' : 'bf16';
      const { model } = await build(part, checkpoint, precision);
      const weights = new Set(
        model.initializers.filter(({ data }) => !(data instanceof Uint8Array)).map(({ name }) => name),
      );
      expect(weights.size).toBeGreaterThan(10);
      expect(
        model.nodes
          .filter(({ opType, inputs }) => opType === 'Cast' && weights.has(inputs[0]!))
          .map(({ name }) => name),
      ).toEqual([]);
    });

    it('has only float32 and integer inputs and outputs, except for the cache and media embeddings', async () => {
      const { model } = await build(part, checkpoint, 'bf16');
      for (const { name, dtype } of [...model.inputs, ...model.outputs]) {
        if (/^(past|present)_|_embeds$/.test(name)) expect([name, dtype]).toEqual([name, ACTIVATION_DTYPE.bf16]);
        else expect([name, ['float32', 'int64', 'int32'].includes(dtype)]).toEqual([name, true]);
      }
    });

    it('in bf16 uses only operators that CUDA has in bfloat16', async () => {
      const { model } = await build(part, checkpoint, 'bf16');
      expect(model.nodes.filter(({ opType }) => !ON_CUDA_BFLOAT16.has(opType)).map(({ opType }) => opType)).toEqual([]);
    });
  });
});

it('All of them are those of the exporter’s version: a user’s cache may hold older ones', async () => {
  const hash = createHash('sha256');
  for (const part of Object.keys(BUILDERS) as (keyof typeof BUILDERS)[])
    for (const precision of PRECISIONS) {
      const { model } = await build(part, 'tiny-b', precision);
      // Not the tables themselves: their last bits may depend on the machine; nor where the weights lie.
      const described = JSON.stringify(model, (_, value: unknown) => {
        if (value instanceof Uint8Array) return value.length;
        return typeof value === 'object' && value !== null && 'file' in value ? 'stored' : value;
      });
      hash.update(described);
    }
  // When this fails, the graphs have changed: raise EXPORTER_VERSION, and write both here.
  expect([EXPORTER_VERSION, hash.digest('hex').slice(0, 16)]).toEqual([4, 'f5572a128c6f8c33']);
});

it('The embedding of a tied head is stored once and read from its file', async () => {
  const { model } = await build('decoder', 'tiny-b', 'fp32');
  expect(model.initializers.map(({ name }) => name)).not.toContain('lm_head.weight');
  const gather = model.nodes.find(({ name }) => name === 'token_embeds.stored');
  expect(gather?.inputs[0]).toBe('model.embed_tokens.weight');
});

it('float16 audio is clamped after every layer, as the reference does, and nothing else is', async () => {
  const clips = async (precision: Precision): Promise<number> =>
    (await build('audio', 'tiny-b', precision)).model.nodes.filter(({ opType }) => opType === 'Clip').length;
  expect([await clips('fp16'), await clips('bf16'), await clips('fp32')]).toEqual([3, 0, 0]);
});

it('pads the vision MLP to a fast size in half precision, with zeros that the graph holds once', async () => {
  const padded = async (precision: Precision): Promise<string[]> =>
    (await build('vision', 'tiny-b', precision)).model.nodes
      .filter(({ name }) => name.endsWith('.padded') && name.includes('.blocks.0.mlp.'))
      .map(({ name }) => name.replace('visual.blocks.0.mlp.', ''));
  const layers = ['gate_proj.weight', 'gate_proj.bias', 'up_proj.weight', 'up_proj.bias', 'down_proj.weight'];
  expect(await padded('bf16')).toEqual(layers.map((layer) => `${layer}.padded`));
  expect(await padded('fp32')).toEqual([]);
  expect(await padded('int4')).toEqual([]);
  const zeros = (await build('vision', 'tiny-b', 'bf16')).model.initializers.filter(({ name }) => /^zeros_/.test(name));
  const config = await readModelConfig(golden('checkpoints/tiny-b'));
  const { hiddenSize, intermediateSize } = config.vision;
  const missing = 64 * Math.ceil(intermediateSize / 64) - intermediateSize;
  expect(zeros.map(({ dims }) => dims)).toEqual([[missing, hiddenSize], [missing], [hiddenSize, missing]]);
});

it.each([
  ['vision', 'visual.blocks.2.attn.', ['q', 'k', 'v']],
  ['audio', 'audio_tower.layers.1.self_attn.', ['q_proj', 'k_proj', 'v_proj']],
  ['decoder', 'model.layers.1.self_attn.', ['q_proj', 'k_proj', 'v_proj']],
] as const)(
  'multiplies once for query, key and value of the %s graph, in half precision only',
  async (part, at, names) => {
    const { model } = await build(part, 'tiny-b', 'bf16');
    const outputs = names.map((name) => at + name);
    const split = model.nodes.find(({ opType, name }) => opType === 'Split' && name === outputs[0]);
    expect(split?.outputs).toEqual(outputs);
    const joined = (kind: string): readonly string[] =>
      model.nodes.find(({ name }) => name === `${outputs.join('+')}.${kind}`)?.inputs ?? [];
    expect(joined('weight')).toEqual(outputs.map((output) => `${output}.weight`));
    // The audio tower's keys have no bias.
    expect(joined('bias').map((name) => name.startsWith('zeros_'))).toEqual([false, part === 'audio', false]);
    for (const precision of ['fp32', 'int4'] as const)
      expect((await build(part, 'tiny-b', precision)).model.nodes.map(({ opType }) => opType)).not.toContain('Split');
  },
);

it('gathers the windows of query, key and value out of one multiplication, without a split', async () => {
  const { model } = await build('vision', 'tiny-b', 'bf16');
  const layer = 'visual.blocks.1.attn';
  const rows = `${layer}.q+${layer}.k+${layer}.v.rows`;
  const readers = model.nodes.filter(({ inputs }) => inputs.includes(rows));
  expect(readers.map(({ opType, inputs }) => [opType, inputs[1]])).toEqual(
    ['q', 'k', 'v'].map((part) => ['Gather', `window_rows.${part}`]),
  );
});

it('has more query heads a KV head where they are asked for, and XQA is not built for the number there is', async () => {
  const padded = async (checkpoint: keyof typeof CHECKPOINTS): Promise<BuiltGraph> => {
    const directory = golden(`checkpoints/${checkpoint}`);
    const [config, weights] = [await readModelConfig(directory), await openCheckpoint(directory)];
    return buildDecoderGraph(config, weights, 'bf16', { padHeads: true });
  };
  const { model } = await padded('tiny-a'); // seven query heads, one KV head
  const attention = model.nodes.filter(({ opType }) => opType === 'GroupQueryAttention');
  expect(attention.map(({ attributes }) => attributes['num_heads'])).toEqual(
    attention.map(() => ({ type: 'int', value: 8 })),
  );
  const rows = (name: string): number[] => {
    const data = model.initializers.find((initializer) => initializer.name === name)?.data as Uint8Array;
    return Array.from(new BigInt64Array(Uint8Array.from(data).buffer), Number);
  };
  expect(rows('repeated_heads')).toEqual([0, 1, 2, 3, 4, 5, 6, 6]);
  expect(rows('own_heads')).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect((await padded('tiny-b')).bytes).toEqual((await build('decoder', 'tiny-b', 'bf16')).bytes); // four
});
