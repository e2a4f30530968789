// media://NAME/path: a file below a directory that the operator shares with --media-root NAME=DIR.
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, readlink, realpath, type FileHandle } from 'node:fs/promises';
import { extname, isAbsolute, join, relative, sep } from 'node:path';
import process from 'node:process';
import { AvocadoError } from '../base/errors.ts';
import type { TemporaryStorage } from '../storage/temporary-storage.ts';
import type { MediaSource } from './media-source.ts';

/**
 * The file that a reference names, never copied or deleted. Its path is checked now, symlinks when it is opened.
 * @param roots name → real path of the directory
 * @param held keeps it open until the release
 * @throws AvocadoError `bad_request`, `media_forbidden_path`; open() `media_forbidden_path`, `media_not_found`
 */
export function rootSource(
  reference: string,
  param: string,
  roots: ReadonlyMap<string, string>,
  held: HeldFiles,
): MediaSource {
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
  let opened: Promise<HeldFile> | undefined;
  return {
    kind: 'root',
    displayName: reference,
    open: async () => {
      opened ??= openInside(root, path, reference, param).then((handle) => held.hold(handle, extname(path)));
      try {
        return { path: (await opened).path, contentHash: undefined };
      } catch (error) {
        opened = undefined;
        throw error;
      }
    },
    release: async () => {
      const file = await opened?.catch(() => undefined);
      await file?.release();
    },
  };
}

interface HeldFile {
  readonly path: string;
  /** Repeated calls do nothing. */
  readonly release: () => Promise<void>;
}

interface Holding {
  readonly path: Promise<string>;
  uses: number;
  remove(): Promise<void>;
}

/**
 * Open files, each under a name in our own directory that leads to the open file and not to its path: whoever can write
 * into a media root could put a link to another file there after the check. The same file has the same name, so that
 * what was learned about it is found again.
 */
export class HeldFiles {
  readonly #storage: Pick<TemporaryStorage, 'link'>;
  readonly #held = new Map<string, Holding>();
  readonly #removals = new Map<string, Promise<void>>();

  constructor(storage: Pick<TemporaryStorage, 'link'>) {
    this.#storage = storage;
  }

  /** Takes the handle over. @throws AvocadoError `storage_full` */
  async hold(handle: FileHandle, extension: string): Promise<HeldFile> {
    const found = await handle.stat({ bigint: true });
    const identity = [found.dev, found.ino, found.size, found.mtimeNs, found.ctimeNs].join('/');
    const harmless = /^\.[A-Za-z0-9]{1,8}$/.test(extension) ? extension : '';
    const name = createHash('sha256').update(identity).digest('hex').slice(0, 32) + harmless;
    const holding = this.#held.get(name) ?? this.#begin(name, handle);
    holding.uses += 1;
    if (holding.uses > 1) await handle.close(); // another request has it open
    let released = false;
    const release = async (): Promise<void> => {
      if (released) return;
      released = true;
      holding.uses -= 1;
      if (holding.uses > 0) return;
      this.#held.delete(name);
      const removal = holding.remove();
      this.#removals.set(name, removal);
      await removal;
      if (this.#removals.get(name) === removal) this.#removals.delete(name);
    };
    try {
      return { path: await holding.path, release };
    } catch (error) {
      await release();
      throw error;
    }
  }

  #begin(name: string, handle: FileHandle): Holding {
    const earlier = this.#removals.get(name) ?? Promise.resolve();
    const link = earlier.then(() => this.#storage.link(`/proc/${process.pid}/fd/${handle.fd}`, name));
    const path = link.then((made) => made.path);
    path.catch(() => undefined);
    const remove = async (): Promise<void> => {
      await link.then((made) => made.remove()).catch(() => undefined);
      await handle.close();
    };
    const holding = { path, uses: 0, remove };
    this.#held.set(name, holding);
    return holding;
  }
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

/** Opens the file, which must lie inside the root without symlinks as well. */
async function openInside(root: string, path: string, reference: string, param: string): Promise<FileHandle> {
  let handle: FileHandle | undefined;
  try {
    const real = await realpath(join(root, path));
    checkInside(root, real, param); // a device outside is not even opened
    // Not blocking: a pipe without a writer would hold a thread for ever.
    handle = await open(real, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    checkInside(root, await readlink(`/proc/self/fd/${handle.fd}`), param); // the path may lead elsewhere by now
    const found = await handle.stat();
    if (found.isFile()) return handle;
    const what = found.isDirectory() ? 'a directory' : 'not a regular file';
    throw new AvocadoError('media_not_a_file', `${reference} is ${what}. Give a media file.`, { param });
  } catch (cause) {
    await handle?.close();
    if (cause instanceof AvocadoError) throw cause;
    // A missing permission gives the same answer, so that clients cannot find out which files exist.
    throw new AvocadoError('media_not_found', `There is no file ${reference}.`, { param, cause });
  }
}

function checkInside(root: string, real: string, param: string): void {
  const inside = relative(root, real);
  if (inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside))
    throw new AvocadoError('media_forbidden_path', 'The media:// reference leads out of its root through a symlink.', {
      param,
    });
}
