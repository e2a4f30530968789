import type Type from 'typebox';
import { Check, Errors } from 'typebox/value';
import { AvocadoError } from './errors.ts';

/** `messages`, `/0/content` → `messages[0].content` */
function join(at: string, pointer: string): string {
  const steps = pointer
    .split('/')
    .slice(1)
    .map((step) => (/^\d+$/.test(step) ? `[${step}]` : `.${step}`));
  return `${at}${steps.join('')}`.replace(/^\./, '');
}

/** Nobody means more, and to look at a million takes seconds in which the server does nothing else. */
const MOST_ITEMS = 1000;

function longList(value: unknown): string | undefined {
  const isLong = (one: unknown): boolean => Array.isArray(one) && one.length > MOST_ITEMS;
  if (isLong(value)) return '';
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const name = Object.keys(value).find((key) => isLong((value as Readonly<Record<string, unknown>>)[key]));
  return name === undefined ? undefined : `/${name}`;
}

/** A field that does not exist matters more than a wrong one, since it is often the reason of it. */
function unknownField(schema: Type.TSchema, value: unknown, at: string): AvocadoError | undefined {
  for (const error of Errors(schema, value)) {
    if (error.keyword !== 'additionalProperties') continue;
    const param = join(at, `${error.instancePath}/${error.params.additionalProperties[0] ?? ''}`);
    return new AvocadoError(
      'unknown_field',
      `${param} is not a field this request has. Correct its name or leave it out.`,
      { param },
    );
  }
  return undefined;
}

/** Where a value fails, and in what. Of alternatives, the one whose type is right tells more than the others. */
function problemOf(schema: Type.TSchema, value: unknown): { readonly pointer: string; readonly text: string } {
  const errors = Errors(schema, value).filter(({ keyword }) => keyword !== 'anyOf');
  const first = errors[0];
  if (first === undefined) throw new Error('A value failed its schema without an error. This is a bug.');
  const sameType = errors.filter(
    ({ keyword, instancePath }) => keyword === 'type' && instancePath === first.instancePath,
  );
  const error = errors.find((one) => !sameType.includes(one)) ?? first;
  if (error.keyword === 'type')
    return {
      pointer: error.instancePath,
      text: `must be ${sameType.map(({ message }) => message.replace(/^must be /, '')).join(' or ')}`,
    };
  if (error.keyword === 'enum')
    return { pointer: error.instancePath, text: `must be one of ${error.params.allowedValues.join(', ')}` };
  if (error.keyword === 'required')
    return { pointer: `${error.instancePath}/${error.params.requiredProperties[0] ?? ''}`, text: 'is missing' };
  return { pointer: error.instancePath, text: error.message };
}

/**
 * A value with its schema's type.
 * @param at where in the body it lies, such as `messages[0]`; '' = the body itself
 * @throws AvocadoError `bad_request`, or `unknown_field` of a closed object, whose `param` is the path of what is wrong
 */
export function checkValue<S extends Type.TSchema>(schema: S, value: unknown, at: string): Type.Static<S> {
  const long = longList(value);
  if (long === undefined && Check(schema, value)) return value;
  const unknown = long === undefined ? unknownField(schema, value, at) : undefined;
  if (unknown !== undefined) throw unknown;
  const { pointer, text } =
    long === undefined ? problemOf(schema, value) : { pointer: long, text: `must have at most ${MOST_ITEMS} items` };
  const param = join(at, pointer);
  throw new AvocadoError('bad_request', `${param === '' ? 'The body' : param} ${text}.`, param === '' ? {} : { param });
}
