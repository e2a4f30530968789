// Of the fields that clients send: what we do, what we cannot do, and what asks for nothing.
import { AvocadoError } from '../base/errors.ts';
import { CHAT_PROPERTIES, NESTED_PROPERTIES } from './chat-fields.ts';

type Fields = Readonly<Record<string, unknown>>;

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const isEmpty = (value: unknown): boolean => typeof value === 'object' && value !== null && !hasMoreThan(value, 0);

/** Stops counting there: a hostile body may have a million. */
function hasMoreThan(value: object, most: number): boolean {
  let count = 0;
  for (const name in value) {
    if (Object.hasOwn(value, name)) count += 1;
    if (count > most) return true;
  }
  return false;
}

/** OpenAI has some forty; every one is looked at while all others wait. */
const MOST_FIELDS = 256;

function checkCount(fields: Fields, path: string): void {
  if (!hasMoreThan(fields, MOST_FIELDS)) return;
  throw new AvocadoError(
    'bad_request',
    `${path === '' ? 'The body' : path} has more than ${MOST_FIELDS} fields.`,
    path === '' ? {} : { param: path },
  );
}

/** What asks for something that a captioner cannot do, by field: true for the values that ask for nothing. */
const ASKS_NOTHING: Readonly<Record<string, (value: unknown) => boolean>> = {
  tools: isEmpty,
  functions: isEmpty,
  tool_choice: (value) => value === 'none' || value === 'auto',
  function_call: (value) => value === 'none' || value === 'auto',
  response_format: (value) => isFields(value) && value['type'] === 'text',
  modalities: (value) => Array.isArray(value) && value.every((one) => one === 'text'),
  logit_bias: isEmpty,
  prediction: () => false,
  web_search_options: () => false,
};

const INSTEAD: Readonly<Record<string, string>> = {
  response_format: 'Captions are plain text.',
  modalities: 'Answers are text only.',
  audio: 'Answers are text only; audio: true or false says whether to listen to the clip.',
};

function unsupported(field: string): AvocadoError {
  const hint = INSTEAD[field] ?? 'This server captions media and does nothing else.';
  return new AvocadoError(
    'unsupported_field',
    `${field} asks for what this server cannot do. ${hint} Leave ${field} out.`,
    { param: field },
  );
}

function sortInto(ignored: string[], fields: Fields, known: Fields, at: string): Fields {
  checkCount(fields, at);
  const kept: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    const path = at === '' ? name : `${at}.${name}`;
    if (path === 'messages') continue;
    if (!Object.hasOwn(known, name)) ignored.push(path);
    else if (value === null)
      continue; // OpenAI's null is a field left out
    else {
      const inner = NESTED_PROPERTIES[path];
      kept[name] = inner !== undefined && isFields(value) ? sortInto(ignored, value, inner, path) : value;
    }
  }
  return kept;
}

/**
 * The fields that mean something here, and the names of those that were put aside: OpenAI's clients send many by default, and what
 * asks for nothing must not fail a request.
 * @throws AvocadoError `unsupported_field` for what asks for something we cannot do, `bad_request` for more fields than anyone means
 */
export function sortFields(body: Fields): { readonly kept: Fields; readonly ignored: readonly string[] } {
  for (const [name, asksNothing] of Object.entries(ASKS_NOTHING)) {
    const value = Object.hasOwn(body, name) ? body[name] : null;
    if (value !== null && !asksNothing(value)) throw unsupported(name);
  }
  if (isFields(body['audio'])) throw unsupported('audio'); // OpenAI's own field of that name: a voice to answer with
  const ignored: string[] = [];
  return { kept: sortInto(ignored, body, CHAT_PROPERTIES, ''), ignored };
}
