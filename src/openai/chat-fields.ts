// What a chat completion may ask for here, under OpenAI's and vLLM's names.
import Type from 'typebox';
import { PROFILE_PROPERTIES } from '../captioner/caption-options.ts';

const rate = Type.Optional(Type.Number({ exclusiveMinimum: 0 }));
const count = Type.Optional(Type.Integer({ minimum: 1 }));
const penalty = Type.Optional(Type.Number({ minimum: -2, maximum: 2 }));
const stopText = Type.String({ minLength: 1, maxLength: 1000 });

/** vLLM's name for what its processor is told; here the fields of a profile. */
const PROCESSOR_FIELDS = { use_audio_in_video: Type.Optional(Type.Boolean()), ...PROFILE_PROPERTIES } as const;

const VIDEO_FIELDS = {
  /** frames a second to look at; vLLM's -1 leaves it to the profile */
  fps: Type.Optional(Type.Union([Type.Number({ exclusiveMinimum: 0 }), Type.Literal(-1)])),
  /** frames to look at; beside `fps` the most of them; vLLM's -1 sets no number */
  num_frames: Type.Optional(Type.Union([Type.Integer({ minimum: 1 }), Type.Literal(-1)])),
} as const;

const STREAM_FIELDS = {
  include_usage: Type.Optional(Type.Boolean()),
  continuous_usage_stats: Type.Optional(Type.Boolean()),
} as const;

/** Everything a chat may ask for but its messages. */
export const CHAT_PROPERTIES = {
  model: Type.Optional(Type.String()),
  max_tokens: count,
  max_completion_tokens: count,
  /** 0 = greedy, the default: the model was evaluated so */
  temperature: Type.Optional(Type.Number({ minimum: 0, maximum: 2 })),
  top_p: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1 })),
  /** 0 or -1 = off */
  top_k: Type.Optional(Type.Integer({ minimum: -1 })),
  seed: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
  stop: Type.Optional(Type.Union([stopText, Type.Array(stopText, { maxItems: 16 })])),
  n: Type.Optional(Type.Integer({ minimum: 1, maximum: 8 })),
  stream: Type.Optional(Type.Boolean()),
  stream_options: Type.Optional(Type.Object(STREAM_FIELDS)),
  logprobs: Type.Optional(Type.Boolean()),
  top_logprobs: Type.Optional(Type.Integer({ minimum: 0, maximum: 20 })),
  presence_penalty: penalty,
  frequency_penalty: penalty,
  repetition_penalty: rate,
  mm_processor_kwargs: Type.Optional(Type.Object(PROCESSOR_FIELDS)),
  media_io_kwargs: Type.Optional(Type.Object({ video: Type.Optional(Type.Object(VIDEO_FIELDS)) })),
  profile: Type.Optional(Type.String({ minLength: 1 })),
  prompt_id: count,
  priority: Type.Optional(Type.Enum(['interactive', 'batch'])),
  /** seconds the caption may take in all */
  timeout: rate,
  repetition_guard: Type.Optional(Type.Boolean()),
  /** listen to the video's sound */
  audio: Type.Optional(Type.Boolean()),
} as const;

export const CHAT_FIELDS = Type.Object(CHAT_PROPERTIES);
export type ChatFields = Type.Static<typeof CHAT_FIELDS>;

/** Objects whose own fields are looked through as well. */
export const NESTED_PROPERTIES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  stream_options: STREAM_FIELDS,
  mm_processor_kwargs: PROCESSOR_FIELDS,
  media_io_kwargs: { video: VIDEO_FIELDS },
  'media_io_kwargs.video': VIDEO_FIELDS,
};
