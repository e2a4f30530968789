// The options of a caption, in one schema: the fields of HTTP requests and the flags of the command line, with their
// help, come from it.
import { Type } from '../base/schema.ts';
import { checkFields, type NameField } from '../base/check-value.ts';
import { AvocadoError } from '../base/errors.ts';
import { PROFILE_LIMITS } from '../media/profile.ts';
import type { CaptionRequest, ProfileField, RequestedSampling } from '../output/events.ts';

/** No context is longer: the budget decides, and arithmetic with such numbers is exact. */
const MOST_TOKENS = 2 ** 31 - 1;

/** A field of the profile, within its limits. */
const ofProfile = (field: ProfileField, description: string) => {
  const { type, least, most } = PROFILE_LIMITS[field];
  const limits = { minimum: least, maximum: most, description };
  return Type.Optional(type === 'integer' ? Type.Integer(limits) : Type.Number(limits));
};
const penalty = (description: string) => Type.Optional(Type.Number({ minimum: -2, maximum: 2, description }));
const text = (description: string, limits: { readonly minLength?: number; readonly maxLength?: number }) =>
  Type.Optional(Type.String({ ...limits, description }));
const whole = (description: string, minimum: number, maximum: number) =>
  Type.Optional(Type.Integer({ minimum, maximum, description }));
/** No file lasts longer. */
const MOST_SECONDS = 1_000_000;
const second = (description: string) => Type.Optional(Type.Number({ minimum: 0, maximum: MOST_SECONDS, description }));
const flag = (description: string) => Type.Optional(Type.Boolean({ description }));

/** Pre-processing: the named profile's fields, each of which a request may set. */
export const PROFILE_PROPERTIES = {
  fps: ofProfile('fps', 'frames per second to look at'),
  nframes: ofProfile('nframes', 'a fixed number of frames, instead of fps'),
  min_frames: ofProfile('minFrames', 'fewest frames'),
  max_frames: ofProfile('maxFrames', 'most frames'),
  min_pixels: ofProfile('minPixels', 'fewest pixels of a frame'),
  max_pixels: ofProfile('maxPixels', 'most pixels of a frame'),
  total_pixels: ofProfile('totalPixels', 'most pixels of all frames together'),
  processor_min_pixels: ofProfile('processorMinPixels', 'fewest pixels of a frame after the second resize'),
  processor_max_pixels: ofProfile('processorMaxPixels', 'most pixels of a frame after the second resize'),
  processor_fps: ofProfile('processorFps', 'frames per second that the positions assume'),
} as const;

/** `dtd:0.25`: the method, and the share that is kept. */
const COMPRESS = /^dtd(?::(\d*\.?\d+))?$/;
const COMPRESS_SHARE = 0.5;

const STOP_TEXT = Type.String({ minLength: 1, maxLength: 1000 });

export const OPTION_PROPERTIES = {
  prompt: text('what to ask, in your words', { minLength: 1, maxLength: 100_000 }),
  // AVoCaDO has seven; a model directory may bring its own list.
  prompt_id: whole('one of the model’s own prompts (default: 1)', 1, 1000),
  system_prompt: text('system prompt', { maxLength: 100_000 }),
  start: second('seconds of the file where what is captioned starts (default: 0)'),
  end: second('seconds of the file where what is captioned ends (default: the end of the file)'),
  video_start: second('as start, by the rule of Qwen’s tools: frames by number, at the average rate'),
  video_end: second('as end, by the same rule; the frame at that time belongs to the part'),
  segments: Type.Optional(
    Type.Union([Type.Enum(['auto', 'off']), Type.Number({ minimum: 5, maximum: 300 })], {
      description:
        'caption a long file in segments, with times: auto, where it is longer than 120 s or does not fit the context; ' +
        'a number, always, with segments of about so many seconds (default: off)',
    }),
  ),
  carry: flag('tell the model the caption of the segment before (default: false)'),
  merge: flag(
    'one text out of the captions of segments, by the text model of the operator (default: true where there is one)',
  ),
  audio: flag('whether the model hears the sound track (default: true)'),
  profile: text('pre-processing: paper, reference-cli, capricorn-eval, or the model’s own', {
    minLength: 1,
    maxLength: 100,
  }),
  ...PROFILE_PROPERTIES,
  max_tokens: whole('most tokens of the caption', 1, MOST_TOKENS),
  min_tokens: whole('before so many tokens nothing ends the caption (default: 0)', 0, MOST_TOKENS),
  ignore_eos: flag('go on where the model would end, up to max_tokens'),
  stop_token_ids: Type.Optional(
    Type.Array(Type.Integer({ minimum: 0, maximum: MOST_TOKENS }), {
      maxItems: 128,
      description: 'token ids that end the caption, beside the model’s own',
    }),
  ),
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
  top_k: whole('only so many of the likeliest tokens, 0 or -1 = off (default: 0)', -1, MOST_TOKENS),
  min_p: Type.Optional(
    Type.Number({
      minimum: 0,
      maximum: 1,
      description: 'only tokens at least this share as likely as the likeliest one, 0 = off (default: 0)',
    }),
  ),
  seed: whole('of sampling: the same seed gives the same caption', -(2 ** 63), 2 ** 64),
  repetition_penalty: Type.Optional(
    Type.Number({
      minimum: 0.01,
      maximum: 100,
      description:
        'makes tokens of the prompt and of the caption so far less likely, 1 = off (default: the model’s own)',
    }),
  ),
  // As in OpenAI's API.
  presence_penalty: penalty('subtracted once from the logits of tokens already generated, 0 = off (default: 0)'),
  frequency_penalty: penalty('the same, for each time a token was generated, 0 = off (default: 0)'),
  n: whole('captions of each file; they differ where the temperature is above 0 (default: 1)', 1, 8),
  compress: text(
    'leave out video tokens that look as one step before: dtd:0.5 keeps half of them, and so does dtd (default: off)',
    { minLength: 1, maxLength: 20 },
  ),
  repetition_guard: flag('end a caption that repeats itself endlessly, with finish reason repetition'),
  logprobs: whole('tokens with their log-probabilities, and so many alternatives to each', 0, 20),
  stop: Type.Optional(
    Type.Union([STOP_TEXT, Type.Array(STOP_TEXT, { maxItems: 16 })], {
      description: 'end the caption before any of these texts',
    }),
  ),
} as const;

/** What a field holds, for front ends that get texts: forms and command lines. */
export type ValueKind = 'text' | 'texts' | 'word' | 'number' | 'numbers' | 'boolean';

export function valueKind(schema: Type.TSchema): ValueKind {
  if (Type.IsBoolean(schema)) return 'boolean';
  if (Type.IsNumber(schema) || Type.IsInteger(schema)) return 'number';
  // a word or a number; one text or a list of them
  if (Type.IsUnion(schema)) return schema.anyOf.some((one) => Type.IsNumber(one)) ? 'word' : 'texts';
  return Type.IsArray(schema) ? 'numbers' : 'text';
}

/** The number in a text, or the text itself, so that the schema reports it. */
export function numberIn(text: string): number | string {
  const number = Number(text);
  return text.trim() === '' || !Number.isFinite(number) ? text : number;
}

/** `1,2` or `[1, 2]` as numbers. */
export function numbersIn(text: string): readonly (number | string)[] {
  return text
    .replace(/^\s*\[(.*)\]\s*$/s, '$1')
    .split(',')
    .map(numberIn);
}

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
 * Seeds are 64-bit numbers, signed or not, in other software. Those that a double holds exactly are taken as they are;
 * of the others the lowest 53 bits count, so that -1 is 2^53 - 1.
 */
function seedOf(seed: number | undefined): number | undefined {
  if (seed === undefined || (seed >= 0 && Number.isSafeInteger(seed))) return seed;
  return Number(BigInt.asUintN(53, BigInt(seed)));
}

function checkTogether(options: CaptionOptions, nameField: NameField): void {
  const refuse = (sentence: string, param: string): never => {
    throw new AvocadoError('bad_request', sentence, { param });
  };
  const { prompt, prompt_id: promptId, min_tokens: fewest, max_tokens: most } = options;
  if (prompt !== undefined && promptId !== undefined)
    refuse(`${nameField('prompt')} and ${nameField('prompt_id')} exclude each other: give one of them.`, 'prompt_id');
  const { segments = 'off', n: count = 1, video_start: first, video_end: last } = options;
  if (segments !== 'off' && count > 1)
    refuse(`${nameField('n')} must be 1 with ${nameField('segments')}: a segment has one caption.`, 'n');
  if (segments === 'off' && options.merge === true)
    refuse(`${nameField('merge')} needs ${nameField('segments')}: there is nothing to merge without.`, 'merge');
  if (segments !== 'off' && (first !== undefined || last !== undefined))
    refuse(`${nameField('segments')} needs ${nameField('start')} and ${nameField('end')}.`, 'segments');
  if (fewest !== undefined && most !== undefined && fewest > most)
    refuse(`${nameField('min_tokens')} is ${fewest}, which is more than max_tokens (${most}).`, 'min_tokens');
}

/** @throws AvocadoError `bad_request` */
function partOf(
  { start, end, video_start: first, video_end: last }: CaptionOptions,
  nameField: NameField,
): CaptionRequest['part'] {
  const ours = start !== undefined || end !== undefined;
  const reference = first !== undefined || last !== undefined;
  if (ours && reference)
    throw new AvocadoError('bad_request', 'start and end, and video_start and video_end, exclude each other.', {
      param: 'start',
    });
  const [from, to] = ours ? [start, end] : [first, last];
  if (from !== undefined && to !== undefined && from >= to) {
    const [one, other] = ours ? (['start', 'end'] as const) : (['video_start', 'video_end'] as const);
    const sentence = `${nameField(other)} is ${to}, which is not after ${nameField(one)} (${from}).`;
    throw new AvocadoError('bad_request', sentence, { param: other });
  }
  return ours || reference ? { rule: ours ? 'time' : 'reference', start: from, end: to } : undefined;
}

function segmentsOf({ segments = 'off' }: CaptionOptions): CaptionRequest['segments'] {
  if (segments === 'off') return undefined;
  return segments === 'auto' ? { when: 'auto' } : { when: 'always', targetSeconds: segments };
}

/** @throws AvocadoError `bad_request` */
function compressOf({ compress }: CaptionOptions, nameField: NameField): number | undefined {
  if (compress === undefined) return undefined;
  const [whole, share = COMPRESS_SHARE] = COMPRESS.exec(compress) ?? [];
  if (whole !== undefined && Number(share) > 0 && Number(share) <= 1) return Number(share);
  const name = nameField('compress');
  throw new AvocadoError(
    'bad_request',
    `${name} must be dtd, or dtd and the share of video tokens to keep, from above 0 to 1, such as dtd:0.5.`,
    { param: 'compress' },
  );
}

function samplingOf(options: CaptionOptions): RequestedSampling {
  return {
    temperature: options.temperature ?? 0,
    topP: options.top_p ?? 1,
    topK: Math.max(0, options.top_k ?? 0),
    minP: options.min_p ?? 0,
    repetitionPenalty: options.repetition_penalty,
    presencePenalty: options.presence_penalty ?? 0,
    frequencyPenalty: options.frequency_penalty ?? 0,
    seed: seedOf(options.seed),
  };
}

/**
 * One file and checked options as a request. Defaults are the reference's: greedy, sound on.
 * @throws AvocadoError `bad_request` for options that exclude each other or are not in the schema
 */
export function captionRequest(path: string, value: unknown, nameField: NameField = (field) => field): CaptionRequest {
  const options = checkFields(CAPTION_OPTIONS, value, nameField);
  checkTogether(options, nameField);
  const { stop = [] } = options;
  return {
    path,
    segments: segmentsOf(options),
    carry: options.carry ?? false,
    merge: options.merge,
    part: partOf(options, nameField),
    prompt: options.prompt,
    promptId: options.prompt_id,
    systemPrompt: options.system_prompt,
    useAudio: options.audio ?? true,
    profileName: options.profile,
    profile: profileOf(options),
    maxTokens: options.max_tokens,
    minTokens: options.min_tokens ?? 0,
    ignoreEos: options.ignore_eos ?? false,
    stopTokenIds: options.stop_token_ids ?? [],
    stop: typeof stop === 'string' ? [stop] : stop,
    sampling: samplingOf(options),
    priority: 'interactive',
    samples: options.n ?? 1,
    topLogprobs: options.logprobs,
    repetitionGuard: options.repetition_guard ?? false,
    compress: compressOf(options, nameField),
  };
}

/** Fields that are what they are by default are left out. */
function unless<T>(standard: T, value: T): T | undefined {
  return value === standard ? undefined : value;
}

/**
 * The options of a request, so that another process can be asked for the same: `captionRequest` makes the same request
 * of them, but for the path and the priority.
 */
export function optionsOf(request: CaptionRequest): CaptionOptions {
  const { part, segments, profile, sampling, stop, stopTokenIds } = request;
  const [ours, reference] = part?.rule === 'reference' ? [undefined, part] : [part, undefined];
  const options = {
    prompt: request.prompt,
    prompt_id: request.promptId,
    system_prompt: request.systemPrompt,
    start: ours?.start,
    end: ours?.end,
    video_start: reference?.start,
    video_end: reference?.end,
    segments: segments === undefined ? undefined : (segments.targetSeconds ?? 'auto'),
    carry: unless(false, request.carry ?? false),
    merge: request.merge,
    compress: request.compress === undefined ? undefined : `dtd:${request.compress}`,
    audio: unless(true, request.useAudio),
    profile: request.profileName,
    ...profileOptions(profile),
    max_tokens: request.maxTokens,
    min_tokens: unless(0, request.minTokens),
    ignore_eos: unless(false, request.ignoreEos),
    stop_token_ids: stopTokenIds.length === 0 ? undefined : [...stopTokenIds],
    temperature: unless(0, sampling.temperature),
    top_p: unless(1, sampling.topP),
    top_k: unless(0, sampling.topK),
    min_p: unless(0, sampling.minP),
    seed: sampling.seed,
    repetition_penalty: sampling.repetitionPenalty,
    presence_penalty: unless(0, sampling.presencePenalty),
    frequency_penalty: unless(0, sampling.frequencyPenalty),
    n: unless(1, request.samples),
    repetition_guard: unless(false, request.repetitionGuard),
    logprobs: request.topLogprobs,
    stop: stop.length === 0 ? undefined : [...stop],
  } satisfies { readonly [Name in keyof Required<CaptionOptions>]: CaptionOptions[Name] | undefined };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function profileOptions(profile: CaptionRequest['profile']): {
  readonly [Name in keyof typeof PROFILE_FIELDS]: number | undefined;
} {
  const given = Object.entries(PROFILE_FIELDS).map(([name, field]) => [name, profile[field]]);
  return Object.fromEntries(given) as Record<keyof typeof PROFILE_FIELDS, number | undefined>;
}
