// Reads the body of POST /v1/chat/completions. Pure: no I/O, and it does not know the model.
import { Type } from '../base/schema.ts';
import { AvocadoError } from '../base/errors.ts';
import { isJsonObject, type JsonObject } from '../base/json.ts';
import type { Priority } from '../output/events.ts';
import { checkValue } from '../base/check-value.ts';
import { OPTION_PROPERTIES, PROFILE_PROPERTIES } from '../captioner/caption-options.ts';
import { MESSAGES_SCHEMA, readMessages, type Conversation, type MediaPart, type Setting } from './messages.ts';

// Fields under the names of OpenAI and vLLM: the ones we use, the ones that ask for a feature we do not have, and the
// ones we can ignore.
/** vLLM's options of its multimodal processor; here the fields of a pre-processing profile. */
const PROCESSOR_FIELDS = { use_audio_in_video: Type.Optional(Type.Boolean()), ...PROFILE_PROPERTIES } as const;

const VIDEO_FIELDS = {
  /** frames per second to sample; vLLM's -1 leaves it to the profile */
  fps: Type.Optional(Type.Union([PROFILE_PROPERTIES.fps, Type.Literal(-1)])),
  /** frames to sample, or the maximum when `fps` is given too; vLLM's -1 means no limit */
  num_frames: Type.Optional(Type.Union([PROFILE_PROPERTIES.nframes, Type.Literal(-1)])),
} as const;

const STREAM_FIELDS = {
  include_usage: Type.Optional(Type.Boolean()),
  continuous_usage_stats: Type.Optional(Type.Boolean()),
} as const;

/** Options that have the same name and the same meaning for OpenAI, for vLLM or here alone. */
const SHARED_OPTIONS = [
  'max_tokens',
  'min_tokens',
  'ignore_eos',
  'stop_token_ids',
  'temperature',
  'top_p',
  'top_k',
  'min_p',
  'seed',
  'stop',
  'n',
  'presence_penalty',
  'frequency_penalty',
  'repetition_penalty',
  'profile',
  'prompt_id',
  'repetition_guard',
  'compress',
  'audio',
  'start',
  'end',
  'segments',
  'carry',
] as const;

const sharedProperties = Object.fromEntries(SHARED_OPTIONS.map((name) => [name, OPTION_PROPERTIES[name]])) as Pick<
  typeof OPTION_PROPERTIES,
  (typeof SHARED_OPTIONS)[number]
>;

/** All fields of a chat completion that we use, except `messages`. */
const CHAT_PROPERTIES = {
  ...sharedProperties,
  model: Type.Optional(Type.String()),
  max_completion_tokens: OPTION_PROPERTIES.max_tokens,
  stream: Type.Optional(Type.Boolean()),
  stream_options: Type.Optional(Type.Object(STREAM_FIELDS)),
  logprobs: Type.Optional(Type.Boolean()),
  top_logprobs: OPTION_PROPERTIES.logprobs,
  mm_processor_kwargs: Type.Optional(Type.Object(PROCESSOR_FIELDS)),
  media_io_kwargs: Type.Optional(Type.Object({ video: Type.Optional(Type.Object(VIDEO_FIELDS)) })),
  priority: Type.Optional(Type.Enum(['interactive', 'batch'])),
  /** deadline of the whole request, in seconds */
  timeout: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
} as const;

const CHAT_FIELDS = Type.Object(CHAT_PROPERTIES);
type ChatFields = Type.Static<typeof CHAT_FIELDS>;

/** Known fields of nested objects, by the path of the object. */
const NESTED_PROPERTIES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  stream_options: STREAM_FIELDS,
  mm_processor_kwargs: PROCESSOR_FIELDS,
  media_io_kwargs: { video: VIDEO_FIELDS },
  'media_io_kwargs.video': VIDEO_FIELDS,
};

const isEmpty = (value: unknown): boolean => typeof value === 'object' && value !== null && !hasMoreThan(value, 0);

/** Stops counting early: a hostile body may have a million fields. */
function hasMoreThan(value: object, most: number): boolean {
  let count = 0;
  for (const name in value) {
    if (Object.hasOwn(value, name)) count += 1;
    if (count > most) return true;
  }
  return false;
}

/** OpenAI has about forty. Checking fields blocks the event loop, so their number is limited. */
const MOST_FIELDS = 256;

function checkCount(fields: JsonObject, path: string): void {
  if (!hasMoreThan(fields, MOST_FIELDS)) return;
  throw new AvocadoError(
    'bad_request',
    `${path === '' ? 'The body' : path} has more than ${MOST_FIELDS} fields.`,
    path === '' ? {} : { param: path },
  );
}

const isFalse = (value: unknown): boolean => value === false;
const is = (off: unknown) => (value: unknown) => value === off;
const isBlank = (value: unknown): boolean => value === '' || isEmpty(value);

/**
 * Fields of OpenAI, vLLM, SGLang, llama.cpp and transformers that would make another answer than ours. Each function
 * says whether a value leaves the feature off. Null always does.
 */
const IS_OFF: Readonly<Record<string, (value: unknown) => boolean>> = {
  // tools, and answers that are not text
  tools: isEmpty,
  functions: isEmpty,
  tool_choice: (value) => value === 'none' || value === 'auto',
  function_call: (value) => value === 'none' || value === 'auto',
  modalities: (value) => Array.isArray(value) && value.every((one) => one === 'text'),
  prediction: () => false,
  web_search_options: () => false,
  // the form of the text
  response_format: (value) => isJsonObject(value) && value['type'] === 'text',
  ...Object.fromEntries(
    [
      ...['structured_outputs', 'structural_tag', 'regex', 'json_schema', 'grammar', 'ebnf'],
      ...['guided_json', 'guided_regex', 'guided_choice', 'guided_grammar', 'guided_json_object'],
    ].map((name) => [name, (value: unknown) => isBlank(value) || isFalse(value)]),
  ),
  // which tokens are chosen
  logit_bias: isEmpty,
  logits_processors: isEmpty,
  bad_words: isEmpty,
  allowed_token_ids: isEmpty,
  use_beam_search: isFalse,
  best_of: is(1),
  num_beams: is(1),
  length_penalty: is(1),
  typical_p: is(1),
  no_repeat_ngram_size: is(0),
  min_new_tokens: is(0),
  // what the answer holds
  echo: isFalse,
  prompt_logprobs: (value) => value === 0 || value === false,
  skip_special_tokens: is(true),
  include_stop_str_in_output: isFalse,
  // the prompt
  chat_template: isBlank,
  continue_final_message: isFalse,
  add_generation_prompt: is(true),
  documents: isEmpty,
  truncate_prompt_tokens: is(-1),
  // Python clients take this argument and send what is in it.
  extra_body: isEmpty,
};

const PLAIN_TEXT = 'Captions are plain text; ask for another form in the prompt.';
const HINTS: Readonly<Record<string, string>> = {
  response_format: PLAIN_TEXT,
  structured_outputs: PLAIN_TEXT,
  structural_tag: PLAIN_TEXT,
  regex: PLAIN_TEXT,
  json_schema: PLAIN_TEXT,
  grammar: PLAIN_TEXT,
  ebnf: PLAIN_TEXT,
  modalities: 'Answers are text only.',
  audio: 'Answers are text only; audio: true or false says whether to listen to the clip.',
  min_new_tokens: 'Use min_tokens.',
  best_of: 'Use n.',
  chat_template: 'The model brings its own.',
  extra_body: 'It is an argument of Python clients, which send its fields as fields of the body: do the same.',
};

function unsupported(field: string): AvocadoError {
  const hint =
    HINTS[field] ??
    (field.startsWith('guided_') ? PLAIN_TEXT : 'This server captions media with the options that its API lists.');
  return new AvocadoError(
    'unsupported_field',
    `${field} asks for what this server cannot do. ${hint} Leave ${field} out.`,
    { param: field },
  );
}

/** @returns the known fields, at every depth; the paths of all others are added to `ignored` */
function keepKnown(fields: JsonObject, known: JsonObject, at: string, ignored: string[]): JsonObject {
  checkCount(fields, at);
  const kept: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    const path = at === '' ? name : `${at}.${name}`;
    if (path === 'messages') continue;
    if (!Object.hasOwn(known, name)) ignored.push(path);
    else if (value !== null) {
      // For OpenAI, null means the field was left out.
      const inner = NESTED_PROPERTIES[path];
      kept[name] = inner !== undefined && isJsonObject(value) ? keepKnown(value, inner, path, ignored) : value;
    }
  }
  return kept;
}

/**
 * Splits a body into fields we use and names of fields we ignore. OpenAI's clients send many fields by default, so a
 * field that leaves its feature off must not fail the request.
 * @throws AvocadoError `unsupported_field` for a feature we do not have, `bad_request` for too many fields
 */
function classifyFields(body: JsonObject): { readonly kept: JsonObject; readonly ignored: readonly string[] } {
  for (const [name, isOff] of Object.entries(IS_OFF)) {
    const value = Object.hasOwn(body, name) ? body[name] : null;
    if (value !== null && !isOff(value)) throw unsupported(name);
  }
  if (isJsonObject(body['audio'])) throw unsupported('audio'); // OpenAI's own field of that name: a voice to answer with
  const ignored: string[] = [];
  return { kept: keepKnown(body, CHAT_PROPERTIES, '', ignored), ignored };
}

/** The whole body, for the API's description. */
export const CHAT_BODY = Type.Object({ messages: MESSAGES_SCHEMA, ...CHAT_PROPERTIES });

/** The form of the answer. */
interface ChatAnswerShape {
  readonly stream: boolean;
  /** send a last chunk with the usage */
  readonly includeUsage: boolean;
}

export interface ChatRequest {
  /** undefined = the served model */
  readonly model: string | undefined;
  readonly media: MediaPart;
  /** by the names of caption options */
  readonly options: Readonly<Record<string, unknown>>;
  readonly priority: Priority;
  readonly timeoutSeconds: number | undefined;
  readonly answer: ChatAnswerShape;
  /** fields we do not use */
  readonly ignored: readonly string[];
  /** the client's name of a caption option, for error messages */
  readonly nameField: (option: string) => string;
}

function conflict(one: string, other: string): AvocadoError {
  return new AvocadoError('bad_request', `${one} and ${other} say different things: give one of them.`, { param: one });
}

function mediaSettings({ mm_processor_kwargs: processor = {}, media_io_kwargs: io = {} }: ChatFields): Setting[] {
  const { use_audio_in_video: inVideo, ...profile } = processor;
  const { fps, num_frames: frames } = io.video ?? {};
  const rate = fps === -1 ? undefined : (fps ?? profile.fps);
  return [
    ['audio', 'mm_processor_kwargs.use_audio_in_video', inVideo],
    ...Object.entries(profile).map(([name, value]): Setting => [name, `mm_processor_kwargs.${name}`, value]),
    ['fps', 'media_io_kwargs.video.fps', fps === -1 ? undefined : fps],
    [
      rate === undefined ? 'nframes' : 'max_frames',
      'media_io_kwargs.video.num_frames',
      frames === -1 ? undefined : frames,
    ],
  ];
}

function settings(fields: ChatFields, { prompt, systemPrompt, settings: ofPart }: Conversation): Setting[] {
  const { logprobs, top_logprobs: topLogprobs } = fields;
  return [
    ['prompt', 'messages', prompt],
    ['system_prompt', 'messages', systemPrompt],
    ...SHARED_OPTIONS.map((name): Setting => [name, name, fields[name]]),
    // Its chunks add up to the timeline, so the whole answer is it too.
    ['merge', 'segments', fields.segments === undefined ? undefined : false],
    ['max_tokens', 'max_completion_tokens', fields.max_completion_tokens],
    ['logprobs', 'top_logprobs', logprobs === true ? (topLogprobs ?? 0) : undefined],
    ...mediaSettings(fields),
    ...ofPart,
  ];
}

function checkTogether({ stream_options: streamOptions, logprobs, top_logprobs: topLogprobs }: ChatFields): void {
  if (streamOptions?.continuous_usage_stats === true) {
    const param = 'stream_options.continuous_usage_stats';
    throw new AvocadoError(
      'unsupported_field',
      `${param} is not supported: take the usage of the last chunk (stream_options.include_usage).`,
      { param },
    );
  }
  if (topLogprobs !== undefined && logprobs !== true)
    throw new AvocadoError('bad_request', 'top_logprobs needs logprobs: true.', { param: 'top_logprobs' });
}

/**
 * @param body parsed JSON
 * @throws AvocadoError `bad_request`, `unsupported_field`, with the field in `param`
 */
export function readChatRequest(body: unknown): ChatRequest {
  if (!isJsonObject(body))
    throw new AvocadoError('bad_request', 'Send a JSON object with messages, as content type application/json.');
  const { kept, ignored } = classifyFields(body);
  const fields = checkValue(CHAT_FIELDS, kept, '');
  checkTogether(fields);
  const conversation = readMessages(body['messages']);
  const options: Record<string, unknown> = {};
  const names = new Map<string, string>();
  for (const [option, field, value] of settings(fields, conversation)) {
    if (value === undefined) continue;
    if (option in options && options[option] !== value) throw conflict(field, names.get(option) ?? option);
    options[option] = value;
    names.set(option, field);
  }
  return {
    model: fields.model === '' ? undefined : fields.model,
    media: conversation.media,
    options,
    priority: fields.priority ?? 'interactive',
    timeoutSeconds: fields.timeout,
    answer: { stream: fields.stream ?? false, includeUsage: fields.stream_options?.include_usage ?? false },
    ignored: [...ignored, ...conversation.ignored],
    nameField: (option) => names.get(option) ?? option,
  };
}
