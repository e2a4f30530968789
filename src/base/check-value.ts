// Values from outside, checked against a schema. What is wrong becomes a sentence that names the field.
import type Type from 'typebox';
import { Check, Errors } from 'typebox/value';
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

const UNKNOWN = 'is not a field this request has. Correct its name or leave it out';

/** @returns undefined for a value that fits its schema */
function problemOf(schema: Type.TSchema, value: unknown): Problem | undefined {
  const bad = (pointer: string, text: string): Problem => ({ code: 'bad_request', pointer, text });
  const long = longList(value);
  if (long !== undefined) return bad(long, `must have at most ${MAX_ITEMS} items`);
  if (Check(schema, value)) return undefined;
  const all = Errors(schema, value);
  // An unknown field comes first, because it is often a misspelling that caused the other errors.
  for (const { keyword, params, instancePath } of all)
    if (keyword === 'additionalProperties')
      return {
        code: 'unknown_field',
        pointer: `${instancePath}/${params.additionalProperties[0] ?? ''}`,
        text: UNKNOWN,
      };

  const errors = all.filter(({ keyword }) => keyword !== 'anyOf');
  const first = errors[0];
  if (first === undefined) throw new Error('A value failed its schema without an error. This is a bug.');
  // Of the alternatives of a union, an alternative of the right type explains more than the others.
  const sameType = errors.filter(
    ({ keyword, instancePath }) => keyword === 'type' && instancePath === first.instancePath,
  );
  const error = errors.find((one) => !sameType.includes(one)) ?? first;
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
