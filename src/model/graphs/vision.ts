// The vision tower (reference-model.md, Vision tower) as one graph over S temporal steps of one size. Steps never
// attend to each other, so one set of index and rope tables serves all steps. Inside the graph, rows are in window
// order.
import type { Precision } from '../../settings/engine-settings.ts';
import type { ModelConfig, VisionConfig } from '../checkpoint/config-types.ts';
import { float, GraphBuilder, int, type BuiltGraph } from './graph-builder.ts';
import type { WeightSource } from '../checkpoint/weights.ts';

/** RMSNorm epsilon of all vision norms. */
const EPSILON = 1e-6;

interface Shapes {
  /** [-1, rows of the longest window, hidden] */
  readonly windows: string;
  /** [S, -1, hidden] */
  readonly steps: string;
}

/** Shapes that are only known at run time, computed once per run. */
function addShapes(graph: GraphBuilder, hiddenSize: number): Shapes {
  const hidden = graph.constant('hidden_size', 'int64', [1], BigInt64Array.of(BigInt(hiddenSize)));
  const rest = graph.constant('rest', 'int64', [1], BigInt64Array.of(-1n));
  const longest = graph.node('longest_window', 'Shape', ['window_rows'], {
    attributes: { start: int(1), end: int(2) },
  });
  const steps = graph.node('step_count', 'Shape', ['patches'], { attributes: { start: int(0), end: int(1) } });
  const attributes = { axis: int(0) };
  return {
    windows: graph.node('windows_shape', 'Concat', [rest, longest, hidden], { attributes }),
    steps: graph.node('steps_shape', 'Concat', [steps, rest, hidden], { attributes }),
  };
}

function addInputs(graph: GraphBuilder, vision: VisionConfig): void {
  const { channels, temporalPatchSize, patchSize, headDim } = vision;
  graph.input('patches', 'float32', ['steps', 'rows', channels * temporalPatchSize * patchSize ** 2]);
  graph.input('group_order', 'int64', ['groups']);
  graph.input('group_back', 'int64', ['groups']);
  graph.input('rope_cos', 'float32', ['rows', headDim / 2]);
  graph.input('rope_sin', 'float32', ['rows', headDim / 2]);
  graph.input('window_rows', 'int64', ['windows', 'longest_window']);
  graph.input('window_lengths', 'int32', ['steps_by_windows']);
  graph.input('window_back', 'int64', ['rows']);
  graph.constant('rope_offset', 'int64', [1], BigInt64Array.of(0n));
}

/** Patches in processor order -> rows [S, hw, hidden] in window order. The rows of a merged group move together. */
function embedPatches(graph: GraphBuilder, vision: VisionConfig, shapes: Shapes): string {
  const { hiddenSize, channels, temporalPatchSize: frames, patchSize, mergeSize } = vision;
  const columns = channels * frames * patchSize ** 2;
  const patches = graph.cast('patches.activation', 'patches', 'float32', graph.activation);
  const stored = [hiddenSize, channels, frames, patchSize, patchSize];
  const rows = graph.linear(patches, 'visual.patch_embed.proj', hiddenSize, columns, 'no bias', { stored });
  const groups = graph.reshape('patch_groups', rows, [0, -1, mergeSize ** 2 * hiddenSize]);
  const ordered = graph.node('ordered_groups', 'Gather', [groups, 'group_order'], { attributes: { axis: int(1) } });
  return graph.node('ordered_rows', 'Reshape', [ordered, shapes.steps]);
}

/** Tables in the order of the rows of all windows, padded: which row of query, key and value, and its angles. */
function addWindowTables(graph: GraphBuilder, vision: VisionConfig): void {
  const scalar = (value: bigint): string => graph.constant(`int_${value}`, 'int64', [1], BigInt64Array.of(value));
  graph.node('window_rows.q', 'Mul', ['window_rows', scalar(3n)]);
  graph.node('window_rows.k', 'Add', ['window_rows.q', scalar(1n)]);
  graph.node('window_rows.v', 'Add', ['window_rows.q', scalar(2n)]);
  for (const table of ['rope_cos', 'rope_sin']) {
    const rows = graph.node(`${table}.gathered`, 'Gather', [table, 'window_rows'], { attributes: { axis: int(0) } });
    graph.reshape(`${table}.windows`, rows, [-1, vision.headDim / 2]);
  }
}

/** Rotates [S, rows, hidden] by tables of these rows. Always in float32, like the reference. */
function addRope(graph: GraphBuilder, vision: VisionConfig, input: string, tables: '' | '.windows' = ''): string {
  const wide = graph.cast(`${input}.float32`, input, graph.activation, 'float32');
  const inputs = [wide, 'rope_offset', `rope_cos${tables}`, `rope_sin${tables}`];
  const attributes = { num_heads: int(vision.heads) };
  const rotated = graph.node(`${input}.rotated`, 'RotaryEmbedding', inputs, { domain: 'com.microsoft', attributes });
  return graph.cast(`${input}.rope`, rotated, 'float32', graph.activation);
}

const QUERY_KEY_VALUE = ['q', 'k', 'v'] as const;

/** Query, key and value, rotated, as [S·windows, longest window, hidden]. */
function projectWindows(
  graph: GraphBuilder,
  vision: VisionConfig,
  shapes: Shapes,
  normed: string,
  layer: string,
): string[] {
  const { hiddenSize } = vision;
  const layers = QUERY_KEY_VALUE.map((part) => ({ layer: `${layer}.${part}`, n: hiddenSize, bias: 'bias' }) as const);
  const gather = (name: string, input: string, rows: string): string =>
    graph.node(`${name}.gathered`, 'Gather', [input, rows], { attributes: { axis: int(1) } });
  const joined = graph.joinedLinears(normed, layers, hiddenSize);
  if (joined === undefined) {
    return graph.linears(normed, layers, hiddenSize).map((input, part) => {
      const rotated = part < 2 ? addRope(graph, vision, input) : input;
      return graph.node(`${rotated}.windows`, 'Reshape', [gather(rotated, rotated, 'window_rows'), shapes.windows]);
    });
  }
  // As rows of [S, 3·hw, hidden] query, key and value take turns. So the gathering also splits them.
  const rows = graph.reshape(`${joined}.rows`, joined, [0, -1, hiddenSize]);
  return layers.map((part, index) => {
    const gathered = gather(part.layer, rows, `window_rows.${QUERY_KEY_VALUE[index] ?? ''}`);
    if (index === 2) return graph.node(`${part.layer}.windows`, 'Reshape', [gathered, shapes.windows]);
    const steps = graph.node(`${part.layer}.steps`, 'Reshape', [gathered, shapes.steps]);
    const rotated = addRope(graph, vision, steps, '.windows');
    return graph.node(`${part.layer}.windows`, 'Reshape', [rotated, shapes.windows]);
  });
}

/** Attention of one block, without the bias of its output projection. The batch is steps (full) or windows. */
function addAttention(
  graph: GraphBuilder,
  vision: VisionConfig,
  shapes: Shapes,
  normed: string,
  block: number,
): string {
  const { hiddenSize, heads, headDim } = vision;
  const layer = `visual.blocks.${block}.attn`;
  const options = {
    domain: 'com.microsoft',
    attributes: { num_heads: int(heads), scale: float(headDim ** -0.5) },
  } as const;
  let mixed: string;
  if (vision.fullAttentionBlocks.includes(block)) {
    const layers = QUERY_KEY_VALUE.map((part) => ({ layer: `${layer}.${part}`, n: hiddenSize, bias: 'bias' }) as const);
    const inputs = graph
      .linears(normed, layers, hiddenSize)
      .map((input, part) => (part < 2 ? addRope(graph, vision, input) : input));
    mixed = graph.node(`${layer}.mixed`, 'MultiHeadAttention', inputs, options);
  } else {
    const windows = projectWindows(graph, vision, shapes, normed, layer);
    const padded = graph.node(
      `${layer}.mixed.padded`,
      'MultiHeadAttention',
      [...windows, '', 'window_lengths'],
      options,
    );
    const rows = graph.node(`${layer}.mixed.rows`, 'Reshape', [padded, shapes.steps]);
    mixed = graph.node(`${layer}.mixed`, 'Gather', [rows, 'window_back'], { attributes: { axis: int(1) } });
  }
  return graph.linear(mixed, `${layer}.proj`, hiddenSize, hiddenSize, 'no bias');
}

/** Normed rows -> embeddings [S, groups, text hidden] in processor order. */
function addMerger(graph: GraphBuilder, config: ModelConfig, normed: string): string {
  const merged = config.vision.hiddenSize * config.vision.mergeSize ** 2;
  const groups = graph.reshape('merged_groups', normed, [0, -1, merged]);
  const inner = graph.linear(groups, 'visual.merger.mlp.0', merged, merged, 'bias');
  const active = graph.node('visual.merger.mlp.1', 'Gelu', [inner]);
  const outer = graph.linear(active, 'visual.merger.mlp.2', config.text.hiddenSize, merged, 'bias');
  return graph.node('embeds', 'Gather', [outer, 'group_back'], { attributes: { axis: int(1) } });
}

/**
 * Builds the vision tower. Inputs, with hw = rows of one step and groups = hw / merge²:
 * - patches f32 [S, hw, channels·frames·patch²]
 * - group_order, group_back i64 [groups]
 * - rope_cos, rope_sin f32 [hw, headDim / 2], in window order
 * - window_rows i64 [windows, longest], the rows of each window, padded
 * - window_lengths i32 [S·windows], rows of each window without padding
 * - window_back i64 [hw], the index of each row among the padded rows
 *
 * Output: vision_embeds [S, groups, text hidden] in the activation type. stepLayout() in execution/tower-inputs.ts
 * makes the tables.
 * @throws AvocadoError `tensor_missing`, `tensor_invalid`
 */
export function buildVisionGraph(config: ModelConfig, weights: WeightSource, precision: Precision): BuiltGraph {
  const { vision } = config;
  const { hiddenSize } = vision;
  const graph = new GraphBuilder('vision', weights, precision);
  addInputs(graph, vision);
  const shapes = addShapes(graph, hiddenSize);
  if (graph.activation !== 'float32') addWindowTables(graph, vision);
  let residual = embedPatches(graph, vision, shapes);
  let normed = graph.rmsNorm(residual, 'visual.blocks.0.norm1', hiddenSize, EPSILON);
  for (let block = 0; block < vision.depth; block += 1) {
    const layer = `visual.blocks.${block}`;
    const attended = addAttention(graph, vision, shapes, normed, block);
    const attentionBias = graph.weight(`${layer}.attn.proj.bias`, [hiddenSize]);
    const middle = graph.skipRmsNorm(attended, residual, `${layer}.norm2`, hiddenSize, EPSILON, attentionBias);
    const down = graph.swiGlu(middle.normed, `${layer}.mlp`, hiddenSize, vision.intermediateSize, 'bias');
    const next = block + 1 < vision.depth ? `visual.blocks.${block + 1}.norm1` : 'visual.merger.ln_q';
    const downBias = graph.weight(`${layer}.mlp.down_proj.bias`, [hiddenSize]);
    ({ normed, sum: residual } = graph.skipRmsNorm(down, middle.sum, next, hiddenSize, EPSILON, downBias));
  }
  graph.node('vision_embeds', 'Identity', [addMerger(graph, config, normed)]);
  graph.output('vision_embeds', graph.activation, ['steps', 'groups', config.text.hiddenSize]);
  return graph.build();
}
