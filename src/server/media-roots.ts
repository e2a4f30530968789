import { realpath } from 'node:fs/promises';
import { isAbsolute, join, relative, sep } from 'node:path';
import { AvocadoError } from '../errors.ts';

function refuse(message: string): never {
  throw new AvocadoError('media_forbidden_path', message, { param: 'media' });
}

/** The part after media://, cut into a root's name and a path; percent escapes are read once. */
function parseReference(reference: string): { readonly name: string; readonly path: string } {
  const match = /^media:\/\/([^/]+)\/(.+)$/.exec(reference);
  const [, name, escaped] = match ?? [];
  if (name === undefined || escaped === undefined) {
    throw new AvocadoError('bad_request', 'media must look like media://NAME/path, NAME being a --media-root of this server.', { param: 'media' });
  }
  try {
    return { name, path: decodeURIComponent(escaped) };
  } catch (cause) {
    throw new AvocadoError('bad_request', 'media holds a broken percent escape: write % as %25.', { param: 'media', cause });
  }
}

/**
 * The real file behind a reference. Both ends of every symlink must lie inside the root, so the file is named by its real path.
 * @throws AvocadoError `bad_request`, `media_forbidden_path`, `media_not_found`
 */
export async function resolveMedia(reference: string, roots: ReadonlyMap<string, string>): Promise<string> {
  const { name, path } = parseReference(reference);
  const root = roots.get(name);
  if (root === undefined) refuse(`This server has no media root named ${name}. It is started with --media-root ${name}=DIR.`);
  if (path.includes('\0') || isAbsolute(path) || path.split(/[/\\]/).includes('..')) refuse('media must stay inside its root: no .. and no absolute path.');
  let real: string;
  try {
    real = await realpath(join(root, path));
  } catch (cause) {
    // Also a permission that is missing on the way: whether such a file exists is nobody's business.
    throw new AvocadoError('media_not_found', `There is no file ${reference}.`, { param: 'media', cause });
  }
  const inside = relative(root, real);
  if (inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside)) refuse('media leads out of its root through a symlink.');
  return real;
}
