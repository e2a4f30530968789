// Schemas of the responses, for the API's description. The responses are built elsewhere; tests compare the two.
import { Type } from '../../base/schema.ts';
import { ERRORS, type ErrorCode } from '../../base/errors.ts';

const seconds = (description: string) => Type.Number({ minimum: 0, description });
const tokens = (description: string) => Type.Integer({ minimum: 0, description });
const FINISH_REASON = Type.Enum(['stop', 'length', 'repetition'], {
  description:
    'why the caption ended: the model stopped, max_tokens was reached, or repetition_guard found a repetition',
});

const ERROR = Type.Object(
  {
    error: Type.Object({
      message: Type.String({ description: 'what is wrong, and what to do about it' }),
      type: Type.Enum([
        'invalid_request_error',
        'authentication_error',
        'permission_error',
        'rate_limit_error',
        'server_error',
      ]),
      param: Type.Union([Type.String(), Type.Null()], { description: 'the field that caused the error' }),
      code: Type.Enum(Object.keys(ERRORS) as [string, ...string[]]),
    }),
  },
  { $id: 'Error', description: 'Every response that is not 2xx, in the shape of OpenAI’s.' },
);

const MODALITIES = {
  text_tokens: tokens('of the text'),
  video_tokens: tokens('of the frames'),
  audio_tokens: tokens('of the audio'),
  image_tokens: tokens('of an image'),
};
const CACHED = { cached_tokens: tokens('taken from the prefix cache of an earlier request') };

const USAGE = Type.Object(
  {
    prompt_tokens: tokens('of prompt and media'),
    completion_tokens: tokens('of the captions, summed over samples'),
    total_tokens: tokens('sum of the two'),
    prompt_tokens_details: Type.Object({ ...MODALITIES, ...CACHED }),
  },
  { $id: 'Usage' },
);

const AUDIO = Type.Object({
  present: Type.Boolean({ description: 'the file has an audio track' }),
  used: Type.Boolean({ description: 'the model used it' }),
  seconds: seconds('of audio'),
  tokens: tokens('of the audio'),
  codec: Type.Optional(Type.String()),
});

const MEDIA = Type.Object(
  {
    kind: Type.Enum(['video', 'audio', 'image']),
    duration_seconds: seconds('duration'),
    part: Type.Optional(
      Type.Object(
        { start: seconds('of the file'), end: seconds('of the file') },
        { description: 'what was captioned of the file; absent: all of it' },
      ),
    ),
    video: Type.Optional(
      Type.Object({
        frames: Type.Integer({ description: 'frames given to the model' }),
        sample_fps: Type.Number(),
        source_fps: Type.Number(),
        width: Type.Integer({ description: 'of a frame as given to the model' }),
        height: Type.Integer(),
        source_width: Type.Integer(),
        source_height: Type.Integer(),
        codec: Type.String(),
        tokens: tokens('of the frames'),
        tokens_before: Type.Optional(tokens('of the frames, before `compress` left some out')),
      }),
    ),
    audio: AUDIO,
    warnings: Type.Array(Type.String(), { description: 'problems of the file that did not prevent a caption' }),
  },
  { $id: 'Media', description: 'What the model was given.' },
);

const TIMINGS = Type.Object(
  {
    total_seconds: seconds('from the start of the request to its end'),
    first_token_seconds: Type.Optional(seconds('from the start of the request to the first token')),
    tokens_per_second: Type.Optional(Type.Number()),
    stages: Type.Record(Type.String(), Type.Number(), { description: 'seconds by stage' }),
  },
  { $id: 'Timings' },
);

const TOKEN = { token: Type.String(), logprob: Type.Number(), bytes: Type.Array(Type.Integer()) };
const DETAIL = Type.Object({ ...TOKEN, top_logprobs: Type.Array(Type.Object(TOKEN)) });
const TOKENS = {
  token_ids: Type.Optional(Type.Array(Type.Integer(), { description: 'with token_ids: true' })),
  token_logprobs: Type.Optional(
    Type.Array(Type.Number(), { description: 'with token_ids: true; natural logarithms, one per token' }),
  ),
  logprobs: Type.Optional(Type.Array(DETAIL, { description: 'with logprobs: N; like OpenAI’s logprobs.content' })),
};

const SEGMENT = {
  index: Type.Integer(),
  start: seconds('of the file'),
  end: seconds('of the file, not included'),
  start_time: Type.String({ description: 'HH:MM:SS.mmm' }),
  end_time: Type.String(),
  caption: Type.String(),
  finish_reason: FINISH_REASON,
  usage: Type.Optional(Type.Ref('Usage#')),
  timed_by: Type.Optional(
    Type.Literal('model', { description: 'the times are what the model wrote, not cuts of the file' }),
  ),
  details: Type.Optional(
    Type.Record(Type.String(), Type.String(), { description: 'what the model wrote of it, by its names' }),
  ),
  error: Type.Optional(Type.Object({ code: Type.String(), message: Type.String() })),
};

const CAPTION = Type.Object(
  {
    id: Type.String({ description: 'request id, as in the header x-request-id' }),
    caption: Type.String(),
    finish_reason: FINISH_REASON,
    usage: Type.Ref('Usage#'),
    media: Type.Ref('Media#'),
    profile: Type.String({ description: 'name and version of the pre-processing, such as paper@1' }),
    timings: Type.Ref('Timings#'),
    model: Type.String(),
    segments: Type.Optional(
      Type.Array(
        Type.Object({
          ...SEGMENT,
          scenes: Type.Optional(
            Type.Array(Type.Object(SEGMENT), { description: 'what the model cut the segment into itself' }),
          ),
        }),
        {
          description:
            'with segments: in order, without gaps; caption is the timeline of all. Of a model that writes scenes: those',
        },
      ),
    ),
    merge: Type.Optional(
      Type.Object(
        {
          status: Type.Enum(['merged', 'refused', 'failed'], { description: 'caption is the timeline but for merged' }),
          model: Type.String({ description: 'the text model' }),
          reason: Type.Optional(Type.String()),
          usage: Type.Optional(
            Type.Object({ prompt_tokens: tokens('of the questions'), completion_tokens: tokens('of the answers') }),
          ),
        },
        { description: 'with segments, where the operator named a text model' },
      ),
    ),
    captions: Type.Optional(
      Type.Array(
        Type.Object({ index: Type.Integer(), caption: Type.String(), finish_reason: FINISH_REASON, ...TOKENS }),
        { description: 'with n above 1: all captions; the fields of the response itself are those of the first' },
      ),
    ),
    ...TOKENS,
  },
  { $id: 'Caption' },
);

const ESTIMATE = Type.Object(
  {
    id: Type.String(),
    media: Type.Object({
      kind: Type.String(),
      duration_seconds: seconds('duration'),
      video: Type.Optional(
        Type.Object({
          frames: Type.Integer(),
          sample_fps: Type.Number(),
          width: Type.Integer(),
          height: Type.Integer(),
          tokens: tokens('of the frames'),
        }),
      ),
      audio: AUDIO,
    }),
    prompt_tokens: tokens('of prompt and media'),
    prompt_tokens_details: Type.Object(MODALITIES),
    budget: Type.Object({
      context: tokens('context length of the model'),
      prompt: tokens('of the prompt'),
      left: tokens('left for the caption'),
      max_tokens: tokens('maximum of the caption'),
      fits: Type.Boolean({ description: 'false: the caption would be refused with context_length_exceeded' }),
    }),
    expected_seconds: Type.Object({
      work: seconds('of work, when nothing else runs'),
      queue: seconds('of waiting, given the current queue'),
    }),
    segments: Type.Optional(
      Type.Object(
        { count: Type.Integer({ description: 'about how many' }), seconds: seconds('of one') },
        { description: 'of a file that is captioned in segments; budget is that of one of them' },
      ),
    ),
    profile: Type.String(),
    model: Type.String(),
  },
  { $id: 'Estimate', description: 'What a caption would cost, estimated from the headers of the file.' },
);

const CHAT = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('chat.completion'),
    created: Type.Integer(),
    model: Type.String(),
    choices: Type.Array(
      Type.Object({
        index: Type.Integer(),
        message: Type.Object({ role: Type.Literal('assistant'), content: Type.String(), refusal: Type.Null() }),
        logprobs: Type.Union([Type.Object({ content: Type.Array(DETAIL), refusal: Type.Null() }), Type.Null()]),
        finish_reason: FINISH_REASON,
      }),
    ),
    usage: Type.Object({
      prompt_tokens: tokens('of prompt and media'),
      completion_tokens: tokens('of all choices'),
      total_tokens: tokens('sum of the two'),
      prompt_tokens_details: Type.Object({ ...MODALITIES, ...CACHED }),
      completion_tokens_details: Type.Record(Type.String(), Type.Integer(), {
        description: 'zeros, because OpenAI’s clients read them',
      }),
    }),
    system_fingerprint: Type.String({
      description: 'model, precision and profile; equal fingerprints mean equal numerics',
    }),
    avocado: Type.Object(
      { profile: Type.String(), media: Type.Ref('Media#'), timings: Type.Ref('Timings#') },
      { description: 'what OpenAI’s response has no field for' },
    ),
  },
  { $id: 'ChatCompletion', description: 'Like OpenAI’s, with details about the media.' },
);

const MODEL = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('model'),
    created: Type.Integer(),
    owned_by: Type.String(),
    max_model_len: Type.Integer({ description: 'context length: prompt and caption together' }),
    avocado: Type.Optional(
      Type.Object(
        {
          revision: Type.String({ description: 'name, and a hash of the files of the model' }),
          precision: Type.String(),
          profile: Type.String({ description: 'pre-processing that applies where a request names none' }),
          preset: Type.String({ description: 'whose prompts, limits and output form hold where a request names none' }),
          merge: Type.Optional(Type.String({ description: 'the text model that merges segments' })),
          engine: Type.String({ description: 'version of this software' }),
          slots: Type.Integer({ description: 'captions made at the same time' }),
          fingerprint: Type.String({ description: 'of all that makes captions; lines of jobs tell it too' }),
        },
        { description: 'what makes the captions of this server; absent where its files cannot be read' },
      ),
    ),
  },
  { $id: 'Model' },
);
export const MODELS = Type.Object({ object: Type.Literal('list'), data: Type.Array(Type.Ref('Model#')) });

const LIVENESS = Type.Object(
  {
    status: Type.Enum(['ok', 'stalled', 'stopped']),
    engine: Type.Enum(['loading', 'ready', 'restarting', 'stopped']),
    text: Type.String({ description: 'what the engine does, or why it is not ready' }),
    done: Type.Integer(),
    total: Type.Integer(),
    restarts: Type.Integer(),
    running: Type.Integer(),
    waiting: Type.Integer(),
    steps: Type.Integer(),
  },
  { $id: 'Liveness' },
);

export const READINESS = Type.Object(
  {
    status: Type.Enum(['ready', 'loading', 'restarting', 'stopped', 'stopping', 'full', 'no_storage']),
    text: Type.String(),
    done: Type.Integer(),
    total: Type.Integer(),
    model: Type.String(),
    free_slots: Type.Integer(),
  },
  { $id: 'Readiness' },
);

/** Schemas that responses refer to by name. */
export const SHARED = [ERROR, USAGE, MEDIA, TIMINGS, CAPTION, ESTIMATE, CHAT, MODEL, LIVENESS, READINESS];

/** A response as OpenAPI describes it. */
export interface DocumentedResponse {
  readonly description: string;
  /** has no body */
  readonly type?: 'null';
  readonly content?: Readonly<Record<string, { readonly schema: object }>>;
}

export function jsonResponse(schema: object, description: string): DocumentedResponse {
  return { description, content: { 'application/json': { schema } } };
}

/** @param name `$id` of one of the shared schemas */
export function namedResponse(name: string, description: string): DocumentedResponse {
  return jsonResponse({ $ref: `${name}#` }, description);
}

/** Every code: errors of the command line or of the start reach a client too, as status 500. */
export const ALL_ERRORS = Object.keys(ERRORS) as readonly ErrorCode[];

/** Error responses for some codes of the error table, by status. */
export function errorResponses(codes: readonly ErrorCode[]): Record<number, DocumentedResponse> {
  const byStatus: Record<number, DocumentedResponse> = {};
  for (const status of new Set(codes.map((code) => ERRORS[code].status))) {
    const names = codes
      .filter((code) => ERRORS[code].status === status)
      .map((code) => `\`${code}\`${ERRORS[code].retry ? ' (retry later)' : ''}`);
    byStatus[status] = namedResponse('Error', names.join(', '));
  }
  return byStatus;
}
