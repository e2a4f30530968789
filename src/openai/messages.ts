// A conversation as one caption request: a system prompt, a question, a file.
import Type from 'typebox';
import { AvocadoError } from '../base/errors.ts';
import { checkValue } from '../base/check-value.ts';
import { isMediaPart, MEDIA_PARTS, readMediaPart, type MediaPart } from './media-part.ts';

const PART = Type.Object({ type: Type.String() });
const TEXT_PART = Type.Object({ type: Type.Literal('text'), text: Type.String({ maxLength: 100_000 }) });
const MESSAGE = Type.Object({ role: Type.String(), content: Type.Unknown() });
const MESSAGES = Type.Array(MESSAGE, { minItems: 1, maxItems: 64 });
const PARTS = Type.Array(Type.Unknown(), { maxItems: 256 });

/** For the API's description; what a request gets wrong is told part by part. */
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

export interface Conversation {
  readonly systemPrompt: string | undefined;
  /** undefined = the model's own */
  readonly prompt: string | undefined;
  readonly media: MediaPart;
}

interface Content {
  readonly texts: readonly string[];
  readonly media: readonly MediaPart[];
}

function readContent(content: unknown, at: string): Content {
  if (typeof content === 'string') return { texts: [content], media: [] };
  if (!Array.isArray(content))
    throw new AvocadoError('bad_request', `${at} must be a text or a list of parts.`, { param: at });
  const texts: string[] = [];
  const media: MediaPart[] = [];
  for (const [index, value] of checkValue(PARTS, content, at).entries()) {
    const partAt = `${at}[${index}]`;
    const part: Readonly<Record<string, unknown>> & { readonly type: string } = checkValue(PART, value, partAt);
    if (part.type === 'text') texts.push(checkValue(TEXT_PART, part, partAt).text);
    else if (isMediaPart(part.type)) media.push(readMediaPart(part.type, part[part.type], `${partAt}.${part.type}`));
    else
      throw new AvocadoError(
        'unsupported_field',
        `${partAt} is of type ${JSON.stringify(part.type.slice(0, 64))}. Known: text, ${Object.keys(MEDIA_PARTS).join(', ')}.`,
        { param: `${partAt}.type` },
      );
  }
  return { texts, media };
}

function joined(texts: readonly string[]): string | undefined {
  const text = texts.filter((one) => one.trim() !== '').join('\n');
  return text === '' ? undefined : text;
}

function onlyMedia(media: readonly MediaPart[], at: string): MediaPart {
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
 * @throws AvocadoError `bad_request`; `unsupported_field` for more files, turns or kinds of parts than a captioner takes
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
  return { systemPrompt: joined(system), prompt: joined(user.texts), media: onlyMedia(user.media, user.at) };
}
