// The options of a caption, in one schema: the fields of HTTP requests and the flags of the command line, with their
// help, come from it.
import Type from 'typebox';
import { checkFields, type NameField } from '../base/check-value.ts';
import { AvocadoError } from '../base/errors.ts';
import type { CaptionRequest, ProfileField } from '../output/events.ts';

const positive = (description: string) => Type.Optional(Type.Number({ exclusiveMinimum: 0, description }));
const count = (description: string) => Type.Optional(Type.Integer({ minimum: 1, description }));
const penalty = (description: string) => Type.Optional(Type.Number({ minimum: -2, maximum: 2, description }));
const text = (description: string, limits: { readonly minLength?: number; readonly maxLength?: number }) =>
  Type.Optional(Type.String({ ...limits, description }));
const whole = (description: string, minimum: number, maximum?: number) =>
  Type.Optional(Type.Integer({ minimum, ...(maximum === undefined ? {} : { maximum }), description }));

/** Pre-processing: the named profile's fields, each of which a request may set. */
export const PROFILE_PROPERTIES = {
  fps: positive('frames per second to look at'),
  nframes: count('a fixed number of frames, instead of fps'),
  min_frames: count('fewest frames'),
  max_frames: count('most frames'),
  min_pixels: count('fewest pixels of a frame'),
  max_pixels: count('most pixels of a frame'),
  total_pixels: count('most pixels of all frames together'),
  processor_min_pixels: count('fewest pixels of a frame after the second resize'),
  processor_max_pixels: count('most pixels of a frame after the second resize'),
  processor_fps: positive('frames per second that the positions assume'),
} as const;

export const OPTION_PROPERTIES = {
  prompt: text('what to ask, in your words', { minLength: 1, maxLength: 100_000 }),
  // AVoCaDO has seven; a model directory may bring its own list.
  prompt_id: whole('one of the model’s own prompts (default: 1)', 1, 7),
  system_prompt: text('system prompt', { maxLength: 100_000 }),
  audio: Type.Optional(Type.Boolean({ description: 'whether the model hears the sound track (default: true)' })),
  profile: text('pre-processing: paper, reference-cli, or the model’s own', { minLength: 1 }),
  ...PROFILE_PROPERTIES,
  max_tokens: count('most tokens of the caption'),
  temperature: Type.Optional(
    Type.Number({ minimum: 0, maximum: 2, description: 'randomness of sampling, 0 = greedy (default: 0)' }),
  ),
  top_p: Type.Optional(
    Type.Number({
      exclusiveMinimum: 0,
      maximum: 1,
      description: 'nucleus sampling: only the likeliest tokens whose probabilities sum to this, 1 = off (default: 1)',
    }),
  ),
  top_k: whole('only so many of the likeliest tokens, 0 = off (default: 0)', 0),
  seed: whole('of sampling: the same seed gives the same caption', 0, Number.MAX_SAFE_INTEGER),
  repetition_penalty: positive(
    'makes tokens of the prompt and of the caption so far less likely, 1 = off (default: 1)',
  ),
  // As in OpenAI's API.
  presence_penalty: penalty('subtracted once from the logits of tokens already generated, 0 = off (default: 0)'),
  frequency_penalty: penalty('the same, for each time a token was generated, 0 = off (default: 0)'),
  n: whole('captions of each file; they differ where the temperature is above 0 (default: 1)', 1, 8),
  repetition_guard: Type.Optional(
    Type.Boolean({ description: 'end a caption that repeats itself endlessly, with finish reason repetition' }),
  ),
  logprobs: whole('tokens with their log-probabilities, and so many alternatives to each', 0, 20),
  stop: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 1000 }), {
      maxItems: 16,
      description: 'end the caption before any of these texts',
    }),
  ),
} as const;

const CAPTION_OPTIONS = Type.Object(OPTION_PROPERTIES, { additionalProperties: false });
export type CaptionOptions = Type.Static<typeof CAPTION_OPTIONS>;

const PROFILE_FIELDS: Record<keyof typeof PROFILE_PROPERTIES, ProfileField> = {
  fps: 'fps',
  nframes: 'nframes',
  min_frames: 'minFrames',
  max_frames: 'maxFrames',
  min_pixels: 'minPixels',
  max_pixels: 'maxPixels',
  total_pixels: 'totalPixels',
  processor_min_pixels: 'processorMinPixels',
  processor_max_pixels: 'processorMaxPixels',
  processor_fps: 'processorFps',
};

function profileOf(options: CaptionOptions): CaptionRequest['profile'] {
  const profile: Partial<Record<ProfileField, number>> = {};
  for (const [name, field] of Object.entries(PROFILE_FIELDS) as [keyof typeof PROFILE_FIELDS, ProfileField][]) {
    const value = options[name];
    if (value !== undefined) profile[field] = value;
  }
  return profile;
}

/**
 * One file and checked options as a request. Defaults are the reference's: greedy, sound on.
 * @throws AvocadoError `bad_request` for options that exclude each other or are not in the schema
 */
export function captionRequest(path: string, value: unknown, nameField: NameField = (field) => field): CaptionRequest {
  const options = checkFields(CAPTION_OPTIONS, value, nameField);
  if (options.prompt !== undefined && options.prompt_id !== undefined) {
    throw new AvocadoError(
      'bad_request',
      `${nameField('prompt')} and ${nameField('prompt_id')} exclude each other: give one of them.`,
      { param: 'prompt_id' },
    );
  }
  return {
    path,
    prompt: options.prompt,
    promptId: options.prompt_id,
    systemPrompt: options.system_prompt,
    useAudio: options.audio ?? true,
    profileName: options.profile,
    profile: profileOf(options),
    maxTokens: options.max_tokens,
    stop: options.stop ?? [],
    sampling: {
      temperature: options.temperature ?? 0,
      topP: options.top_p ?? 1,
      topK: options.top_k ?? 0,
      repetitionPenalty: options.repetition_penalty ?? 1,
      presencePenalty: options.presence_penalty ?? 0,
      frequencyPenalty: options.frequency_penalty ?? 0,
      seed: options.seed,
    },
    priority: 'interactive',
    samples: options.n ?? 1,
    topLogprobs: options.logprobs,
    repetitionGuard: options.repetition_guard ?? false,
  };
}
