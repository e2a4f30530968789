// Files of a dataset that a person has downloaded. What is missing is named, with where it comes from; nothing is
// fetched.
import { access } from 'node:fs/promises';
import { basename, extname, isAbsolute, join } from 'node:path';
import { AvocadoError } from '../../base/errors.ts';
import { readTextFile } from '../../base/bounded.ts';
import { isRow, textField, type DatasetFiles, type DatasetSource, type Item, type Row } from './benchmark.ts';

export function datasetFiles(directory: string, title: string, source: DatasetSource): DatasetFiles {
  const first = async (names: readonly string[]): Promise<{ path: string; text: string } | undefined> => {
    for (const name of names) {
      const path = join(directory, name);
      const text = await textOf(path);
      if (text !== undefined) return { path, text };
    }
    return undefined;
  };
  const required = async (names: readonly string[]): Promise<{ path: string; text: string }> => {
    const found = await first(names);
    if (found !== undefined) return found;
    throw new AvocadoError(
      'bad_request',
      `${directory} has no ${names.join(' or ')}, which ${title} needs. Get it from ${source.from}, and name its ` +
        'directory with --data.',
      { param: 'data' },
    );
  };
  return {
    json: async (names) => {
      const { path, text } = await required(names);
      return parseJson(text, path);
    },
    rows: async (names) => {
      const { path, text } = await required(names);
      return rowsOf(text, path);
    },
    optionalRows: async (names) => {
      const found = await first(names);
      return found === undefined ? undefined : rowsOf(found.text, found.path);
    },
  };
}

/**
 * The text of a file that a person names; undefined where there is none.
 * @throws AvocadoError `bad_request`
 */
export async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readTextFile(path);
  } catch (cause) {
    throw new AvocadoError('bad_request', `${path} cannot be read: ${(cause as Error).message}.`, { cause });
  }
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AvocadoError(
      'bad_request',
      `${path} is not JSON: ${(cause as Error).message}. Is it whole, and the right file?`,
      {
        cause,
      },
    );
  }
}

/** Objects of JSON lines, or of one JSON array. @throws AvocadoError `bad_request` that names the line */
export function rowsOf(text: string, path: string): readonly Row[] {
  if (text.trimStart().startsWith('[')) return checkRows(parseJson(text, path), path);
  return text.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return [];
    return checkRows([parseJson(line, `${path}, line ${index + 1},`)], `${path}, line ${index + 1},`);
  });
}

function checkRows(value: unknown, path: string): readonly Row[] {
  if (Array.isArray(value) && value.every(isRow)) return value;
  throw new AvocadoError('bad_request', `${path} does not hold objects, as this dataset's files do.`);
}

/** @throws AvocadoError `bad_request` for a row without it, naming the row */
export function requiredField(row: Row, at: string, ...names: readonly string[]): string {
  const value = textField(row, ...names);
  if (value !== undefined) return value;
  throw new AvocadoError('bad_request', `${at} has no ${names.join(' or ')}: is it a file of this benchmark?`);
}

/** @throws AvocadoError `bad_request` when two items have one id */
export function checkUnique<Data>(items: readonly Item<Data>[], title: string): readonly Item<Data>[] {
  const seen = new Set<string>();
  for (const { id } of items) {
    if (seen.has(id)) throw new AvocadoError('bad_request', `${title}: two items have the id ${id}.`);
    seen.add(id);
  }
  if (items.length === 0) throw new AvocadoError('bad_request', `${title}: the file holds no items.`);
  return items;
}

/** The file of an item; undefined where none of its places has one. */
export async function videoOf(item: Item, directory: string): Promise<string | undefined> {
  for (const place of item.videos) {
    const path = isAbsolute(place) ? place : join(directory, place);
    const exists = await access(path).then(
      () => true,
      () => false,
    );
    if (exists) return path;
  }
  return undefined;
}

/** `videos/a.mp4` → `a` */
export function stem(path: string): string {
  return basename(path, extname(path));
}

/** Where benchmarks keep the file of a clip. */
export function usualPlaces(id: string, ...folders: readonly string[]): string[] {
  return folders.flatMap((folder) => ['.mp4', '.mkv', '.webm'].map((extension) => join(folder, `${id}${extension}`)));
}
