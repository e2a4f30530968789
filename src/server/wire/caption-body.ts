// The body of POST /v1/captions and /v1/captions/estimate: a form with the file, or JSON that names one. Both have the
// caption options and a few fields of HTTP only.
import type { FastifyRequest } from 'fastify';
import { Type } from '../../base/schema.ts';
import type { CaptionTask } from '../../admission/types.ts';
import { checkFields } from '../../base/check-value.ts';
import { AvocadoError } from '../../base/errors.ts';
import { isJsonObject } from '../../base/json.ts';
import { captionRequest, numberIn, numbersIn, OPTION_PROPERTIES, valueKind } from '../../captioner/caption-options.ts';
import type { MediaSource } from '../../intake/media-source.ts';
import type { Priority } from '../../output/events.ts';
import { timeoutOf, type BodyReader, type CaptionParts } from '../caption-route.ts';
import { receiveUpload } from './bodies.ts';

const HTTP_PROPERTIES = {
  /** answer as an event stream */
  stream: Type.Optional(Type.Boolean()),
  /** put token ids and log-probabilities into the answer */
  token_ids: Type.Optional(Type.Boolean()),
  /** deadline in seconds, from the first byte of the request to the response */
  timeout: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
  /** interactive requests go first, but batch requests still make progress */
  priority: Type.Optional(Type.Enum(['interactive', 'batch'])),
} as const;

const FORM_PROPERTIES = { ...OPTION_PROPERTIES, ...HTTP_PROPERTIES } as const;

/** Options of an uploaded file. */
const FORM_BODY = Type.Object(FORM_PROPERTIES, { additionalProperties: false });
/** JSON: the same options, and a reference to the file. */
const JSON_BODY = Type.Object(
  { media: Type.String({ minLength: 1 }), ...FORM_PROPERTIES },
  { additionalProperties: false },
);

/** Form fields as the API's description shows them: the file and `options` are read before the schema applies. */
const DOCUMENTED_FORM = Type.Object(
  {
    file: Type.String({
      contentMediaType: 'application/octet-stream',
      description: 'the video, picture or sound file',
    }),
    options: Type.Optional(Type.String({ description: 'several options as one JSON object' })),
    ...FORM_PROPERTIES,
  },
  { additionalProperties: false },
);

/** A checked body. */
interface CaptionFields {
  readonly options: Readonly<Record<string, unknown>>;
  readonly stream: boolean | undefined;
  readonly tokenIds: boolean;
  readonly timeoutSeconds: number | undefined;
  readonly priority: Priority;
}

function splitFields({
  stream,
  token_ids: tokenIds,
  timeout,
  priority,
  ...options
}: Type.Static<typeof FORM_BODY>): CaptionFields {
  return { options, stream, tokenIds: tokenIds ?? false, timeoutSeconds: timeout, priority: priority ?? 'interactive' };
}

/** For clients that write out what they leave out, null is an absent field, as for OpenAI. */
function withoutNulls(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([name, given]) => given !== null || !isJsonField(name)));
}

/** @throws AvocadoError `unknown_field`, `bad_request` */
export function jsonFields(value: unknown): CaptionFields & { readonly media: string } {
  const { media, ...rest } = checkFields(JSON_BODY, withoutNulls(value));
  return { media, ...splitFields(rest) };
}

type FormField = keyof typeof FORM_PROPERTIES;

function isFormField(name: string): name is FormField {
  return Object.hasOwn(FORM_PROPERTIES, name);
}

function isJsonField(name: string): boolean {
  return name === 'media' || isFormField(name);
}

/** As HTML forms, curl and Python's `requests` write them. */
const BOOLEANS: Readonly<Record<string, boolean>> = {
  true: true,
  1: true,
  on: true,
  yes: true,
  false: false,
  0: false,
  off: false,
  no: false,
};

/** An HTML form sends every field. Only a system prompt can be meant to be empty. */
function isAbsent(name: FormField, text: string): boolean {
  return text === '' && name !== 'system_prompt';
}

/** Form fields are text. Text that does not fit the type of its field stays text, so that the schema reports it. */
function valueOf(name: FormField, text: string): unknown {
  const kind = valueKind(FORM_PROPERTIES[name]);
  switch (kind) {
    case 'text':
      return text;
    case 'texts':
      return [text];
    case 'boolean':
      return Object.hasOwn(BOOLEANS, text.toLowerCase()) ? BOOLEANS[text.toLowerCase()] : text;
    case 'word':
    case 'number':
      return numberIn(text);
    case 'numbers':
      return numbersIn(text);
    default:
      return kind satisfies never;
  }
}

function parseOptions(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new AvocadoError('bad_request', `options is not JSON: ${(cause as Error).message}.`, {
      param: 'options',
      cause,
    });
  }
  if (isJsonObject(value)) return withoutNulls(value) as Record<string, unknown>;
  throw new AvocadoError('bad_request', 'options must be a JSON object.', { param: 'options' });
}

/**
 * The text fields of a form, in order: one field per option, or `options` with several as JSON. Lists (`stop`,
 * `stop_token_ids`) may repeat; empty texts are absent.
 * @throws AvocadoError `unknown_field`, `bad_request`
 */
export function formFields(fields: readonly (readonly [name: string, text: string])[]): CaptionFields {
  const value: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  const set = (name: string, given: unknown): void => {
    if (name in value) throw new AvocadoError('bad_request', `${name} is given twice.`, { param: name });
    value[name] = given;
  };
  for (const [name, text] of fields) {
    if (name === 'options') for (const [key, given] of Object.entries(parseOptions(text))) set(key, given);
    else if (!isFormField(name)) set(name, text);
    else if (!isAbsent(name, text)) {
      const given = valueOf(name, text);
      const before = value[name];
      if (Array.isArray(given) && Array.isArray(before))
        value[name] = [...(before as unknown[]), ...(given as unknown[])];
      else set(name, given);
    }
  }
  return splitFields(checkFields(FORM_BODY, value));
}

/** A request that has been read; its file is ours to release. */
export interface CaptionBody {
  readonly task: CaptionTask;
  readonly stream: boolean | undefined;
  readonly tokenIds: boolean;
}

type BodyParts = Pick<CaptionParts, 'intake' | 'config'>;

function bodyOf(
  request: Pick<FastifyRequest, 'headers'>,
  source: MediaSource,
  fields: CaptionFields,
  parts: BodyParts,
): CaptionBody {
  const { options, priority, stream, tokenIds } = fields;
  const timeoutSeconds = timeoutOf(request, fields.timeoutSeconds, parts.config);
  // The path stays empty here: admission sets it once the file is on disk.
  return { task: { source, request: { ...captionRequest('', options), priority }, timeoutSeconds }, stream, tokenIds };
}

async function readForm(request: FastifyRequest, parts: BodyParts): Promise<CaptionBody> {
  const { source, fields } = await receiveUpload(request, parts);
  try {
    return bodyOf(request, source, formFields(fields), parts);
  } catch (error) {
    await source.release();
    throw error;
  }
}

/** @throws AvocadoError `bad_request`, `unknown_field`, those of a media reference */
export function readJson(
  request: Pick<FastifyRequest, 'headers' | 'body'>,
  parts: BodyParts,
  owner: string,
): CaptionBody {
  if (request.body === undefined || request.body === null)
    throw new AvocadoError(
      'bad_request',
      'The request has no body: send a form with the field file, or JSON with media.',
    );
  const { media, ...fields } = jsonFields(request.body);
  return bodyOf(request, parts.intake.fromReference(media, 'media', owner), fields, parts);
}

export function captionBody(parts: BodyParts): BodyReader<CaptionBody> {
  return {
    content: { 'multipart/form-data': DOCUMENTED_FORM, 'application/json': JSON_BODY },
    read: (request) =>
      request.isMultipart() ? readForm(request, parts) : readJson(request, parts, request.context.keyName ?? ''),
  };
}
