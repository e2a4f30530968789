// Which weights the int4 precision quantises, to how many bits, and where each lies in weights.bin. The layout is known
// before a byte is written, so graphs can be built, and every shape checked, first.
import { join } from 'node:path';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { ModelConfig } from '../checkpoint/config-types.ts';
import { BLOCK_SIZE, blocksOf, quantisedBytes, type QuantisedBits } from './quantise.ts';
import type { QuantisedWeight, StoredTensor, WeightSource } from '../checkpoint/weights.ts';

export const WEIGHTS_FILE = 'weights.bin';
/** Tensors begin at cache lines. */
const ALIGNMENT = 64;

interface Linear {
  readonly name: string;
  readonly n: number;
  readonly k: number;
  readonly bits: QuantisedBits;
}

/** A matrix to quantise: where it comes from and what becomes of it. */
export interface QuantisationStep {
  readonly source: StoredTensor;
  readonly weight: QuantisedWeight;
}

export interface QuantisedWeights extends WeightSource {
  readonly steps: readonly QuantisationStep[];
  /** size of weights.bin */
  readonly bytes: number;
}

/** The decoder is read once per token, so its bytes are the speed: 4 bits. The head decides between near ties: 8. */
function decoderLinears({ text }: ModelConfig): Linear[] {
  const query = text.heads * text.headDim;
  const kv = text.kvHeads * text.headDim;
  const layers = Array.from({ length: text.layers }, (_, layer) => {
    const linear = (part: string, n: number, k: number): Linear => ({
      name: `model.layers.${layer}.${part}.weight`,
      n,
      k,
      bits: 4,
    });
    return [
      linear('self_attn.q_proj', query, text.hiddenSize),
      linear('self_attn.k_proj', kv, text.hiddenSize),
      linear('self_attn.v_proj', kv, text.hiddenSize),
      linear('self_attn.o_proj', text.hiddenSize, query),
      linear('mlp.gate_proj', text.intermediateSize, text.hiddenSize),
      linear('mlp.up_proj', text.intermediateSize, text.hiddenSize),
      linear('mlp.down_proj', text.hiddenSize, text.intermediateSize),
    ];
  });
  return [...layers.flat(), { name: 'lm_head.weight', n: text.vocabSize, k: text.hiddenSize, bits: 8 }];
}

/** The towers run once per clip and bound what can be seen and heard at all: 8 bits. */
function visionLinears({ vision, text }: ModelConfig): Linear[] {
  const linear = (part: string, n: number, k: number): Linear => ({ name: `visual.${part}.weight`, n, k, bits: 8 });
  const width = vision.hiddenSize;
  const merged = width * vision.mergeSize ** 2;
  const blocks = Array.from({ length: vision.depth }, (_, block) => [
    ...['q', 'k', 'v', 'proj'].map((part) => linear(`blocks.${block}.attn.${part}`, width, width)),
    linear(`blocks.${block}.mlp.gate_proj`, vision.intermediateSize, width),
    linear(`blocks.${block}.mlp.up_proj`, vision.intermediateSize, width),
    linear(`blocks.${block}.mlp.down_proj`, width, vision.intermediateSize),
  ]);
  return [...blocks.flat(), linear('merger.mlp.0', merged, merged), linear('merger.mlp.2', text.hiddenSize, merged)];
}

function audioLinears({ audio, text }: ModelConfig): Linear[] {
  const linear = (part: string, n: number, k: number): Linear => ({
    name: `audio_tower.${part}.weight`,
    n,
    k,
    bits: 8,
  });
  const width = audio.hiddenSize;
  const layers = Array.from({ length: audio.layers }, (_, layer) => [
    ...['q_proj', 'k_proj', 'v_proj', 'out_proj'].map((part) =>
      linear(`layers.${layer}.self_attn.${part}`, width, width),
    ),
    linear(`layers.${layer}.fc1`, audio.ffnSize, width),
    linear(`layers.${layer}.fc2`, width, audio.ffnSize),
  ]);
  return [...layers.flat(), linear('proj', text.hiddenSize, width)];
}

/**
 * Lays out the quantised form of a checkpoint; all that is not a linear stays where it is.
 * @param directory where weights.bin will lie when graphs are run: real path
 * @throws AvocadoError `tensor_missing`, `tensor_invalid`
 */
export function planQuantisedWeights(checkpoint: Checkpoint, config: ModelConfig, directory: string): QuantisedWeights {
  const file = join(directory, WEIGHTS_FILE);
  const steps = new Map<string, QuantisationStep>();
  let end = 0;
  const place = (name: string, dtype: 'U8' | 'F32', shape: readonly number[], bytes: number): StoredTensor => {
    const offset = end;
    end = Math.ceil((offset + bytes) / ALIGNMENT) * ALIGNMENT;
    return { name, dtype, shape, file, offset, bytes };
  };
  for (const { name, n, k, bits } of [...decoderLinears(config), ...visionLinears(config), ...audioLinears(config)]) {
    const source = checkpoint.plain(name, [n, k]);
    const size = quantisedBytes(n, k, bits);
    const packed = place(`${name}.packed`, 'U8', [n, blocksOf(k), (BLOCK_SIZE * bits) / 8], size.packed);
    const scales = place(`${name}.scales`, 'F32', [n, blocksOf(k)], size.scales);
    steps.set(name, { source, weight: { bits, blockSize: BLOCK_SIZE, n, k, packed, scales } });
  }
  return {
    steps: [...steps.values()],
    bytes: end,
    has: (name) => checkpoint.has(name),
    plain: (name, shape) => checkpoint.plain(name, shape),
    quantised: (name) => steps.get(name)?.weight,
  };
}
