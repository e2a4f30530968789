// The audio tower (reference-model.md, Audio tower) as one graph over chunks of mel frames. Chunks never attend to each
// other. The last chunk may be shorter: it is padded, masked after the first convolution and in attention, and its
// padding is dropped at the end.
import type { Precision } from '../../settings/engine-settings.ts';
import type { AudioConfig, ModelConfig } from '../checkpoint/config-types.ts';
import { float, GraphBuilder, int, ints, type BuiltGraph } from './graph-builder.ts';
import type { WeightSource } from '../checkpoint/weights.ts';

const EPSILON = 1e-5;
/** The reference clamps float16 activations after each layer to the largest finite value minus 1000. */
const FLOAT16_LIMIT = 65_504 - 1000;

function layerNorm(graph: GraphBuilder, input: string, norm: string, size: number): string {
  const inputs = [input, graph.weight(`${norm}.weight`, [size]), graph.weight(`${norm}.bias`, [size])];
  return graph.node(norm, 'LayerNormalization', inputs, { attributes: { axis: int(-1), epsilon: float(EPSILON) } });
}

function convolve(
  graph: GraphBuilder,
  input: string,
  name: 'conv1' | 'conv2',
  channels: number,
  audio: AudioConfig,
): string {
  const layer = `audio_tower.${name}`;
  const kernel = graph.weight(`${layer}.weight`, [audio.hiddenSize, channels, 3]);
  const inputs = [input, kernel, graph.weight(`${layer}.bias`, [audio.hiddenSize])];
  const attributes = { kernel_shape: ints(3), pads: ints(1, 1), strides: ints(name === 'conv1' ? 1 : 2) };
  return graph.node(`${layer}.gelu`, 'Gelu', [graph.node(layer, 'Conv', inputs, { attributes })]);
}

/** mel [C, bins, T] -> [C, ceil(T / 2), hidden] with sinusoid positions, which start at 0 in every chunk. */
function embedFrames(graph: GraphBuilder, audio: AudioConfig): string {
  const { activation } = graph;
  const first = convolve(
    graph,
    graph.cast('mel.activation', 'mel', 'float32', activation),
    'conv1',
    audio.melBins,
    audio,
  );
  // The second convolution must see zeros beyond a chunk's end, as it would without padding.
  const masked = graph.node('conv1.masked', 'Mul', [
    first,
    graph.cast('frame_mask.activation', 'frame_mask', 'float32', activation),
  ]);
  const second = convolve(graph, masked, 'conv2', audio.hiddenSize, audio);
  const rows = graph.node('frames', 'Transpose', [second], { attributes: { perm: ints(0, 2, 1) } });
  return graph.node('positioned_frames', 'Add', [
    rows,
    graph.cast('positions.activation', 'positions', 'float32', activation),
  ]);
}

function addLayer(graph: GraphBuilder, audio: AudioConfig, input: string, index: number): string {
  const { hiddenSize, heads, headDim, ffnSize } = audio;
  const layer = `audio_tower.layers.${index}`;
  const normed = layerNorm(graph, input, `${layer}.self_attn_layer_norm`, hiddenSize);
  const projected = graph.linears(
    normed,
    [
      { layer: `${layer}.self_attn.q_proj`, n: hiddenSize, bias: 'bias' },
      { layer: `${layer}.self_attn.k_proj`, n: hiddenSize, bias: 'no bias' },
      { layer: `${layer}.self_attn.v_proj`, n: hiddenSize, bias: 'bias' },
    ],
    hiddenSize,
  );
  const attributes = { num_heads: int(heads), scale: float(headDim ** -0.5) };
  const inputs = [...projected, '', 'chunk_lengths'];
  const mixed = graph.node(`${layer}.self_attn`, 'MultiHeadAttention', inputs, { domain: 'com.microsoft', attributes });
  const attended = graph.linear(mixed, `${layer}.self_attn.out_proj`, hiddenSize, hiddenSize, 'bias');
  const middle = graph.node(`${layer}.attended`, 'Add', [attended, input]);
  const wideInput = layerNorm(graph, middle, `${layer}.final_layer_norm`, hiddenSize);
  const wide = graph.node(`${layer}.gelu`, 'Gelu', [
    graph.linear(wideInput, `${layer}.fc1`, ffnSize, hiddenSize, 'bias'),
  ]);
  const narrow = graph.linear(wide, `${layer}.fc2`, hiddenSize, ffnSize, 'bias');
  const output = graph.node(layer, 'Add', [narrow, middle]);
  return graph.activation === 'float16'
    ? graph.node(`${layer}.clamped`, 'Clip', [output, 'clamp_low', 'clamp_high'])
    : output;
}

/** Averages pairs of positions, then normalises and projects: [C, T2, hidden] -> [tokens, text hidden]. */
function addProjection(graph: GraphBuilder, config: ModelConfig, input: string): string {
  const { hiddenSize } = config.audio;
  const rows = graph.reshape('rows', input, [-1, hiddenSize]);
  const pair = ['pair_first', 'pair_second'].map((index) =>
    graph.node(`${index}.rows`, 'Gather', [rows, index], { attributes: { axis: int(0) } }),
  );
  const half = graph.constant('half.float32', 'float32', [], Float32Array.of(0.5));
  const pooled = graph.node('pooled', 'Mul', [
    graph.node('pair_sum', 'Add', pair),
    graph.cast('half', half, 'float32', graph.activation),
  ]);
  return graph.linear(
    layerNorm(graph, pooled, 'audio_tower.ln_post', hiddenSize),
    'audio_tower.proj',
    config.text.hiddenSize,
    hiddenSize,
    'bias',
  );
}

/**
 * Builds the audio tower. Inputs, with T = frames of the longest chunk and T2 = ceil(T / 2):
 * - mel f32 [C, bins, T], zeros beyond a chunk's end
 * - frame_mask f32 [C, 1, T], 1 = a real frame
 * - positions f32 [T2, hidden], sinusoids
 * - chunk_lengths i32 [C], real positions after the second convolution
 * - pair_first, pair_second i64 [tokens], the two rows of [C·T2] that are averaged into each token
 *
 * Output: audio_embeds [tokens, text hidden] in the activation type. audioChunks() in execution/tower-inputs.ts makes
 * the inputs.
 * @throws AvocadoError `tensor_missing`, `tensor_invalid`
 */
export function buildAudioGraph(config: ModelConfig, weights: WeightSource, precision: Precision): BuiltGraph {
  const { audio } = config;
  const graph = new GraphBuilder('audio', weights, precision);
  graph.input('mel', 'float32', ['chunks', audio.melBins, 'frames']);
  graph.input('frame_mask', 'float32', ['chunks', 1, 'frames']);
  graph.input('positions', 'float32', ['chunk_positions', audio.hiddenSize]);
  graph.input('chunk_lengths', 'int32', ['chunks']);
  graph.input('pair_first', 'int64', ['tokens']);
  graph.input('pair_second', 'int64', ['tokens']);
  if (graph.activation === 'float16') {
    for (const [name, value] of [
      ['clamp_low', -FLOAT16_LIMIT],
      ['clamp_high', FLOAT16_LIMIT],
    ] as const) {
      graph.cast(name, graph.constant(`${name}.float32`, 'float32', [], Float32Array.of(value)), 'float32', 'float16');
    }
  }
  let hidden = embedFrames(graph, audio);
  for (let index = 0; index < audio.layers; index += 1) hidden = addLayer(graph, audio, hidden, index);
  graph.node('audio_embeds', 'Identity', [addProjection(graph, config, hidden)]);
  graph.output('audio_embeds', graph.activation, ['tokens', config.text.hiddenSize]);
  return graph.build();
}
