// The language model (reference-model.md, Decoder) as one graph for prefill, chunked prefill and batched decode
// (onnxruntime.md, Graphs): token embedding, media embeddings written over their rows, layers that
// update the KV cache in place, and the head on the wanted rows only.
import type { Precision } from '../../settings/engine-settings.ts';
import type { ModelConfig, TextConfig } from '../checkpoint/config-types.ts';
import { float, GraphBuilder, int, ints, type BuiltGraph } from './graph-builder.ts';
import { textRopeTables } from './rope-tables.ts';
import { addShortlist } from './shortlist.ts';
import type { WeightSource } from '../checkpoint/weights.ts';

/** MRotaryEmbedding takes at most as many tokens in a run as its tables have rows; they have at least this many. */
export const MOST_TOKENS_PER_RUN = 32_768;

/** Inputs that GroupQueryAttention reads in host memory on every device. */
export const DECODER_HOST_INPUTS: readonly string[] = ['total_len'];

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

function addInputs(graph: GraphBuilder, text: TextConfig): void {
  graph.input('input_ids', 'int64', ['batch', 'tokens']);
  graph.input('media_embeds', graph.activation, ['media', text.hiddenSize]);
  graph.input('media_index', 'int64', ['media', 2]);
  graph.input('position_ids', 'int64', [3, 'batch', 'tokens']);
  graph.input('seqlens_k', 'int32', ['batch']);
  graph.input('total_len', 'int32', []);
  graph.input('logit_index', 'int64', ['logit_rows']);
  const cache = ['batch', text.kvHeads, 'capacity', text.headDim];
  for (let layer = 0; layer < text.layers; layer += 1) {
    const names = cacheNames(layer);
    for (const name of [names.pastKey, names.pastValue]) graph.input(name, graph.activation, cache);
  }
}

function addRopeTables(graph: GraphBuilder, text: TextConfig): void {
  const rows = Math.max(MOST_TOKENS_PER_RUN, text.maxPositions);
  const tables = textRopeTables(text.ropeTheta, text.headDim, rows);
  for (const name of ['cos', 'sin'] as const) {
    const table = graph.constant(`rope_${name}.float32`, 'float32', [rows, text.headDim / 2], tables[name]);
    // The reference rotates in the activation type here, but in float32 in the vision tower.
    if (graph.activation === 'float32') graph.node(`rope_${name}`, 'Identity', [table]);
    else graph.cast(`rope_${name}`, table, 'float32', graph.activation);
  }
}

/** Token embeddings [B, S, hidden], media rows replaced. The table is read row by row, so it can stay in its file. */
function embedTokens(graph: GraphBuilder, text: TextConfig): string {
  const table = graph.stored('model.embed_tokens.weight', [text.vocabSize, text.hiddenSize]);
  const rows = graph.node('token_embeds.stored', 'Gather', [table.value, 'input_ids'], {
    attributes: { axis: int(0) },
  });
  const embeds = graph.cast('token_embeds', rows, table.dtype, graph.activation);
  return graph.node('embeds', 'ScatterND', [embeds, 'media_index', 'media_embeds']);
}

/** Query heads a KV head for which the provider's kernel for decode steps (XQA) is built, in bf16 and fp16. */
const XQA_GROUPS: readonly number[] = [1, 2, 4, 5, 8, 16, 32];

/** Query heads a KV head: those of the model, or more, up to a number that XQA takes. */
function headsInGroup({ heads, kvHeads }: TextConfig, padHeads: boolean): number {
  const own = heads / kvHeads;
  return (padHeads ? XQA_GROUPS.find((size) => size >= own) : undefined) ?? own;
}

/**
 * Attention with `group` query heads a KV head: the last one of each is repeated, and what the repeated ones give is
 * left out. There is no Pad in bf16 on CUDA, and these are two kernels.
 * @param attend [B, S, kvHeads * group * headDim] -> the same shape
 */
function withPaddedHeads(
  graph: GraphBuilder,
  { heads, kvHeads, headDim }: TextConfig,
  group: number,
  query: string,
  attend: (query: string) => string,
): string {
  const own = heads / kvHeads;
  const all = Array.from({ length: kvHeads * group }, (_, head) => head);
  const repeated = all.map((head) => own * Math.floor(head / group) + Math.min(head % group, own - 1));
  const kept = all.filter((head) => head % group < own);
  const pick = (input: string, name: string, count: number, indices: readonly number[]): string => {
    const byHead = graph.reshape(`${input}.by_head`, input, [0, 0, count, headDim]);
    const picked = graph.node(`${input}.${name}`, 'Gather', [byHead, graph.int64s(name, indices)], {
      attributes: { axis: int(2) },
    });
    return graph.reshape(`${input}.${name}.flat`, picked, [0, 0, indices.length * headDim]);
  };
  return pick(attend(pick(query, 'repeated_heads', heads, repeated)), 'own_heads', kvHeads * group, kept);
}

function addAttention(graph: GraphBuilder, text: TextConfig, normed: string, layer: number, padHeads: boolean): string {
  const { hiddenSize, heads, kvHeads, headDim } = text;
  const prefix = `model.layers.${layer}.self_attn`;
  const rotate = (input: string, count: number): string =>
    graph.node(`${input}.rope`, 'MRotaryEmbedding', [input, 'position_ids', 'rope_cos', 'rope_sin'], {
      domain: 'com.microsoft',
      attributes: { num_heads: int(count), mrope_section: ints(...text.mropeSection), mrope_layout: int(0) },
    });
  const [query = '', key = '', value = ''] = graph.linears(
    normed,
    [
      { layer: `${prefix}.q_proj`, n: heads * headDim, bias: 'bias' },
      { layer: `${prefix}.k_proj`, n: kvHeads * headDim, bias: 'bias' },
      { layer: `${prefix}.v_proj`, n: kvHeads * headDim, bias: 'bias' },
    ],
    hiddenSize,
  );
  const names = cacheNames(layer);
  const group = headsInGroup(text, padHeads);
  const attributes = {
    num_heads: int(kvHeads * group),
    kv_num_heads: int(kvHeads),
    scale: float(headDim ** -0.5),
    do_rotary: int(0),
  };
  const rotated = { query: rotate(query, heads), key: rotate(key, kvHeads) };
  const attend = (queries: string): string => {
    const inputs = [queries, rotated.key, value, names.pastKey, names.pastValue, 'seqlens_k', 'total_len'];
    graph.nodeTo([prefix, names.presentKey, names.presentValue], 'GroupQueryAttention', inputs, {
      domain: 'com.microsoft',
      attributes,
    });
    return prefix;
  };
  const isPadded = group * kvHeads !== heads;
  const attended = isPadded ? withPaddedHeads(graph, text, group, rotated.query, attend) : attend(rotated.query);
  return graph.linear(attended, `${prefix}.o_proj`, hiddenSize, heads * headDim, 'no bias');
}

/** The head on the wanted rows: [rows, vocab] in float32. */
function addHead(graph: GraphBuilder, text: TextConfig, normed: string): void {
  const rows = graph.reshape('hidden_rows', normed, [-1, text.hiddenSize]);
  const wanted = graph.node('wanted_rows', 'Gather', [rows, 'logit_index'], { attributes: { axis: int(0) } });
  const head = graph.linear(wanted, 'lm_head', text.vocabSize, text.hiddenSize, 'no bias');
  if (graph.activation === 'float32') graph.node('logits', 'Identity', [head]);
  else graph.cast('logits', head, graph.activation, 'float32');
  graph.output('logits', 'float32', ['logit_rows', text.vocabSize]);
}

export interface DecoderGraphOptions {
  /** whether the graph also gives shortlists (shortlist.ts); default: unless activations are float32, as on a CPU */
  readonly shortlist?: boolean | undefined;
  /** more query heads a KV head, where XQA is not built for those of the model (7 of the 7B model); default false */
  readonly padHeads?: boolean | undefined;
}

/**
 * Builds the decoder. Inputs, with D = the activation type:
 * - input_ids i64 [B, S]
 * - media_embeds D [M, hidden] and media_index i64 [M, 2] (batch row, token row); M may be 0
 * - position_ids i64 [3, B, S]
 * - seqlens_k i32 [B], tokens in the cache after the run, minus one
 * - total_len i32 scalar, the largest of seqlens_k, plus one
 * - logit_index i64 [L], the wanted rows of B·S
 * - past_key.N, past_value.N D [B, kvHeads, capacity, headDim]
 *
 * Outputs: logits f32 [L, vocab]; present_key.N and present_value.N, bound to the memory of past_key.N and
 * past_value.N; those of addShortlist(). Limit: S > 1 with a cache that is not empty needs B = 1 (onnxruntime.md,
 * GroupQueryAttention).
 * @throws AvocadoError `tensor_missing`, `tensor_invalid`
 */
export function buildDecoderGraph(
  config: ModelConfig,
  weights: WeightSource,
  precision: Precision,
  options: DecoderGraphOptions = {},
): BuiltGraph {
  const { text } = config;
  const { hiddenSize, rmsNormEps } = text;
  const graph = new GraphBuilder('decoder', weights, precision);
  addInputs(graph, text);
  addRopeTables(graph, text);
  let residual = embedTokens(graph, text);
  let normed = graph.rmsNorm(residual, 'model.layers.0.input_layernorm', hiddenSize, rmsNormEps);
  for (let layer = 0; layer < text.layers; layer += 1) {
    const prefix = `model.layers.${layer}`;
    const attended = addAttention(graph, text, normed, layer, options.padHeads === true);
    const middle = graph.skipRmsNorm(attended, residual, `${prefix}.post_attention_layernorm`, hiddenSize, rmsNormEps);
    const down = graph.swiGlu(middle.normed, `${prefix}.mlp`, hiddenSize, text.intermediateSize, 'no bias');
    const next = layer + 1 < text.layers ? `model.layers.${layer + 1}.input_layernorm` : 'model.norm';
    ({ normed, sum: residual } = graph.skipRmsNorm(down, middle.sum, next, hiddenSize, rmsNormEps));
  }
  addHead(graph, text, normed);
  if (options.shortlist ?? graph.activation !== 'float32') addShortlist(graph, text.vocabSize);
  const cache = ['batch', text.kvHeads, 'capacity', text.headDim];
  for (let layer = 0; layer < text.layers; layer += 1) {
    const names = cacheNames(layer);
    for (const name of [names.presentKey, names.presentValue]) graph.output(name, graph.activation, cache);
  }
  return graph.build();
}
