// What `avocado batch` is given, as one stream of items.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, extname, resolve } from 'node:path';
import { AvocadoError, asAvocadoError } from '../base/errors.ts';
import { isJsonObject } from '../base/json.ts';
import { Check, Type } from '../base/schema.ts';
import { numberIn, numbersIn, OPTION_PROPERTIES, valueKind } from '../captioner/caption-options.ts';
import type { Json } from '../output/caption-answer.ts';
import { filesBelow, filesOfPattern, isPattern, type FileFilter } from './list-files.ts';
import { fsPath, shownPath } from './path-text.ts';
import { readCsv, readList } from './read-lines.ts';
import type { ListedItem, ListingFault } from './types.ts';

export type Listed = { readonly item: ListedItem } | { readonly fault: ListingFault };

/** A list or manifest, which can be read again and again. */
export interface ListFile {
  readonly path: string;
  /** for people */
  readonly name: string;
  /** relative paths in it begin here */
  readonly directory: string;
  readonly kind: 'lines' | 'nul' | 'jsonl' | 'csv';
}

export interface InputOptions {
  readonly takes: FileFilter;
  /** files that were left out because of their extension */
  readonly onPassedOver: () => void;
}

const MANIFEST = /\.(jsonl|ndjson|csv)$/i;
const ADDRESS = /^https?:\/\//i;

export function isAddress(text: string): boolean {
  return ADDRESS.test(text);
}

/** Whether an argument or an address names a manifest. */
export function isManifest(text: string): boolean {
  return MANIFEST.test(isAddress(text) && URL.canParse(text) ? new URL(text).pathname : text);
}

/** How a list is read, by its name; lines of JSON are noticed by their first character. */
export function listKind(name: string): ListFile['kind'] {
  const extension = extname(name).toLowerCase();
  if (extension === '.csv') return 'csv';
  return extension === '.jsonl' || extension === '.ndjson' ? 'jsonl' : 'lines';
}

/**
 * The items of an argument: a directory, a pattern, a file, or an address.
 * @throws AvocadoError `media_not_found` for an argument that names nothing
 */
export async function* itemsOfArgument(argument: string, options: InputOptions): AsyncGenerator<Listed> {
  if (isAddress(argument)) {
    yield { item: { source: { kind: 'url', url: argument }, options: {} } };
    return;
  }
  const path = resolve(argument);
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() === true) yield* listedFiles(filesBelow(path, options.takes));
  else if (found === undefined && isPattern(argument)) yield* listedFiles(filesOfPattern(path, options.takes));
  else if (found !== undefined && !options.takes(path)) options.onPassedOver();
  else yield { item: { source: { kind: 'file', path }, options: {} } };
}

async function* listedFiles(files: AsyncIterable<string | ListingFault>): AsyncGenerator<Listed> {
  for await (const found of files) {
    if (typeof found !== 'string') yield { fault: found };
    else yield { item: { source: { kind: 'file', path: found }, options: {} } };
  }
}

/** The items of a list or manifest. A line that cannot be read is a fault; the others are still read. */
export async function* itemsOfList(list: ListFile): AsyncGenerator<Listed> {
  const chunks = createReadStream(fsPath(list.path));
  const at = (line: number, read: () => ListedItem): Listed => {
    try {
      return { item: read() };
    } catch (thrown) {
      const { code, message } = asAvocadoError(thrown);
      return { fault: { where: `${list.name}, line ${line}`, code, message } };
    }
  };
  try {
    if (list.kind === 'csv') {
      yield* csvItems(chunks, list, at);
      return;
    }
    for await (const { text, line } of readList(chunks, list.kind === 'nul' ? '\0' : '\n')) {
      const isJson = list.kind === 'jsonl' || (list.kind === 'lines' && /^\s*\{/.test(text));
      yield at(line, () => (isJson ? itemOfFields(parsedLine(text), list) : itemOfName(text, list)));
    }
  } catch (thrown) {
    const { code, message } = asAvocadoError(thrown instanceof AvocadoError ? thrown : unreadable(list, thrown));
    yield { fault: { where: list.name, code, message } };
  }
}

function unreadable({ name }: ListFile, cause: unknown): AvocadoError {
  const { code = String(cause) } = cause as NodeJS.ErrnoException;
  return new AvocadoError('media_not_found', `The list ${name} cannot be read (${code}).`, { cause });
}

async function* csvItems(
  chunks: AsyncIterable<Uint8Array>,
  list: ListFile,
  at: (line: number, read: () => ListedItem) => Listed,
): AsyncGenerator<Listed> {
  let names: readonly string[] | undefined;
  for await (const { fields, line } of readCsv(chunks)) {
    if (names === undefined) {
      names = fields.map((name) => name.trim());
      continue;
    }
    const columns = names;
    yield at(line, () => {
      if (fields.length > columns.length)
        throw new AvocadoError('bad_request', `There are ${fields.length} fields and ${columns.length} columns.`);
      const given = columns.map((name, index) => [name, fields[index] ?? ''] as const);
      return itemOfFields(Object.fromEntries(given.filter(([, value]) => value !== '').map(typedField)), list);
    });
  }
}

/** Fields of CSV are texts; those of options become what the option is. */
function typedField([name, text]: readonly [name: string, text: string]): [string, Json] {
  const schema = (OPTION_PROPERTIES as Readonly<Record<string, Type.TSchema>>)[name];
  if (schema === undefined) return [name, text];
  switch (valueKind(schema)) {
    case 'number':
    case 'word':
      return [name, numberIn(text)];
    case 'numbers':
      return [name, numbersIn(text)];
    case 'boolean':
      return [name, /^(true|1|yes)$/i.test(text) ? true : /^(false|0|no)$/i.test(text) ? false : text];
    default:
      return [name, text];
  }
}

function parsedLine(text: string): Readonly<Record<string, Json>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new AvocadoError('bad_request', `The line is no JSON: ${(cause as Error).message}.`, { cause });
  }
  if (typeof value === 'string') return { path: value };
  if (!isJsonObject(value))
    throw new AvocadoError('bad_request', 'The line must be a JSON object such as {"path": "clip.mp4"}.');
  return value as Readonly<Record<string, Json>>;
}

/** Names of the field that holds the media. */
const MEDIA_FIELDS = ['path', 'url', 'media', 'file', 'video'];
const TEXT = Type.String({ minLength: 1 });

function itemOfFields(fields: Readonly<Record<string, Json>>, list: ListFile): ListedItem {
  const mediaField = MEDIA_FIELDS.find((name) => Object.hasOwn(fields, name));
  const media = mediaField === undefined ? undefined : fields[mediaField];
  const { output } = fields;
  if (!Check(TEXT, media))
    throw new AvocadoError('bad_request', `The line needs a text in one of ${MEDIA_FIELDS.join(', ')}.`);
  if (output !== undefined && !Check(TEXT, output))
    throw new AvocadoError('bad_request', 'output must be a text: the name of the sidecars without extension.');
  const others = Object.entries(fields).filter(([name]) => name !== mediaField && name !== 'output');
  const isOption = ([name]: readonly [string, Json]): boolean => Object.hasOwn(OPTION_PROPERTIES, name);
  const plain = others.filter((entry) => !isOption(entry));
  return {
    ...itemOfName(media, list),
    options: Object.fromEntries(others.filter(isOption).filter(([, value]) => value !== null)),
    output,
    ...(plain.length === 0 ? {} : { fields: Object.fromEntries(plain) }),
  };
}

function itemOfName(name: string, { directory }: ListFile): ListedItem {
  if (name.includes('\0'))
    throw new AvocadoError('bad_request', 'No path has a NUL byte. Is the list one of find -print0? Give --null.');
  return isAddress(name)
    ? { source: { kind: 'url', url: name }, options: {} }
    : { source: { kind: 'file', path: resolve(directory, name) }, options: {} };
}

/** The folder in which relative paths of a manifest begin. */
export function folderOf(path: string): string {
  return dirname(resolve(path));
}

/** For people. */
export function sourceName({ source }: ListedItem): string {
  return source.kind === 'url' ? source.url : shownPath(source.path);
}
