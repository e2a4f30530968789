// Reads typed fields of a parsed JSON file. Every error names the file, the path of the field, what was found and what
// is supported, so that the user can find the line.
import { readModelText } from '../../base/bounded.ts';
import { AvocadoError } from '../../base/errors.ts';
import { isJsonObject, type JsonObject } from '../../base/json.ts';

/** The object at `path` inside `file`. Field names are relative to it. */
export class JsonFields {
  readonly file: string;
  readonly path: string;
  readonly #object: JsonObject;

  constructor(file: string, path: string, object: unknown) {
    if (!isJsonObject(object))
      throw new AvocadoError(
        'checkpoint_invalid',
        `${file}: ${path === '' ? 'the file' : path} must be a JSON object.`,
      );
    this.file = file;
    this.path = path;
    this.#object = object;
  }

  has(name: string): boolean {
    return this.#object[name] !== undefined && this.#object[name] !== null;
  }

  /** The raw value; undefined when it is absent or null. */
  raw(name: string): unknown {
    return this.#object[name] ?? undefined;
  }

  object(name: string): JsonFields {
    if (!this.has(name)) throw this.invalid(name, 'is missing');
    return new JsonFields(this.file, this.#join(name), this.#object[name]);
  }

  /** An integer within [least, most]; without `fallback` the field is required. */
  integer(name: string, fallback?: number, least = 1, most = 2 ** 31 - 1): number {
    const value = this.raw(name) ?? fallback;
    if (value === undefined) throw this.invalid(name, 'is missing');
    if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
      throw this.invalid(name, `must be an integer between ${least} and ${most}, found ${JSON.stringify(value)}`);
    }
    return value;
  }

  positive(name: string, fallback?: number): number {
    const value = this.raw(name) ?? fallback;
    if (value === undefined) throw this.invalid(name, 'is missing');
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0) {
      throw this.invalid(name, `must be a positive number, found ${JSON.stringify(value)}`);
    }
    return value;
  }

  numbers(name: string, fallback?: readonly number[]): readonly number[] {
    const value = this.raw(name) ?? fallback;
    if (value === undefined) throw this.invalid(name, 'is missing');
    if (
      !Array.isArray(value) ||
      !value.every((entry): entry is number => typeof entry === 'number' && Number.isFinite(entry))
    ) {
      throw this.invalid(name, `must be a list of numbers, found ${JSON.stringify(value)}`);
    }
    return value;
  }

  /** The only supported value of a field, which may be absent. */
  exactly(name: string, supported: number): number {
    this.only(name, [supported]);
    return supported;
  }

  /** Refuses any value but the given ones. An absent field counts as the first one. */
  only(name: string, supported: readonly unknown[]): void {
    const value = this.raw(name) ?? supported[0];
    if (!supported.includes(value)) {
      throw this.invalid(
        name,
        `is ${JSON.stringify(value)}; supported: ${supported.map((entry) => JSON.stringify(entry)).join(', ')}`,
      );
    }
  }

  invalid(name: string, problem: string): AvocadoError {
    const param = this.#join(name);
    return new AvocadoError('checkpoint_invalid', `${this.file}: ${param} ${problem}.`, { param });
  }

  #join(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`;
  }
}

/**
 * The top object of a JSON file, or undefined when there is no such file.
 * @throws AvocadoError `checkpoint_invalid` when it cannot be read or is not a JSON object
 */
export async function readJsonFields(file: string): Promise<JsonFields | undefined> {
  const text = await readModelText(file);
  if (text === undefined) return undefined;
  try {
    return new JsonFields(file, '', JSON.parse(text));
  } catch (error) {
    if (error instanceof AvocadoError) throw error;
    throw new AvocadoError('checkpoint_invalid', `${file} is not valid JSON: download it again.`, { cause: error });
  }
}
