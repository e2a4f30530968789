// Directories and patterns as a stream of paths: nothing is kept of what was listed, and nothing is sorted.
import type { Dir, Dirent } from 'node:fs';
import { opendir, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { fsPath, pathText, shownPath } from './path-text.ts';
import type { ListingFault } from './types.ts';

/** Videos and sound. Pictures beside a video are mostly its thumbnails. */
export const MEDIA_EXTENSIONS: readonly string[] = [
  ...['mp4', 'm4v', 'mov', 'mkv', 'webm', 'avi', 'ts', 'm2ts', 'mts', 'mpg', 'mpeg', 'flv', 'wmv', 'asf', 'ogv', '3gp'],
  ...['wav', 'mp3', 'm4a', 'aac', 'flac', 'ogg', 'oga', 'opus', 'aif', 'aiff', 'w64'],
];

/** Which files of a directory are taken. */
export type FileFilter = (path: string) => boolean;

/** @param extensions without dots, in any case; `*` takes every file */
export function extensionFilter(extensions: readonly string[]): FileFilter {
  if (extensions.includes('*')) return () => true;
  const known = new Set(extensions.map((extension) => extension.toLowerCase().replace(/^\./, '')));
  return (path) => known.has(extname(path).slice(1).toLowerCase());
}

interface OpenDirectory {
  readonly path: string;
  readonly entries: Dir;
}

const ENTRIES_AT_ONCE = 256;

/**
 * The files below a directory that the filter takes, at any depth, as absolute paths. Names that begin with a dot are
 * passed over, and directories behind symbolic links.
 * @param depth most directories between `top` and a file, `top` included
 */
export async function* filesBelow(
  top: string,
  takes: FileFilter,
  depth = Infinity,
): AsyncGenerator<string | ListingFault> {
  const open: OpenDirectory[] = [];
  const enter = async (path: string): Promise<ListingFault | undefined> => {
    try {
      const entries = await opendir(fsPath(path), {
        encoding: 'buffer' as BufferEncoding,
        bufferSize: ENTRIES_AT_ONCE,
      });
      open.push({ path, entries });
      return undefined;
    } catch (thrown) {
      return directoryFault(path, thrown);
    }
  };
  const first = await enter(top);
  if (first !== undefined) yield first;
  try {
    for (let current = open.at(-1); current !== undefined; current = open.at(-1)) {
      const entry = await nextEntry(current);
      if (entry === undefined || 'code' in entry) {
        await open.pop()?.entries.close();
        if (entry !== undefined) yield entry;
        continue;
      }
      const name = nameOf(entry);
      if (name.startsWith('.')) continue;
      const path = join(current.path, name);
      const kind = await kindOf(entry, path);
      const fault = kind === 'directory' && open.length < depth ? await enter(path) : undefined;
      if (fault !== undefined) yield fault;
      else if (kind === 'file' && takes(path)) yield path;
    }
  } finally {
    for (const { entries } of open) await entries.close();
  }
}

async function nextEntry({ path, entries }: OpenDirectory): Promise<Dirent | ListingFault | undefined> {
  try {
    return (await entries.read()) ?? undefined;
  } catch (thrown) {
    return directoryFault(path, thrown);
  }
}

/** opendir gives bytes when it is asked to, but its type says text. */
function nameOf(entry: Dirent): string {
  const name: unknown = entry.name;
  return Buffer.isBuffer(name) ? pathText(name) : entry.name;
}

/** Everything that is no directory counts as a file: what is wrong with it is reported when it is opened. */
async function kindOf(entry: Dirent, path: string): Promise<'directory' | 'file' | 'link'> {
  if (entry.isDirectory()) return 'directory';
  if (!entry.isSymbolicLink()) return 'file';
  const target = await stat(fsPath(path)).catch(() => undefined);
  return target?.isDirectory() === true ? 'link' : 'file';
}

export function directoryFault(path: string, thrown: unknown): ListingFault {
  const { code = String(thrown) } = thrown as NodeJS.ErrnoException;
  const where = shownPath(path);
  return { where, code: 'media_not_found', message: `The directory ${where} cannot be read (${code}).` };
}

/** Whether an argument is a pattern: it has `*`, `?`, `[` or `{`. */
export function isPattern(text: string): boolean {
  return /[*?[{]/.test(text);
}

/** The directory in front of the first pattern of a path, and the rest, by segments. */
function splitPattern(pattern: string): { readonly top: string; readonly rest: readonly string[] } {
  const segments = pattern.split('/');
  const first = segments.findIndex(isPattern);
  return {
    top: segments.slice(0, first).join('/') || (pattern.startsWith('/') ? '/' : '.'),
    rest: segments.slice(first),
  };
}

/**
 * A regular expression for the paths below `top` that a pattern means, as in a shell: `*` and `?` within a name,
 * `[abc]`, `{mp4,mov}`, and `**` for any number of directories.
 */
export function patternExpression(rest: readonly string[]): RegExp {
  const parts = rest.map((text, index) => {
    const isLast = index === rest.length - 1;
    if (text === '**') return isLast ? '.*' : '(?:[^/]+/)*';
    return segmentExpression(text) + (isLast ? '' : '/');
  });
  return new RegExp(`^${parts.join('')}$`, 'su');
}

const ANY: Readonly<Record<string, string>> = { '*': '[^/]*', '?': '[^/]' };

function segmentExpression(text: string): string {
  const hasPairs = /^[^{}]*(\{[^{}]*\}[^{}]*)*$/.test(text);
  let isInside = false;
  return text.replaceAll(/\[[!^]?[^\]]+\]|[*?{},.+^$|()[\]\\/]/g, (found) => {
    if (found.length > 1) return found.replaceAll('\\', '\\\\').replace(/^\[[!^]/, '[^');
    if (hasPairs && (found === '{' || found === '}')) {
      isInside = found === '{';
      return isInside ? '(?:' : ')';
    }
    if (found === ',') return isInside ? '|' : ',';
    return ANY[found] ?? `\\${found}`;
  });
}

/** The files that a pattern means, of those that the filter takes. */
export async function* filesOfPattern(pattern: string, takes: FileFilter): AsyncGenerator<string | ListingFault> {
  const { top, rest } = splitPattern(pattern);
  const expression = patternExpression(rest);
  const base = join(top, '/');
  const depth = rest.includes('**') ? Infinity : rest.length;
  for await (const found of filesBelow(top, takes, depth)) {
    if (typeof found !== 'string') yield found;
    else if (expression.test(found.slice(base === './' ? 0 : base.length))) yield found;
  }
}
