// What the routes answer with, for the API's description. Answers are made elsewhere; tests hold one against the other.
import Type from 'typebox';
import { ERRORS } from '../../../base/errors.ts';

const seconds = (description: string) => Type.Number({ minimum: 0, description });
const tokens = (description: string) => Type.Integer({ minimum: 0, description });
const FINISH_REASON = Type.Enum(['stop', 'length', 'repetition'], {
  description:
    'why the caption ended: the model did, max_tokens was reached, or it repeated itself and repetition_guard was on',
});

export const ERROR = Type.Object(
  {
    error: Type.Object({
      message: Type.String({ description: 'what is wrong, and what to do next' }),
      type: Type.Enum([
        'invalid_request_error',
        'authentication_error',
        'permission_error',
        'rate_limit_error',
        'server_error',
      ]),
      param: Type.Union([Type.String(), Type.Null()], { description: 'the field at fault' }),
      code: Type.Enum(Object.keys(ERRORS) as [string, ...string[]]),
    }),
  },
  { $id: 'Error', description: 'Every answer that is not 2xx, in the shape of OpenAI’s.' },
);

const MODALITIES = {
  text_tokens: tokens('of the words'),
  video_tokens: tokens('of the frames'),
  audio_tokens: tokens('of the sound'),
  image_tokens: tokens('of a picture'),
};
const CACHED = { cached_tokens: tokens('not read again: an earlier request had the same clip') };

const USAGE = Type.Object(
  {
    prompt_tokens: tokens('of prompt and media'),
    completion_tokens: tokens('of the caption, all samples together'),
    total_tokens: tokens('both'),
    prompt_tokens_details: Type.Object({ ...MODALITIES, ...CACHED }),
  },
  { $id: 'Usage' },
);

const AUDIO = Type.Object({
  present: Type.Boolean({ description: 'the file has sound' }),
  used: Type.Boolean({ description: 'the model heard it' }),
  seconds: seconds('of sound'),
  tokens: tokens('of sound'),
  codec: Type.Optional(Type.String()),
});

const MEDIA = Type.Object(
  {
    kind: Type.Enum(['video', 'audio', 'image']),
    duration_seconds: seconds('playing time'),
    video: Type.Optional(
      Type.Object({
        frames: Type.Integer({ description: 'frames the model saw' }),
        sample_fps: Type.Number(),
        source_fps: Type.Number(),
        width: Type.Integer({ description: 'of a frame as the model saw it' }),
        height: Type.Integer(),
        source_width: Type.Integer(),
        source_height: Type.Integer(),
        codec: Type.String(),
        tokens: tokens('of the frames'),
      }),
    ),
    audio: AUDIO,
    warnings: Type.Array(Type.String(), { description: 'what was odd about the file and did not stop the caption' }),
  },
  { $id: 'Media', description: 'What was seen and heard.' },
);

const TIMINGS = Type.Object(
  {
    total_seconds: seconds('from the request to its caption'),
    first_token_seconds: Type.Optional(seconds('to the first token')),
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
    Type.Array(Type.Number(), { description: 'with token_ids: true; natural logarithms, one a token' }),
  ),
  logprobs: Type.Optional(Type.Array(DETAIL, { description: 'with logprobs: N; as OpenAI’s logprobs.content' })),
};

export const CAPTION = Type.Object(
  {
    id: Type.String({ description: 'the request’s id, as in x-request-id' }),
    caption: Type.String(),
    finish_reason: FINISH_REASON,
    usage: Type.Ref('Usage#'),
    media: Type.Ref('Media#'),
    profile: Type.String({ description: 'pre-processing and its version, such as paper@1' }),
    timings: Type.Ref('Timings#'),
    model: Type.String(),
    captions: Type.Optional(
      Type.Array(
        Type.Object({ index: Type.Integer(), caption: Type.String(), finish_reason: FINISH_REASON, ...TOKENS }),
        { description: 'with n above 1: all of them; what stands beside is the first' },
      ),
    ),
    ...TOKENS,
  },
  { $id: 'Caption' },
);

export const ESTIMATE = Type.Object(
  {
    id: Type.String(),
    media: Type.Object({
      kind: Type.String(),
      duration_seconds: seconds('playing time'),
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
      context: tokens('the model holds'),
      prompt: tokens('the prompt takes'),
      left: tokens('left for the caption'),
      max_tokens: tokens('the caption may have'),
      fits: Type.Boolean({ description: 'false: the caption would be refused with context_length_exceeded' }),
    }),
    expected_seconds: Type.Object({
      work: seconds('when nothing else runs'),
      queue: seconds('until its turn, as the queue stands'),
    }),
    profile: Type.String(),
    model: Type.String(),
  },
  { $id: 'Estimate', description: 'What a caption would take; from the file’s headers alone.' },
);

export const CHAT = Type.Object(
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
      total_tokens: tokens('both'),
      prompt_tokens_details: Type.Object({ ...MODALITIES, ...CACHED }),
      completion_tokens_details: Type.Record(Type.String(), Type.Integer(), {
        description: 'zeros, which OpenAI’s clients read',
      }),
    }),
    system_fingerprint: Type.String({
      description: 'model, precision and profile: the same numbers where it is the same',
    }),
    avocado: Type.Object(
      { profile: Type.String(), media: Type.Ref('Media#'), timings: Type.Ref('Timings#') },
      { description: 'what OpenAI’s answer has no place for' },
    ),
  },
  { $id: 'ChatCompletion', description: 'As OpenAI’s, with what was seen and heard beside it.' },
);

export const MODEL = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('model'),
    created: Type.Integer(),
    owned_by: Type.String(),
    max_model_len: Type.Integer({ description: 'most tokens of prompt and caption together' }),
  },
  { $id: 'Model' },
);
export const MODELS = Type.Object({ object: Type.Literal('list'), data: Type.Array(Type.Ref('Model#')) });

export const LIVENESS = Type.Object(
  {
    status: Type.Enum(['ok', 'stalled', 'stopped']),
    engine: Type.Enum(['loading', 'ready', 'restarting', 'stopped']),
    text: Type.String({ description: 'what the engine is doing, or why it is not ready' }),
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
    status: Type.Enum(['ready', 'loading', 'restarting', 'stopped', 'stopping', 'full']),
    text: Type.String(),
    done: Type.Integer(),
    total: Type.Integer(),
    model: Type.String(),
    free_slots: Type.Integer(),
  },
  { $id: 'Readiness' },
);

/** Schemas that others refer to by name. */
export const SHARED = [ERROR, USAGE, MEDIA, TIMINGS, CAPTION, ESTIMATE, CHAT, MODEL, LIVENESS, READINESS];
