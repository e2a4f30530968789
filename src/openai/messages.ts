// A conversation as one caption request: a system prompt, a question, one file.
import { Type } from '../base/schema.ts';
import { checkValue } from '../base/check-value.ts';
import { AvocadoError } from '../base/errors.ts';
import { STORED_FILE } from '../intake/intake.ts';

/** The file of a message: a URL of any kind, or base64 with the format its sender claims. */
export type MediaPart =
  | { readonly type: 'reference'; readonly url: string; readonly param: string }
  | {
      readonly type: 'inline';
      readonly data: string;
      readonly format: string | undefined;
      readonly displayName: string | undefined;
      readonly param: string;
    };

const text = Type.String({ minLength: 1 });
const URL_PART = Type.Object({ url: text });
const DATA_PART = Type.Object({
  data: Type.Optional(text),
  url: Type.Optional(text),
  format: Type.Optional(Type.String({ maxLength: 32 })),
});
const FILE_PART = Type.Object({
  file_data: Type.Optional(text),
  file_id: Type.Optional(Type.Unknown()),
  filename: Type.Optional(Type.String({ maxLength: 1024 })),
});

/** Schemas by the part's `type`, which is also the name of the field with the content. */
const MEDIA_PARTS = {
  video_url: URL_PART,
  input_video: DATA_PART,
  audio_url: URL_PART,
  input_audio: DATA_PART,
  image_url: URL_PART,
  file: FILE_PART,
} as const;

type MediaPartType = keyof typeof MEDIA_PARTS;

function isMediaPart(type: string): type is MediaPartType {
  return Object.hasOwn(MEDIA_PARTS, type);
}

/** Some clients put a URL where base64 belongs. A URL has a colon near its start, base64 has none. */
function inlineOrReference(
  data: string,
  format: string | undefined,
  displayName: string | undefined,
  param: string,
): MediaPart {
  return data.slice(0, 16).includes(':')
    ? { type: 'reference', url: data, param }
    : { type: 'inline', data, format, displayName, param };
}

function readData(value: unknown, at: string): MediaPart {
  const { data, url, format } = checkValue(DATA_PART, value, at);
  if (data !== undefined && url !== undefined)
    throw new AvocadoError('bad_request', `${at} has data and url: give one of them.`, { param: at });
  if (data !== undefined) return inlineOrReference(data, format, undefined, `${at}.data`);
  if (url !== undefined) return { type: 'reference', url, param: `${at}.url` };
  throw new AvocadoError('bad_request', `${at} brings nothing: give data (base64) or url.`, { param: at });
}

function readFile(value: unknown, at: string): MediaPart {
  const { file_data: data, file_id: id, filename } = checkValue(FILE_PART, value, at);
  if (data !== undefined)
    return inlineOrReference(data, /\.([A-Za-z0-9]+)$/.exec(filename ?? '')?.[1], filename, `${at}.file_data`);
  if (id === undefined || id === null)
    throw new AvocadoError('bad_request', `${at} brings nothing: give file_data (base64 or a data URL).`, {
      param: at,
    });
  if (typeof id === 'string' && STORED_FILE.test(id)) return { type: 'reference', url: id, param: `${at}.file_id` };
  throw new AvocadoError(
    'unsupported_field',
    `${at}.file_id is no id of a file at /v1/files. Send file_data, or a video_url.`,
    { param: `${at}.file_id` },
  );
}

/**
 * @param value content of the part
 * @param at its path in the body, such as `messages[0].content[1].video_url`
 * @throws AvocadoError `bad_request`, `unsupported_field`
 */
function readMediaPart(type: MediaPartType, value: unknown, at: string): MediaPart {
  if (type === 'file') return readFile(value, at);
  if (type === 'input_video' || type === 'input_audio') return readData(value, at);
  return { type: 'reference', url: checkValue(URL_PART, value, at).url, param: `${at}.url` };
}

/** A caption option, the field it came from and its value there. */
export type Setting = readonly [option: string, field: string, value: unknown];

/** Fields of a file in Qwen's message format, inside the part's object or beside it, as caption options. */
const PICTURE_FIELDS: Readonly<Record<string, string>> = { min_pixels: 'min_pixels', max_pixels: 'max_pixels' };
const VIDEO_FIELDS: Readonly<Record<string, string>> = {
  ...PICTURE_FIELDS,
  total_pixels: 'total_pixels',
  fps: 'fps',
  nframes: 'nframes',
  num_frames: 'nframes',
  min_frames: 'min_frames',
  max_frames: 'max_frames',
  use_audio_in_video: 'audio',
  video_start: 'video_start',
  video_end: 'video_end',
};
/** More of them, which would make another caption, and what to do instead. */
const UNSUPPORTED_FIELDS: Readonly<Record<string, string>> = {
  resized_height: 'Set min_pixels and max_pixels; the ratio of the sides is kept.',
  resized_width: 'Set min_pixels and max_pixels; the ratio of the sides is kept.',
};

function partOptions(type: MediaPartType): Readonly<Record<string, string>> {
  if (type === 'image_url') return PICTURE_FIELDS;
  return type === 'video_url' || type === 'input_video' || type === 'file' ? VIDEO_FIELDS : {};
}

interface PartFields {
  readonly settings: readonly Setting[];
  /** paths of fields that we do not use */
  readonly ignored: readonly string[];
}

/** @throws AvocadoError `unsupported_field` */
function readPartFields(type: MediaPartType, part: Readonly<Record<string, unknown>>, at: string): PartFields {
  const settings: Setting[] = [];
  const ignored: string[] = [];
  const options = partOptions(type);
  const read = (fields: object, known: readonly string[], path: string): void => {
    for (const [name, value] of Object.entries(fields)) {
      if (known.includes(name) || value === null) continue;
      const field = `${path}.${name}`;
      const option = Object.hasOwn(options, name) ? options[name] : undefined;
      const advice = Object.hasOwn(UNSUPPORTED_FIELDS, name) ? UNSUPPORTED_FIELDS[name] : undefined;
      if (advice !== undefined)
        throw new AvocadoError('unsupported_field', `${field} asks for what this server cannot do. ${advice}`, {
          param: field,
        });
      // -1 leaves it to the profile, as in vLLM.
      if (option !== undefined) settings.push([option, field, value === -1 ? undefined : value]);
      else ignored.push(field);
    }
  };
  read(part, ['type', type], at);
  read(part[type] as object, Object.keys(MEDIA_PARTS[type].properties), `${at}.${type}`);
  return { settings, ignored };
}

const PART = Type.Object({ type: Type.String() });
const TEXT_PART = Type.Object({ type: Type.Literal('text'), text: Type.String({ maxLength: 100_000 }) });
const MESSAGE = Type.Object({ role: Type.String(), content: Type.Unknown() });
const MESSAGES = Type.Array(MESSAGE, { minItems: 1, maxItems: 64 });
const PARTS = Type.Array(Type.Unknown(), { maxItems: 256 });

/** For the API's description only: requests are checked part by part, for better error messages. */
export const MESSAGES_SCHEMA = Type.Array(
  Type.Object({
    role: Type.Enum(['system', 'developer', 'user']),
    content: Type.Union([
      Type.String(),
      Type.Array(
        Type.Union([
          TEXT_PART,
          ...Object.entries(MEDIA_PARTS).map(([type, schema]) =>
            Type.Object({ type: Type.Literal(type), [type]: schema }),
          ),
        ]),
      ),
    ]),
  }),
  { minItems: 1 },
);

export interface Conversation extends PartFields {
  readonly systemPrompt: string | undefined;
  /** undefined = the model's default prompt */
  readonly prompt: string | undefined;
  readonly media: MediaPart;
}

interface Content {
  readonly texts: readonly string[];
  readonly media: readonly (MediaPart & PartFields)[];
}

function readContent(content: unknown, at: string): Content {
  if (typeof content === 'string') return { texts: [content], media: [] };
  if (!Array.isArray(content))
    throw new AvocadoError('bad_request', `${at} must be a text or a list of parts.`, { param: at });
  const texts: string[] = [];
  const media: (MediaPart & PartFields)[] = [];
  for (const [index, value] of checkValue(PARTS, content, at).entries()) {
    const partAt = `${at}[${index}]`;
    const part: Readonly<Record<string, unknown>> & { readonly type: string } = checkValue(PART, value, partAt);
    if (part.type === 'text') texts.push(checkValue(TEXT_PART, part, partAt).text);
    else if (isMediaPart(part.type)) {
      const file = readMediaPart(part.type, part[part.type], `${partAt}.${part.type}`);
      media.push({ ...file, ...readPartFields(part.type, part, partAt) });
    } else
      throw new AvocadoError(
        'unsupported_field',
        `${partAt} is of type ${JSON.stringify(part.type.slice(0, 64))}. ` +
          `Known: text, ${Object.keys(MEDIA_PARTS).join(', ')}.`,
        { param: `${partAt}.type` },
      );
  }
  return { texts, media };
}

function joined(texts: readonly string[]): string | undefined {
  const text = texts.filter((one) => one.trim() !== '').join('\n');
  return text === '' ? undefined : text;
}

function onlyMedia(media: Content['media'], at: string): MediaPart & PartFields {
  const [first, second] = media;
  if (first === undefined) {
    throw new AvocadoError(
      'bad_request',
      `${at} has no media. Add a part such as {"type": "video_url", "video_url": {"url": "https://…"}}.`,
      { param: `${at}.content` },
    );
  }
  if (second === undefined) return first;
  throw new AvocadoError(
    'unsupported_field',
    `${at} brings ${media.length} files; a caption is made of one. Send a request for each.`,
    { param: second.param },
  );
}

/**
 * @param value the body's `messages`: system or developer messages, and one user message with one file
 * @throws AvocadoError `bad_request`; `unsupported_field` for more files or turns, or other parts, than we support
 */
export function readMessages(value: unknown): Conversation {
  const system: string[] = [];
  let user: (Content & { readonly at: string }) | undefined;
  for (const [index, { role, content }] of checkValue(MESSAGES, value, 'messages').entries()) {
    const at = `messages[${index}]`;
    if (role === 'user') {
      if (user !== undefined)
        throw new AvocadoError(
          'unsupported_field',
          `${at} is a second turn; a caption is made in one. Send one user message.`,
          { param: at },
        );
      user = { ...readContent(content, `${at}.content`), at };
    } else if (role === 'system' || role === 'developer') {
      const { texts, media } = readContent(content, `${at}.content`);
      if (media[0] !== undefined)
        throw new AvocadoError('unsupported_field', `${at} brings a file; put it into the user message.`, {
          param: media[0].param,
        });
      system.push(...texts);
    } else if (['assistant', 'tool', 'function'].includes(role)) {
      throw new AvocadoError(
        'unsupported_field',
        `${at} is a turn of role ${role}; a caption is made in one turn. Leave it out.`,
        { param: at },
      );
    } else
      throw new AvocadoError('bad_request', `${at}.role must be system, developer or user.`, { param: `${at}.role` });
  }
  if (user === undefined)
    throw new AvocadoError('bad_request', 'messages has no user message: add one with the file to caption.', {
      param: 'messages',
    });
  const { settings, ignored, ...media } = onlyMedia(user.media, user.at);
  return { systemPrompt: joined(system), prompt: joined(user.texts), media, settings, ignored };
}
