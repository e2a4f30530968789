// The body of POST /v1/captions and of /v1/captions/estimate: caption options, plus what only the HTTP door knows.
import Type from 'typebox';
import { checkFields, OPTION_PROPERTIES } from '../../captioner/caption-options.ts';
import { AvocadoError } from '../../base/errors.ts';
import type { Priority } from '../../output/events.ts';

const DOOR_PROPERTIES = {
  /** answer as an event stream */
  stream: Type.Optional(Type.Boolean()),
  /** put token ids and log-probabilities into the answer */
  token_ids: Type.Optional(Type.Boolean()),
  /** seconds from the request's first byte to its answer */
  timeout: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
  /** batch ones give way to interactive ones, but still go forward */
  priority: Type.Optional(Type.Enum(['interactive', 'batch'])),
} as const;

const FORM_PROPERTIES = { ...OPTION_PROPERTIES, ...DOOR_PROPERTIES } as const;

/** Options beside an uploaded file. */
export const FORM_BODY = Type.Object(FORM_PROPERTIES, { additionalProperties: false });
/** JSON: the same, and the file by name. */
export const JSON_BODY = Type.Object(
  { media: Type.String({ minLength: 1 }), ...FORM_PROPERTIES },
  { additionalProperties: false },
);

/** A body taken apart: what the caption is made with, and how the answer travels. */
export interface CaptionBody {
  readonly options: Readonly<Record<string, unknown>>;
  readonly stream: boolean | undefined;
  readonly tokenIds: boolean;
  readonly timeoutSeconds: number | undefined;
  readonly priority: Priority;
}

function takeApart({
  stream,
  token_ids: tokenIds,
  timeout,
  priority,
  ...options
}: Type.Static<typeof FORM_BODY>): CaptionBody {
  return { options, stream, tokenIds: tokenIds ?? false, timeoutSeconds: timeout, priority: priority ?? 'interactive' };
}

/** @throws AvocadoError `unknown_field`, `bad_request` */
export function jsonBody(value: unknown): CaptionBody & { readonly media: string } {
  const { media, ...rest } = checkFields(JSON_BODY, value);
  return { media, ...takeApart(rest) };
}

type FormField = keyof typeof FORM_PROPERTIES;

function isFormField(name: string): name is FormField {
  return Object.hasOwn(FORM_PROPERTIES, name);
}

/** Forms carry text only. What is not of its field's type stays text, for the schema to complain about. */
function valueOf(name: FormField, text: string): unknown {
  const schema = FORM_PROPERTIES[name];
  if (Type.IsString(schema)) return text;
  if (Type.IsArray(schema)) return [text];
  if (Type.IsBoolean(schema)) return text === 'true' ? true : text === 'false' ? false : text;
  const number = Number(text);
  return text.trim() === '' || !Number.isFinite(number) ? text : number;
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
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new AvocadoError('bad_request', 'options must be a JSON object.', { param: 'options' });
}

/**
 * The text fields of a form, in order: one field an option, and `options` with several of them as JSON. A repeated `stop` adds up.
 * @throws AvocadoError `unknown_field`, `bad_request`
 */
export function formBody(fields: readonly (readonly [name: string, text: string])[]): CaptionBody {
  const value: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  const set = (name: string, given: unknown): void => {
    if (name in value) throw new AvocadoError('bad_request', `${name} is given twice.`, { param: name });
    value[name] = given;
  };
  for (const [name, text] of fields) {
    if (name === 'options') for (const [key, given] of Object.entries(parseOptions(text))) set(key, given);
    else if (!isFormField(name)) set(name, text);
    else if (name === 'stop' && Array.isArray(value['stop'])) value['stop'] = [...(value['stop'] as unknown[]), text];
    else set(name, valueOf(name, text));
  }
  return takeApart(checkFields(FORM_BODY, value));
}
