// The parts of a user message that bring a file.
import Type from 'typebox';
import { AvocadoError } from '../base/errors.ts';
import { checkValue } from '../base/check-value.ts';

/** A file as a chat names it: by a URL of any kind, or as base64 with the format its sender claims. */
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

/** Their schemas, by the part's `type`, which is also the name of the field that holds them. */
export const MEDIA_PARTS = {
  video_url: URL_PART,
  input_video: DATA_PART,
  audio_url: URL_PART,
  input_audio: DATA_PART,
  image_url: URL_PART,
  file: FILE_PART,
} as const;

export type MediaPartType = keyof typeof MEDIA_PARTS;

export function isMediaPart(type: string): type is MediaPartType {
  return Object.hasOwn(MEDIA_PARTS, type);
}

/** Clients put URLs where base64 belongs; a colon is in no base64. */
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
  throw new AvocadoError(
    'unsupported_field',
    `${at}.file_id names a stored file, and this server stores none. Send file_data, or a video_url.`,
    { param: `${at}.file_id` },
  );
}

/**
 * @param value what lies under the part's own name
 * @param at its path in the body, such as `messages[0].content[1].video_url`
 * @throws AvocadoError `bad_request`, `unsupported_field`
 */
export function readMediaPart(type: MediaPartType, value: unknown, at: string): MediaPart {
  if (type === 'file') return readFile(value, at);
  if (type === 'input_video' || type === 'input_audio') return readData(value, at);
  return { type: 'reference', url: checkValue(URL_PART, value, at).url, param: `${at}.url` };
}
