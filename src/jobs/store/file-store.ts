// Files of clients in the database, in pieces, so that every server on it has them; and those made of the items of a
// batch.
import type { AvocadoError } from '../../base/errors.ts';
import type { StoredFileRow } from '../types.ts';
import type { Database } from './database.ts';
import { newId } from './job-store.ts';

const FILE = `id, owner, purpose, filename, bytes, extract(epoch from created_at)::float8 as created_at,
  extract(epoch from expires_at)::float8 as expires_at, job, part`;
const CHUNK_BYTES = 256 * 1024;

export interface NewFile {
  readonly owner: string;
  readonly purpose: string;
  readonly filename: string;
  readonly bytes: number;
  /** undefined: until it is deleted */
  readonly expiresSeconds: number | undefined;
}

export interface FileLimits {
  readonly maxBytes: number;
  readonly tooLarge: () => AvocadoError;
  /** of all files together */
  readonly maxStoredBytes: number;
  readonly full: () => AvocadoError;
}

export interface FilePage {
  readonly owner: string;
  readonly purpose: string | undefined;
  readonly limit: number;
  readonly after: string | undefined;
  readonly order: 'asc' | 'desc';
}

export class FileStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Nothing is left of a file that does not arrive in full.
   * @param chunks all of them together have `file.bytes`
   * @throws errors of the limits; those of `chunks` pass
   */
  async save(file: NewFile, chunks: AsyncIterable<Uint8Array>, limits: FileLimits): Promise<StoredFileRow> {
    if (file.bytes > limits.maxBytes) throw limits.tooLarge();
    const id = newId('file-');
    // Its bytes are counted before it is known whether there is room: several files at one time see each other.
    await this.#database.query(
      `insert into avocado.files (id, owner, purpose, filename, bytes, expires_at)
       values ($1, $2, $3, $4, $5, now() + $6::float8 * interval '1 second')`,
      [id, file.owner, file.purpose, file.filename, file.bytes, file.expiresSeconds ?? null],
    );
    try {
      const [{ stored } = { stored: 0 }] = await this.#database.query<{ readonly stored: number }>(
        'select coalesce(sum(bytes), 0)::float8 as stored from avocado.files where job is null',
      );
      if (stored > limits.maxStoredBytes) throw limits.full();
      let [n, bytes] = [0, 0];
      for await (const piece of pieces(chunks)) {
        bytes += piece.length;
        if (bytes > file.bytes) throw new Error('A file is longer than was said. This is a bug.');
        await this.#database.query('insert into avocado.file_chunks (file, n, bytes) values ($1, $2, $3)', [
          id,
          n,
          piece,
        ]);
        n += 1;
      }
      const [row] = await this.#database.query<StoredFileRow>(
        `update avocado.files set ready = true, bytes = $2 where id = $1 returning ${FILE}`,
        [id, bytes],
      );
      if (row === undefined) throw new Error('A file vanished while it was written. This is a bug.');
      return row;
    } catch (thrown) {
      await this.#database.query('delete from avocado.files where id = $1', [id]).catch(() => undefined);
      throw thrown;
    }
  }

  async find(id: string, owner: string): Promise<StoredFileRow | undefined> {
    const found = await this.#database.query<StoredFileRow>(
      `select ${FILE} from avocado.files where id = $1 and owner = $2 and ready
         and (expires_at is null or expires_at > now())`,
      [id, owner],
    );
    return found[0];
  }

  async list({ owner, purpose, limit, after, order }: FilePage): Promise<readonly StoredFileRow[]> {
    const than = order === 'desc' ? '<' : '>';
    return await this.#database.query<StoredFileRow>(
      `select ${FILE} from avocado.files f where owner = $1 and ready and purpose <> 'job' and
         (expires_at is null or expires_at > now()) and ($2::text is null or purpose = $2) and ($3::text is null or
         (f.created_at, f.id) ${than} (select created_at, id from avocado.files where id = $3 and owner = $1))
       order by f.created_at ${order}, f.id ${order} limit $4`,
      [owner, purpose ?? null, after ?? null, limit],
    );
  }

  async remove(id: string, owner: string): Promise<boolean> {
    const gone = await this.#database.query('delete from avocado.files where id = $1 and owner = $2 returning id', [
      id,
      owner,
    ]);
    return gone.length > 0;
  }

  /** The bytes of a file that a client sent. */
  async *read(id: string): AsyncGenerator<Uint8Array> {
    for (let n = 0; ; n++) {
      const [chunk] = await this.#database.query<{ readonly bytes: Uint8Array }>(
        'select bytes from avocado.file_chunks where file = $1 and n = $2',
        [id, n],
      );
      if (chunk === undefined) return;
      yield chunk.bytes;
    }
  }

  /**
   * Removes what has expired, uploads that broke off with their server, and lists that no job will read: cancelled,
   * removed, or made by another request with the same key. The job of a list is made an instant after it.
   */
  async sweep(): Promise<void> {
    await this.#database.query(
      `delete from avocado.files f where expires_at < now() or (not ready and created_at < now() - interval '1 day')
         or (purpose = 'job' and ready and created_at < now() - interval '1 hour' and not exists
           (select from avocado.jobs j where j.input_file = f.id and j.status = 'validating'))`,
    );
  }
}

/** Bytes in pieces of one size. */
async function* pieces(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      const part = chunk.subarray(at, at + CHUNK_BYTES - length);
      held.push(part);
      length += part.length;
      at += part.length;
      if (length < CHUNK_BYTES) continue;
      yield Buffer.concat(held);
      [held, length] = [[], 0];
    }
  }
  if (length > 0) yield Buffer.concat(held);
}
