// Reads the body of POST /v1/chat/completions. Pure: no I/O, and it does not know the model.
import Type from 'typebox';
import { AvocadoError } from '../base/errors.ts';
import type { Priority } from '../output/events.ts';
import { checkValue } from '../base/check-value.ts';
import { CHAT_FIELDS, CHAT_PROPERTIES, classifyFields, isFields, type ChatFields } from './classify-fields.ts';
import { MESSAGES_SCHEMA, readMessages, type Conversation, type MediaPart } from './messages.ts';

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

/** A caption option, the field it came from and its value there. */
type Setting = readonly [option: string, field: string, value: unknown];

function conflict(one: string, other: string): AvocadoError {
  return new AvocadoError('bad_request', `${one} and ${other} say different things: give one of them.`, { param: one });
}

function mediaSettings({
  mm_processor_kwargs: processor = {},
  media_io_kwargs: io = {},
  audio,
}: ChatFields): Setting[] {
  const { use_audio_in_video: inVideo, ...profile } = processor;
  const { fps, num_frames: frames } = io.video ?? {};
  const rate = fps === -1 ? undefined : (fps ?? profile.fps);
  return [
    ['audio', 'audio', audio],
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

function settings(fields: ChatFields, { prompt, systemPrompt }: Conversation): Setting[] {
  const { stop, top_k: topK, logprobs, top_logprobs: topLogprobs } = fields;
  const plain = (
    [
      'max_tokens',
      'temperature',
      'top_p',
      'seed',
      'n',
      'presence_penalty',
      'frequency_penalty',
      'repetition_penalty',
      'profile',
      'prompt_id',
      'repetition_guard',
    ] as const
  ).map((name): Setting => [name, name, fields[name]]);
  return [
    ['prompt', 'messages', prompt],
    ['system_prompt', 'messages', systemPrompt],
    ...plain,
    ['max_tokens', 'max_completion_tokens', fields.max_completion_tokens],
    ['top_k', 'top_k', topK === -1 ? 0 : topK],
    ['stop', 'stop', typeof stop === 'string' ? [stop] : stop],
    ['logprobs', 'top_logprobs', logprobs === true ? (topLogprobs ?? 0) : undefined],
    ...mediaSettings(fields),
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
  if (!isFields(body))
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
    ignored,
    nameField: (option) => names.get(option) ?? option,
  };
}
