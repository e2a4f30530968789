// Attention of the language model over the KV cache, with its rotary positions (reference-model.md, Decoder): in two
// forms with the same results, and with more query heads than the model has, for kernels built for some numbers only.
import type { TextConfig } from '../checkpoint/config-types.ts';
import { float, type GraphBuilder, int, ints } from './graph-builder.ts';
import { textRopeTables } from './rope-tables.ts';

/** MRotaryEmbedding takes at most as many tokens in a run as its tables have rows; they have at least this many. */
export const MOST_TOKENS_PER_RUN = 32_768;

export interface AttentionOptions {
  /** more query heads a KV head, where XQA is not built for those of the model (7 of the 7B model); default false */
  readonly padHeads?: boolean | undefined;
  /**
   * attention takes query, key and value in one tensor and rotates them itself: three kernels fewer a layer in a decode
   * step; default false. On CUDA it needs ORT_DISABLE_FLASH_DECODE=1, since flash attention would rotate a token by its
   * place in the cache.
   */
  readonly packHeads?: boolean | undefined;
}

/** Names of one layer's cache tensors. Past and present are the same memory. */
export function cacheNames(
  layer: number,
): Readonly<Record<'pastKey' | 'pastValue' | 'presentKey' | 'presentValue', string>> {
  return {
    pastKey: `past_key.${layer}`,
    pastValue: `past_value.${layer}`,
    presentKey: `present_key.${layer}`,
    presentValue: `present_value.${layer}`,
  };
}

/** Tables of cos and sin [rows, headDim / 2], and where a token does not stand at its position, its row [B, S]. */
export interface Rope {
  readonly cos: string;
  readonly sin: string;
  readonly rows?: string;
}

/** Rows of the run's tokens, 0, 1, 2, …: as many ones as stand before each. No input counts them. */
function addTokenRows(graph: GraphBuilder): string {
  const ids = graph.reshape('input_ids.flat', 'input_ids', [-1]);
  const zeros = graph.node('token_zeros', 'Mul', [ids, graph.int64s('zero', [0])]);
  const ones = graph.node('token_ones', 'Add', [zeros, graph.int64s('one', [1])]);
  return graph.node('token_rows', 'CumSum', [ones, graph.int64s('zero', [0])], { attributes: { exclusive: int(1) } });
}

/**
 * Tables that begin with the angles of the run's tokens, each column at the position on the axis of its section. The
 * other rows are there because attention wants as many as there are tokens in the cache.
 */
function addTokenRope(graph: GraphBuilder, text: TextConfig, tables: Rope): Rope {
  const axis = { attributes: { axis: int(0) } };
  const axes = text.mropeSection.flatMap((columns, section) => new Array<number>(columns).fill(section));
  const positions = graph.reshape('position_ids.flat', 'position_ids', [3, -1]);
  const byColumn = graph.node('rope_positions.columns', 'Gather', [positions, graph.int64s('rope_axes', axes)], axis);
  const byToken = graph.node('rope_positions', 'Transpose', [byColumn], { attributes: { perm: ints(1, 0) } });
  const rows = addTokenRows(graph);
  const places = graph.reshape('token_rows.places', rows, [-1, 1]);
  const first = (table: string): string => {
    const ofTokens = graph.node(`${table}.of_tokens`, 'GatherElements', [table, byToken], axis);
    return graph.node(`${table}.tokens_first`, 'ScatterND', [table, places, ofTokens]);
  };
  const shape = graph.node('token_shape', 'Shape', ['input_ids']);
  return {
    cos: first(tables.cos),
    sin: first(tables.sin),
    rows: graph.node('token_rows.by_sequence', 'Reshape', [rows, shape]),
  };
}

/** Adds the tables of angles that addAttention() takes with the same options. */
export function addRope(graph: GraphBuilder, text: TextConfig, { packHeads = false }: AttentionOptions): Rope {
  const rows = Math.max(MOST_TOKENS_PER_RUN, text.maxPositions);
  const tables = textRopeTables(text.ropeTheta, text.headDim, rows);
  for (const name of ['cos', 'sin'] as const) {
    const table = graph.constant(`rope_${name}.float32`, 'float32', [rows, text.headDim / 2], tables[name]);
    // The reference rotates in the activation type here, but in float32 in the vision tower.
    if (graph.activation === 'float32') graph.node(`rope_${name}`, 'Identity', [table]);
    else graph.cast(`rope_${name}`, table, 'float32', graph.activation);
  }
  const rope = { cos: 'rope_cos', sin: 'rope_sin' };
  return packHeads ? addTokenRope(graph, text, rope) : rope;
}

/** Query heads a KV head for which the provider's kernel for decode steps (XQA) is built, in bf16 and fp16. */
const XQA_GROUPS: readonly number[] = [1, 2, 4, 5, 8, 16, 32];

/** Query heads a KV head: those of the model, or more, up to a number that XQA takes. */
function headsInGroup({ heads, kvHeads }: TextConfig, padHeads: boolean): number {
  const own = heads / kvHeads;
  return (padHeads ? XQA_GROUPS.find((size) => size >= own) : undefined) ?? own;
}

/** The heads `indices` of x [B, S, count * headDim]. There is no Pad in bf16 on CUDA, and this is one kernel. */
function pickHeads(
  graph: GraphBuilder,
  { headDim }: TextConfig,
  input: string,
  [name, count, indices]: readonly [name: string, count: number, indices: readonly number[]],
): string {
  const byHead = graph.reshape(`${input}.by_head`, input, [0, 0, count, headDim]);
  const picked = graph.node(`${input}.${name}`, 'Gather', [byHead, graph.int64s(name, indices)], {
    attributes: { axis: int(2) },
  });
  return graph.reshape(`${input}.${name}.flat`, picked, [0, 0, indices.length * headDim]);
}

/** Query, key and value of a layer, for GroupQueryAttention: rotated, or in one tensor to be rotated there. */
function addHeads(
  graph: GraphBuilder,
  text: TextConfig,
  normed: string,
  prefix: string,
  { cos, sin, rows }: Rope,
  repeated: readonly number[] | undefined,
): readonly [query: string, key: string, value: string] {
  const { hiddenSize, heads, kvHeads, headDim } = text;
  const layers = [
    { layer: `${prefix}.q_proj`, n: heads * headDim, bias: 'bias' },
    { layer: `${prefix}.k_proj`, n: kvHeads * headDim, bias: 'bias' },
    { layer: `${prefix}.v_proj`, n: kvHeads * headDim, bias: 'bias' },
  ] as const;
  if (rows !== undefined) {
    const packed =
      graph.joinedLinears(normed, layers, hiddenSize) ??
      graph.node(`${prefix}.packed`, 'Concat', graph.linears(normed, layers, hiddenSize), {
        attributes: { axis: int(-1) },
      });
    if (repeated === undefined) return [packed, '', ''];
    const keysAndValues = Array.from({ length: 2 * kvHeads }, (_, head) => heads + head);
    const all = [...repeated, ...keysAndValues];
    return [pickHeads(graph, text, packed, ['repeated_heads', heads + 2 * kvHeads, all]), '', ''];
  }
  const rotate = (input: string, count: number): string =>
    graph.node(`${input}.rope`, 'MRotaryEmbedding', [input, 'position_ids', cos, sin], {
      domain: 'com.microsoft',
      attributes: { num_heads: int(count), mrope_section: ints(...text.mropeSection), mrope_layout: int(0) },
    });
  const [query = '', key = '', value = ''] = graph.linears(normed, layers, hiddenSize);
  const rotated = [rotate(query, heads), rotate(key, kvHeads), value] as const;
  if (repeated === undefined) return rotated;
  return [pickHeads(graph, text, rotated[0], ['repeated_heads', heads, repeated]), rotated[1], value];
}

/**
 * Attention of one layer with its output projection, x [B, S, hidden] -> the same shape. With padded heads the last
 * query head of each group is repeated, and what the repeated ones give is left out.
 */
export function addAttention(
  graph: GraphBuilder,
  text: TextConfig,
  normed: string,
  layer: number,
  rope: Rope,
  { padHeads = false }: AttentionOptions,
): string {
  const { hiddenSize, heads, kvHeads, headDim } = text;
  const prefix = `model.layers.${layer}.self_attn`;
  const [own, group] = [heads / kvHeads, headsInGroup(text, padHeads)];
  const all = Array.from({ length: kvHeads * group }, (_, head) => head);
  const isPadded = group !== own;
  const repeated = all.map((head) => own * Math.floor(head / group) + Math.min(head % group, own - 1));
  const inputs = addHeads(graph, text, normed, prefix, rope, isPadded ? repeated : undefined);
  const names = cacheNames(layer);
  const cache = [names.pastKey, names.pastValue, 'seqlens_k', 'total_len'];
  const angles = rope.rows === undefined ? [] : [rope.cos, rope.sin, rope.rows];
  graph.nodeTo(
    [prefix, names.presentKey, names.presentValue],
    'GroupQueryAttention',
    [...inputs, ...cache, ...angles],
    {
      domain: 'com.microsoft',
      attributes: {
        num_heads: int(kvHeads * group),
        kv_num_heads: int(kvHeads),
        scale: float(headDim ** -0.5),
        do_rotary: int(rope.rows === undefined ? 0 : 1),
      },
    },
  );
  const kept = all.filter((head) => head % group < own);
  const attended = isPadded ? pickHeads(graph, text, prefix, ['own_heads', all.length, kept]) : prefix;
  return graph.linear(attended, `${prefix}.o_proj`, hiddenSize, heads * headDim, 'no bias');
}
