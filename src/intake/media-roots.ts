import { realpath } from 'node:fs/promises';
import { isAbsolute, join, relative, sep } from 'node:path';
import { AvocadoError } from '../base/errors.ts';
import type { MediaSource } from './types.ts';

/** The part after media://, cut into a root's name and a path; percent escapes are read once. */
function parseReference(reference: string, param: string): { readonly name: string; readonly path: string } {
  const match = /^media:\/\/([^/]+)\/(.+)$/s.exec(reference);
  const [, name, escaped] = match ?? [];
  if (name === undefined || escaped === undefined) {
    throw new AvocadoError(
      'bad_request',
      'A file of this server is named media://NAME/path, NAME being a --media-root of it.',
      { param },
    );
  }
  try {
    return { name, path: decodeURIComponent(escaped) };
  } catch (cause) {
    throw new AvocadoError('bad_request', 'The media:// reference holds a broken percent escape: write % as %25.', {
      param,
      cause,
    });
  }
}

/** Both ends of every symlink must lie inside the root, so the file is named by its real path. */
async function realPath(root: string, path: string, reference: string, param: string): Promise<string> {
  let real: string;
  try {
    real = await realpath(join(root, path));
  } catch (cause) {
    // Also a permission that is missing on the way: whether such a file exists is nobody's business.
    throw new AvocadoError('media_not_found', `There is no file ${reference}.`, { param, cause });
  }
  const inside = relative(root, real);
  if (inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside)) {
    throw new AvocadoError('media_forbidden_path', 'The media:// reference leads out of its root through a symlink.', {
      param,
    });
  }
  return real;
}

/**
 * The file behind a reference, looked for when it is opened.
 * @throws AvocadoError `bad_request`, `media_forbidden_path`; opening it `media_forbidden_path`, `media_not_found`
 */
export function rootSource(reference: string, param: string, roots: ReadonlyMap<string, string>): MediaSource {
  const { name, path } = parseReference(reference, param);
  const root = roots.get(name);
  if (root === undefined)
    throw new AvocadoError(
      'media_forbidden_path',
      `This server has no media root named ${name}. It is started with --media-root ${name}=DIR.`,
      { param },
    );
  if (path.includes('\0') || isAbsolute(path) || path.split(/[/\\]/).includes('..')) {
    throw new AvocadoError(
      'media_forbidden_path',
      'A media:// reference must stay inside its root: no .. and no absolute path.',
      { param },
    );
  }
  return {
    kind: 'root',
    displayName: reference,
    open: async () => ({ path: await realPath(root, path, reference, param), contentHash: undefined }),
    release: () => Promise.resolve(),
  };
}
