// What a person may ask of a caption, once: the HTTP door's fields and the command line's flags are both read through this schema.
import Type from 'typebox';
import { Check, Errors } from 'typebox/value';
import { AvocadoError } from '../base/errors.ts';
import type { CaptionRequest, ProfileField } from '../output/events.ts';

const positive = Type.Optional(Type.Number({ exclusiveMinimum: 0 }));
const count = Type.Optional(Type.Integer({ minimum: 1 }));
const penalty = Type.Optional(Type.Number({ minimum: -2, maximum: 2 }));

/** Pre-processing: the named profile's fields, each of which a request may set. */
export const PROFILE_PROPERTIES = {
  fps: positive,
  nframes: count,
  min_frames: count,
  max_frames: count,
  min_pixels: count,
  max_pixels: count,
  total_pixels: count,
  processor_min_pixels: count,
  processor_max_pixels: count,
  processor_fps: positive,
} as const;

export const OPTION_PROPERTIES = {
  prompt: Type.Optional(Type.String({ minLength: 1, maxLength: 100_000 })),
  /** AVoCaDO has seven; a model directory may bring its own list */
  prompt_id: Type.Optional(Type.Integer({ minimum: 1, maximum: 7 })),
  system_prompt: Type.Optional(Type.String({ maxLength: 100_000 })),
  audio: Type.Optional(Type.Boolean()),
  profile: Type.Optional(Type.String({ minLength: 1 })),
  ...PROFILE_PROPERTIES,
  max_tokens: count,
  /** 0 = greedy */
  temperature: Type.Optional(Type.Number({ minimum: 0, maximum: 2 })),
  top_p: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1 })),
  /** 0 = off */
  top_k: Type.Optional(Type.Integer({ minimum: 0 })),
  seed: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
  repetition_penalty: positive,
  /** OpenAI's: against tokens that were generated before, once each, and once for every time */
  presence_penalty: penalty,
  frequency_penalty: penalty,
  /** captions of the one prompt; they differ only where temperature > 0 */
  n: Type.Optional(Type.Integer({ minimum: 1, maximum: 8 })),
  /** end a caption that repeats itself without end, with finish reason `repetition` */
  repetition_guard: Type.Optional(Type.Boolean()),
  /** how many alternatives to tell beside each token's log-probability */
  logprobs: Type.Optional(Type.Integer({ minimum: 0, maximum: 20 })),
  stop: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 1000 }), { maxItems: 16 })),
} as const;

const CAPTION_OPTIONS = Type.Object(OPTION_PROPERTIES, { additionalProperties: false });
export type CaptionOptions = Type.Static<typeof CAPTION_OPTIONS>;

/** How a door calls a field when it complains: `top_p` over HTTP, `--top-p` on the command line. */
export type NameField = (field: string) => string;

/** `/stop/0` → `stop` */
function fieldOf(instancePath: string): string {
  return instancePath.split('/')[1] ?? '';
}

/**
 * Checks a value against a closed object schema and returns it with its type.
 * @throws AvocadoError `unknown_field` or `bad_request`, whose `param` is the field at fault
 */
export function checkFields<S extends Type.TSchema>(
  schema: S,
  value: unknown,
  nameField: NameField = (field) => field,
): Type.Static<S> {
  if (Check(schema, value)) return value;
  // The deepest errors come first; an unknown field matters more than a wrong one, since it is often the reason of it.
  const errors = Errors(schema, value);
  for (const error of errors) {
    if (error.keyword !== 'additionalProperties') continue;
    const field = error.params.additionalProperties[0] ?? '';
    throw new AvocadoError(
      'unknown_field',
      `${nameField(field)} is not a field this request has. Correct its name or leave it out.`,
      { param: field },
    );
  }
  const error = errors[0];
  if (error === undefined) throw new Error('A value failed its schema without an error. This is a bug.');
  const missing = error.keyword === 'required' ? error.params.requiredProperties[0] : undefined;
  if (missing !== undefined)
    throw new AvocadoError('bad_request', `${nameField(missing)} is missing.`, { param: missing });
  const field = fieldOf(error.instancePath);
  const subject = field === '' ? 'The request' : nameField(field);
  throw new AvocadoError('bad_request', `${subject} ${error.message}.`, field === '' ? {} : { param: field });
}

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
