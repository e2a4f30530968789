// Values from outside, checked against a schema. What is wrong becomes a sentence that names the field.
import { Check, Errors, Type } from './schema.ts';
import { AvocadoError, type ErrorCode } from './errors.ts';

/** `messages`, `/0/content` → `messages[0].content` */
function pathOf(at: string, pointer: string): string {
  const steps = pointer
    .split('/')
    .slice(1)
    .map((step) => (/^\d+$/.test(step) ? `[${step}]` : `.${step}`));
  return `${at}${steps.join('')}`.replace(/^\./, '');
}

/** No valid list is longer, and checking a million items would block the event loop for seconds. */
const MAX_ITEMS = 1000;

function longList(value: unknown): string | undefined {
  const isLong = (one: unknown): boolean => Array.isArray(one) && one.length > MAX_ITEMS;
  if (isLong(value)) return '';
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const name = Object.keys(value).find((key) => isLong((value as Readonly<Record<string, unknown>>)[key]));
  return name === undefined ? undefined : `/${name}`;
}

interface Problem {
  readonly code: ErrorCode;
  /** JSON pointer of the value at fault; '' is the checked value itself */
  readonly pointer: string;
  /** how the sentence about it ends */
  readonly text: string;
}

const MOST_NAMES = 4;
const MOST_CHARACTERS = 64;

/** Names come from the client, so few are repeated, and cut. */
function unknownText(others: readonly string[]): string {
  if (others.length === 0) return 'is not a field this request has. Correct its name or leave it out';
  const names = others.slice(0, MOST_NAMES).map((name) => name.slice(0, MOST_CHARACTERS));
  const more = others.length > MOST_NAMES ? ', …' : '';
  const count = others.length === 1 ? 'another one' : `${others.length} others`;
  return `and ${count} (${names.join(', ')}${more}) are not fields this request has. Correct their names or leave them out`;
}

/**
 * The first object of a closed schema that has fields the schema does not know. The schema library cannot be asked: it
 * stops at eight errors, of which each unknown field is one.
 */
function unknownFields(schema: Type.TSchema, value: unknown, pointer = ''): Problem | undefined {
  if (Type.IsArray(schema) && Array.isArray(value))
    return firstOf(value.entries(), ([index, item]) => unknownFields(schema.items, item, `${pointer}/${index}`));
  if (!Type.IsObject(schema) || typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const given = value as Readonly<Record<string, unknown>>;
  const isClosed = (schema as { readonly additionalProperties?: unknown }).additionalProperties === false;
  const unknown = isClosed ? Object.keys(given).filter((name) => !Object.hasOwn(schema.properties, name)) : [];
  const [first, ...others] = unknown;
  if (first !== undefined) return { code: 'unknown_field', pointer: `${pointer}/${first}`, text: unknownText(others) };
  return firstOf(Object.entries(schema.properties), ([name, inner]) =>
    Object.hasOwn(given, name) ? unknownFields(inner, given[name], `${pointer}/${name}`) : undefined,
  );
}

function firstOf<T>(all: Iterable<T>, problemIn: (one: T) => Problem | undefined): Problem | undefined {
  for (const one of all) {
    const problem = problemIn(one);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** @returns undefined for a value that fits its schema */
function problemOf(schema: Type.TSchema, value: unknown): Problem | undefined {
  const bad = (pointer: string, text: string): Problem => ({ code: 'bad_request', pointer, text });
  const long = longList(value);
  if (long !== undefined) return bad(long, `must have at most ${MAX_ITEMS} items`);
  if (Check(schema, value)) return undefined;
  // An unknown field comes first, because it is often a misspelling that caused the other errors.
  const unknown = unknownFields(schema, value);
  if (unknown !== undefined) return unknown;
  const errors = Errors(schema, value).filter(({ keyword }) => keyword !== 'anyOf');
  const first = errors[0];
  if (first === undefined) throw new Error('A value failed its schema without an error. This is a bug.');
  // Of the alternatives of a union, an alternative of the right type explains more than the others.
  const sameType = errors.filter(
    ({ keyword, instancePath }) => keyword === 'type' && instancePath === first.instancePath,
  );
  // A number that is too small or too large is no word that is not in a list.
  const range = errors.find(
    ({ keyword, instancePath }) => /^(min|max)imum$/.test(keyword) && instancePath === first.instancePath,
  );
  const error = range ?? errors.find((one) => !sameType.includes(one)) ?? first;
  const { instancePath: pointer } = error;
  if (error.keyword === 'type')
    return bad(pointer, `must be ${sameType.map(({ message }) => message.replace(/^must be /, '')).join(' or ')}`);
  if (error.keyword === 'enum') return bad(pointer, `must be one of ${error.params.allowedValues.join(', ')}`);
  if (error.keyword === 'required') return bad(`${pointer}/${error.params.requiredProperties[0] ?? ''}`, 'is missing');
  return bad(pointer, error.message);
}

/**
 * Checks a value and returns it with its schema's type.
 * @param at path of the value in the body, such as `messages[0]`; '' = the body itself
 * @throws AvocadoError `bad_request`, or `unknown_field` of a closed object, with the path of the fault in `param`
 */
export function checkValue<S extends Type.TSchema>(schema: S, value: unknown, at: string): Type.Static<S> {
  const problem = problemOf(schema, value);
  if (problem === undefined) return value as Type.Static<S>;
  const path = pathOf(at, problem.pointer);
  throw problemError(problem, path, path === '' ? 'The body' : path);
}

/** What a front end calls a field in its messages: `top_p` over HTTP, `--top-p` on the command line. */
export type NameField = (field: string) => string;

/**
 * Checks the fields of an object and returns it with its schema's type.
 * @throws AvocadoError `bad_request`, `unknown_field`, with the field at fault in `param`
 */
export function checkFields<S extends Type.TSchema>(
  schema: S,
  value: unknown,
  nameField: NameField = (field) => field,
): Type.Static<S> {
  const problem = problemOf(schema, value);
  if (problem === undefined) return value as Type.Static<S>;
  const field = problem.pointer.split('/')[1] ?? ''; // `/stop/0` is a fault of `stop`
  throw problemError(problem, field, field === '' ? 'The request' : nameField(field));
}

function problemError({ code, text }: Problem, param: string, subject: string): AvocadoError {
  return new AvocadoError(code, `${subject} ${text}.`, param === '' ? {} : { param });
}
