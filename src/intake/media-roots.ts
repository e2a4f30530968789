// media://NAME/path: a file below a directory that the operator shares with --media-root NAME=DIR.
import { realpath } from 'node:fs/promises';
import { isAbsolute, join, relative, sep } from 'node:path';
import { AvocadoError } from '../base/errors.ts';
import type { MediaSource } from './media-source.ts';

/**
 * The file that a reference names, never copied or deleted. Its path is checked now, symlinks when it is opened.
 * @param roots name → real path of the directory
 * @throws AvocadoError `bad_request`, `media_forbidden_path`; open() `media_forbidden_path`, `media_not_found`
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

/** Percent escapes are decoded once. */
function parseReference(reference: string, param: string): { readonly name: string; readonly path: string } {
  const match = /^media:\/\/([^/]+)\/(.+)$/s.exec(reference);
  const [, name, escaped] = match ?? [];
  if (name === undefined || escaped === undefined) {
    throw new AvocadoError(
      'bad_request',
      'Write files of this server as media://NAME/path, where NAME is one of its --media-root directories.',
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

/** The path without symlinks, which must lie inside the root as well. */
async function realPath(root: string, path: string, reference: string, param: string): Promise<string> {
  let real: string;
  try {
    real = await realpath(join(root, path));
  } catch (cause) {
    // A missing permission gives the same answer, so that clients cannot find out which files exist.
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
