// The language model (reference-model.md, Decoder) as one graph for prefill, chunked prefill and batched decode
// (onnxruntime.md, Graphs): token embedding, media embeddings written over their rows, layers that
// update the KV cache in place, and the head on the wanted rows only.
import type { Precision } from '../../settings/engine-settings.ts';
import type { ModelConfig, TextConfig } from '../checkpoint/config-types.ts';
import { addAttention, addRope, cacheNames, type AttentionOptions } from './decoder-attention.ts';
import { GraphBuilder, int, type BuiltGraph } from './graph-builder.ts';
import { addShortlist } from './shortlist.ts';
import type { WeightSource } from '../checkpoint/weights.ts';

/** Inputs that GroupQueryAttention reads in host memory on every device. */
export const DECODER_HOST_INPUTS: readonly string[] = ['total_len'];

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

/** Token embeddings [B, S, hidden], media rows replaced. The table is read row by row, so it can stay in its file. */
function embedTokens(graph: GraphBuilder, text: TextConfig): string {
  const table = graph.stored('model.embed_tokens.weight', [text.vocabSize, text.hiddenSize]);
  const rows = graph.node('token_embeds.stored', 'Gather', [table.value, 'input_ids'], {
    attributes: { axis: int(0) },
  });
  const embeds = graph.cast('token_embeds', rows, table.dtype, graph.activation);
  return graph.node('embeds', 'ScatterND', [embeds, 'media_index', 'media_embeds']);
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

export interface DecoderGraphOptions extends AttentionOptions {
  /** whether the graph also gives shortlists (shortlist.ts); default: unless activations are float32, as on a CPU */
  readonly shortlist?: boolean | undefined;
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
  const rope = addRope(graph, text, options);
  let residual = embedTokens(graph, text);
  let normed = graph.rmsNorm(residual, 'model.layers.0.input_layernorm', hiddenSize, rmsNormEps);
  for (let layer = 0; layer < text.layers; layer += 1) {
    const prefix = `model.layers.${layer}`;
    const attended = addAttention(graph, text, normed, layer, rope, options);
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
