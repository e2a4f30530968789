// The published sizes of the Qwen2.5-Omni thinker, as config.json and as a list of tensors
// (reference-model.md, Config fields and Checkpoint tensors).

export interface Shape {
  readonly hidden: number;
  readonly intermediate: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocab: number;
  readonly mropeSection: readonly [number, number, number];
  readonly vision: {
    readonly depth: number;
    readonly hidden: number;
    readonly intermediate: number;
    readonly heads: number;
    readonly full: readonly number[];
  };
  readonly audio: { readonly layers: number; readonly hidden: number; readonly ffn: number; readonly heads: number };
}

const TOWERS = {
  vision: { depth: 32, hidden: 1280, intermediate: 3420, heads: 16, full: [7, 15, 23, 31] },
  audio: { layers: 32, hidden: 1280, ffn: 5120, heads: 20 },
  headDim: 128,
  mropeSection: [16, 24, 24],
} as const;

export const SHAPES: Readonly<Record<'7b' | '3b' | 'nano', Shape>> = {
  '7b': { ...TOWERS, hidden: 3584, intermediate: 18944, layers: 28, heads: 28, kvHeads: 4, vocab: 152064 },
  '3b': { ...TOWERS, hidden: 2048, intermediate: 11008, layers: 36, heads: 16, kvHeads: 2, vocab: 151936 },
  nano: {
    hidden: 256,
    intermediate: 640,
    layers: 4,
    heads: 4,
    kvHeads: 2,
    headDim: 64,
    vocab: 2000,
    mropeSection: [8, 12, 12],
    vision: { depth: 4, hidden: 128, intermediate: 320, heads: 4, full: [1, 3] },
    audio: { layers: 4, hidden: 128, ffn: 512, heads: 4 },
  },
};

export interface NamedShape {
  readonly name: string;
  readonly shape: readonly number[];
}

function linear(name: string, out: number, inputs: number, bias = true): NamedShape[] {
  const weight = { name: `${name}.weight`, shape: [out, inputs] };
  return bias ? [weight, { name: `${name}.bias`, shape: [out] }] : [weight];
}

function audioTensors({ audio, hidden }: Shape): NamedShape[] {
  const width = audio.hidden;
  const norm = (name: string): NamedShape[] => [
    { name: `${name}.weight`, shape: [width] },
    { name: `${name}.bias`, shape: [width] },
  ];
  const layers = Array.from({ length: audio.layers }, (_, layer) => {
    const at = `audio_tower.layers.${layer}`;
    return [
      ...norm(`${at}.self_attn_layer_norm`),
      ...linear(`${at}.self_attn.q_proj`, width, width),
      ...linear(`${at}.self_attn.k_proj`, width, width, false),
      ...linear(`${at}.self_attn.v_proj`, width, width),
      ...linear(`${at}.self_attn.out_proj`, width, width),
      ...norm(`${at}.final_layer_norm`),
      ...linear(`${at}.fc1`, audio.ffn, width),
      ...linear(`${at}.fc2`, width, audio.ffn),
    ];
  });
  return [
    { name: 'audio_tower.conv1.weight', shape: [width, 128, 3] },
    { name: 'audio_tower.conv1.bias', shape: [width] },
    { name: 'audio_tower.conv2.weight', shape: [width, width, 3] },
    { name: 'audio_tower.conv2.bias', shape: [width] },
    ...layers.flat(),
    ...norm('audio_tower.ln_post'),
    ...linear('audio_tower.proj', hidden, width),
    { name: 'audio_tower.audio_bos_eos_token.weight', shape: [2, hidden] },
  ];
}

function visionTensors({ vision, hidden }: Shape): NamedShape[] {
  const width = vision.hidden;
  const blocks = Array.from({ length: vision.depth }, (_, block) => {
    const at = `visual.blocks.${block}`;
    return [
      { name: `${at}.norm1.weight`, shape: [width] },
      { name: `${at}.norm2.weight`, shape: [width] },
      ...['q', 'k', 'v', 'proj'].flatMap((part) => linear(`${at}.attn.${part}`, width, width)),
      ...linear(`${at}.mlp.gate_proj`, vision.intermediate, width),
      ...linear(`${at}.mlp.up_proj`, vision.intermediate, width),
      ...linear(`${at}.mlp.down_proj`, width, vision.intermediate),
    ];
  });
  return [
    { name: 'visual.patch_embed.proj.weight', shape: [width, 3, 2, 14, 14] },
    ...blocks.flat(),
    { name: 'visual.merger.ln_q.weight', shape: [width] },
    ...linear('visual.merger.mlp.0', 4 * width, 4 * width),
    ...linear('visual.merger.mlp.2', hidden, 4 * width),
  ];
}

function textTensors(shape: Shape): NamedShape[] {
  const { hidden, intermediate } = shape;
  const kv = shape.kvHeads * shape.headDim;
  const layers = Array.from({ length: shape.layers }, (_, layer) => {
    const at = `model.layers.${layer}`;
    return [
      { name: `${at}.input_layernorm.weight`, shape: [hidden] },
      ...linear(`${at}.self_attn.q_proj`, hidden, hidden),
      ...linear(`${at}.self_attn.k_proj`, kv, hidden),
      ...linear(`${at}.self_attn.v_proj`, kv, hidden),
      ...linear(`${at}.self_attn.o_proj`, hidden, hidden, false),
      { name: `${at}.post_attention_layernorm.weight`, shape: [hidden] },
      ...linear(`${at}.mlp.gate_proj`, intermediate, hidden, false),
      ...linear(`${at}.mlp.up_proj`, intermediate, hidden, false),
      ...linear(`${at}.mlp.down_proj`, hidden, intermediate, false),
    ];
  });
  return [
    { name: 'model.embed_tokens.weight', shape: [shape.vocab, hidden] },
    ...layers.flat(),
    { name: 'model.norm.weight', shape: [hidden] },
    { name: 'lm_head.weight', shape: [shape.vocab, hidden] },
  ];
}

/** Every tensor of the thinker in the published order, with its `thinker.` prefix: 1,346 for the 7B shape. */
export function tensorsOf(shape: Shape): NamedShape[] {
  return [...audioTensors(shape), ...visionTensors(shape), ...textTensors(shape)].map((tensor) => ({
    ...tensor,
    name: `thinker.${tensor.name}`,
  }));
}

/**
 * config.json in the published nested layout; `firstSpecial` is the id of `<|endoftext|>`,
 * from which all others follow.
 */
export function configOf(shape: Shape, firstSpecial: number, dtype: string): object {
  const id = (place: number): number => firstSpecial + place;
  return {
    architectures: ['Qwen2_5OmniForConditionalGeneration'],
    enable_audio_output: false,
    enable_talker: false,
    model_type: 'qwen2_5_omni',
    torch_dtype: dtype,
    transformers_version: '4.52.4',
    thinker_config: {
      architectures: ['Qwen2OmniNaViTThinkerForConditionalGeneration'],
      model_type: 'qwen2_5_omni_thinker',
      torch_dtype: dtype,
      pad_token_id: id(0),
      bos_token_id: id(1),
      eos_token_id: id(2),
      audio_token_index: id(3),
      audio_start_token_id: id(4),
      audio_end_token_id: id(5),
      vision_start_token_id: id(9),
      vision_end_token_id: id(10),
      vision_token_id: id(11),
      image_token_index: id(12),
      video_token_index: id(13),
      user_token_id: 872,
      ignore_index: -100,
      position_id_per_seconds: 25,
      seconds_per_chunk: 2,
      init_std: 0.02,
      audio_config: {
        model_type: 'qwen2_5_omni_audio_encoder',
        num_mel_bins: 128,
        d_model: shape.audio.hidden,
        encoder_layers: shape.audio.layers,
        num_hidden_layers: shape.audio.layers,
        encoder_attention_heads: shape.audio.heads,
        encoder_ffn_dim: shape.audio.ffn,
        activation_function: 'gelu',
        scale_embedding: false,
        max_source_positions: 1500,
        n_window: 100,
        output_dim: shape.hidden,
      },
      text_config: {
        model_type: 'qwen2_5_omni_text',
        hidden_act: 'silu',
        hidden_size: shape.hidden,
        intermediate_size: shape.intermediate,
        vocab_size: shape.vocab,
        num_attention_heads: shape.heads,
        num_hidden_layers: shape.layers,
        num_key_value_heads: shape.kvHeads,
        max_position_embeddings: 32768,
        max_window_layers: shape.layers,
        rms_norm_eps: 1e-6,
        rope_theta: 1e6,
        use_sliding_window: false,
        sliding_window: 32768,
        rope_scaling: { mrope_section: shape.mropeSection, rope_type: 'default', type: 'default' },
        tie_word_embeddings: false,
      },
      vision_config: {
        model_type: 'qwen2_5_omni_vision_encoder',
        depth: shape.vision.depth,
        embed_dim: shape.vision.hidden,
        hidden_size: shape.vision.hidden,
        hidden_act: 'silu',
        intermediate_size: shape.vision.intermediate,
        num_heads: shape.vision.heads,
        in_channels: 3,
        in_chans: 3,
        patch_size: 14,
        spatial_merge_size: 2,
        spatial_patch_size: 14,
        temporal_patch_size: 2,
        tokens_per_second: 25,
        window_size: 112,
        out_hidden_size: shape.hidden,
        fullatt_block_indexes: shape.vision.full,
      },
    },
  };
}
