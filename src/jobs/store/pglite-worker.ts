// The thread that has PGlite and the lock of its directory. PGlite itself has no lock: two processes on one directory
// would both write, and lose what the other wrote.
import { parentPort, workerData } from 'node:worker_threads';
import { PGlite } from '@electric-sql/pglite';
import lockfile from 'proper-lockfile';
import type { EmbeddedReply, EmbeddedRequest } from './database.ts';

const directory = String(workerData);
const port = parentPort;
if (port === null) throw new Error('pglite-worker runs in a worker thread. This is a bug.');

/** A process that was killed gives the directory back after so long. */
const STALE_MS = 5000;
const UPDATE_MS = 1000;
/** PGlite makes no checkpoints by itself; without them a start would read the log of all changes since the first. */
const CHECKPOINT_EVERY = 5000;
/** Nor does it clear away old versions of rows, which every claim would read over. */
const VACUUM_EVERY = 20_000;

const tell = (reply: EmbeddedReply): void => {
  port.postMessage(reply);
};

async function lock(): Promise<() => Promise<void>> {
  return await lockfile.lock(directory, {
    lockfilePath: `${directory}/lock`,
    stale: STALE_MS,
    update: UPDATE_MS,
    retries: { retries: Math.ceil((2 * STALE_MS) / 500), factor: 1, minTimeout: 500, maxTimeout: 500 },
    onCompromised: () => {
      // Another process has the directory by now: not one more byte may be written.
      tell({ type: 'lost', reason: 'another process took its directory' });
      process.exit(1);
    },
  });
}

async function open(): Promise<{ readonly database: PGlite; readonly unlock: () => Promise<void> } | undefined> {
  let unlock: () => Promise<void>;
  try {
    unlock = await lock();
  } catch (thrown) {
    const { code, message } = thrown as NodeJS.ErrnoException;
    const reason = code === 'ELOCKED' ? 'another server has its directory: give each a --jobs-dir of its own' : message;
    tell({ type: 'refused', reason });
    return undefined;
  }
  try {
    return { database: await PGlite.create({ dataDir: `${directory}/pglite` }), unlock };
  } catch (thrown) {
    await unlock();
    tell({ type: 'refused', reason: thrown instanceof Error ? thrown.message : String(thrown) });
    return undefined;
  }
}

/** PostgreSQL gave itself up, as when it finds no room for its log. Asked for anything more, PGlite never answers. */
function isDead(thrown: unknown): boolean {
  const { severity = '', name = '' } = thrown as { readonly severity?: string; readonly name?: string };
  return ['PANIC', 'FATAL'].includes(severity) || name === 'RuntimeError';
}

const opened = await open();
if (opened !== undefined) {
  const { database, unlock } = opened;
  let served = 0;
  const serve = async ({ id, type, text, params }: EmbeddedRequest): Promise<void> => {
    try {
      if (type === 'close') {
        await database.exec('checkpoint');
        await database.close();
        await unlock();
        tell({ type: 'rows', id, rows: [] });
        return;
      }
      if (type === 'run') await database.exec(text);
      const rows = type === 'run' ? [] : (await database.query(text, [...params])).rows;
      tell({ type: 'rows', id, rows });
      served += 1;
      if (served % VACUUM_EVERY === 0) await database.exec('vacuum');
      if (served % CHECKPOINT_EVERY === 0) await database.exec('checkpoint');
    } catch (thrown) {
      const { code = '', message } = thrown as Error & { readonly code?: string };
      tell({ type: 'failed', id, message, code });
      if (!isDead(thrown)) return;
      await unlock();
      tell({ type: 'lost', reason: `it ended itself: ${message}` });
      process.exit(1);
    }
  };
  let turn = Promise.resolve();
  port.on('message', (request: EmbeddedRequest) => {
    turn = turn.then(() => serve(request));
  });
  tell({ type: 'open' });
}
