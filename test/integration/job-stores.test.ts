// What the database keeps of jobs, and for how long.
import { rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { AvocadoError } from '../../src/base/errors.ts';
import { openEmbedded, type Database } from '../../src/jobs/store/database.ts';
import { FileStore } from '../../src/jobs/store/file-store.ts';
import { JobStore } from '../../src/jobs/store/job-store.ts';
import { migrate } from '../../src/jobs/store/migrations.ts';
import type { Job } from '../../src/jobs/types.ts';
import { Webhooks } from '../../src/jobs/webhooks.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { makeSmallDisk, noSmallDisk } from '../fixtures/small-disk.ts';

const scratch = scratchDirectory();
const OWNER = 'anna';
const full = (): never => {
  throw new Error('There is room.');
};
const LIMITS = { maxBytes: 1000, maxStoredBytes: 1000, tooLarge: full, full };

describe('the lists of jobs', () => {
  let database: Database;
  let jobs: JobStore;
  let files: FileStore;

  beforeAll(async () => {
    database = await openEmbedded(scratch('jobs'));
    await migrate(database);
    jobs = new JobStore(database);
    files = new FileStore(database);
  }, 120_000);
  afterAll(async () => {
    await database.close();
  });

  async function keep(purpose = 'job'): Promise<string> {
    const line = Buffer.from('{"media":"media://m/a.mp4"}\n');
    const file = { owner: OWNER, purpose, filename: 'items.jsonl', bytes: line.length, expiresSeconds: 30 * 24 * 3600 };
    return (await files.save(file, Readable.from([line]), LIMITS)).id;
  }

  async function make(inputFile: string): Promise<Job> {
    return await jobs.create({
      ...{ kind: 'job', owner: OWNER, endpoint: '/v1/captions', inputFile, options: {}, metadata: undefined },
      ...{ webhook: undefined, idempotencyKey: undefined, requestHash: undefined },
      ...{ windowSeconds: undefined, window: undefined, outputSeconds: undefined },
    });
  }

  it('are removed when no job will read them', async () => {
    const [waiting, cancelled, removed, never] = [await keep(), await keep(), await keep(), await keep()];
    const own = await keep('user_data');
    await make(waiting);
    await jobs.cancel((await make(cancelled)).id, OWNER);
    await jobs.remove((await make(removed)).id, OWNER);
    await files.sweep(); // they may be those of jobs that are being made
    const found = async (): Promise<boolean[]> =>
      await Promise.all(
        [waiting, own, cancelled, removed, never].map(async (id) => (await files.find(id, OWNER)) !== undefined),
      );
    expect(await found()).toEqual([true, true, true, true, true]);
    await database.query(`update avocado.files set created_at = now() - interval '61 minutes'`);
    await files.sweep();
    expect(await found()).toEqual([true, true, false, false, false]);
  });
});

describe('files of clients', () => {
  it('take no more room together than they may, also those that arrive at one time', async () => {
    const database = await openEmbedded(scratch('files'));
    try {
      await migrate(database);
      const files = new FileStore(database);
      const bytes = 400;
      const limits = { ...LIMITS, full: () => new AvocadoError('storage_full', 'There is no room.') };
      const save = async (): Promise<string> => {
        const file = { owner: OWNER, purpose: 'user_data', filename: 'a', bytes, expiresSeconds: undefined };
        return (await files.save(file, Readable.from([Buffer.alloc(bytes)]), limits)).id;
      };
      const results = await Promise.allSettled([save(), save(), save(), save()]);
      const kept = results.filter(({ status }) => status === 'fulfilled').length;
      expect(kept).toBeLessThanOrEqual(2);
      for (const result of results.filter(({ status }) => status === 'rejected'))
        expect(result).toMatchObject({ reason: { code: 'storage_full' } });
      // What found no room holds none.
      for (let more = kept; more < 2; more++) await save();
      await expect(save()).rejects.toMatchObject({ code: 'storage_full' });
      expect(await database.query('select count(*)::int as files from avocado.files')).toEqual([{ files: 2 }]);
    } finally {
      await database.close();
    }
  }, 120_000);
});

describe('messages to webhooks', () => {
  let database: Database;
  beforeAll(async () => {
    database = await openEmbedded(scratch('webhooks'));
    await migrate(database);
    await database.query(
      `insert into avocado.jobs (id, kind, owner, endpoint, status, input_file)
       values ('job', 'job', '', '', '', ''), ('of-other', 'job', 'other', '', '', '')`,
    );
  }, 120_000);
  afterAll(async () => {
    await database.close();
  });

  /** Due in this order. */
  async function makeDue(urls: readonly string[], job = 'job'): Promise<void> {
    for (const [index, url] of urls.entries())
      await database.query(
        `insert into avocado.deliveries (id, job, url, type, next_at)
         values ($1, $4, $2, 'job.completed', now() - interval '1 hour' + $3 * interval '1 second')`,
        [`evt_${job}_${index}`, url, index, job],
      );
  }

  /** Until `others` were told, by a sender whose other receivers never answer. @returns what was asked */
  async function deliverTo(others: readonly string[]): Promise<string[]> {
    const asked: string[] = [];
    const stop = new AbortController();
    const webhooks = new Webhooks(database, {
      secret: 'secret',
      onGivenUp: () => undefined,
      send: async (url, _headers, _body, signal) => {
        asked.push(url);
        if (others.includes(url)) return 200;
        return await new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            reject(new AvocadoError('media_unreachable', 'It broke off.'));
          });
        });
      },
    });
    const ended = webhooks.deliver(stop.signal);
    await vi.waitFor(() => {
      expect(asked).toEqual(expect.arrayContaining(others as string[]));
    }, 10_000);
    stop.abort();
    await ended;
    return asked;
  }

  it('are held up by no receiver that does not answer, however many are for it', async () => {
    const silent = Array.from({ length: 10 }, (_, index) => `https://silent-${index}.example/`);
    const flood = [...new Array<string>(100).fill('https://FLOOD.example:81/a'), 'https://flood.example:81/b'];
    const others = ['https://other.example/1', 'https://other.example/2'];
    await makeDue([...silent, ...flood, ...others]);
    const asked = await deliverTo(others);
    expect(asked.filter((url) => silent.includes(url))).toHaveLength(10);
    expect(asked.filter((url) => flood.includes(url))).toHaveLength(4);
    const left = await database.query<{ attempts: number }>(
      'select attempts from avocado.deliveries where delivered_at is null and next_at <= now()',
    );
    expect(left.map(({ attempts }) => attempts)).toEqual(new Array<number>(111).fill(0));
  });

  it('are held up by no owner of many such receivers', async () => {
    await database.query('delete from avocado.deliveries');
    await makeDue(Array.from({ length: 100 }, (_, index) => `https://silent-${index}.example/`));
    const others = ['https://other.example/1'];
    await makeDue(others, 'of-other');
    await database.query(`update avocado.deliveries set next_at = now() where job = 'of-other'`);
    expect(await deliverTo(others)).toHaveLength(33);
  });
});

describe('the embedded database', () => {
  const why = noSmallDisk();
  it.skipIf(why !== undefined)(
    why === undefined ? 'is lost when its log finds no room, and opened again' : `on a full disk (skipped: ${why})`,
    async () => {
      const disk = makeSmallDisk(scratch('disk'), 120_000);
      const others = join(disk.path, 'others');
      try {
        const directory = join(disk.path, 'jobs');
        const full = await openEmbedded(directory);
        await full.query('create table kept (n int)');
        await full.query('insert into kept values (5)');
        const { bavail, bsize } = statfsSync(disk.path);
        writeFileSync(others, Buffer.alloc(bavail * bsize - 1_000_000));
        const fillLog = async (): Promise<void> => {
          for (;;) await full.query(`select pg_logical_emit_message(true, '', repeat('x', 500000))`);
        };
        await expect(fillLog()).rejects.toMatchObject({ code: 'storage_full' });
        await expect(full.query('select 1')).rejects.toMatchObject({ code: 'database_unavailable' });
        expect(await full.lost).toContain('No space left');
        await full.close();
        rmSync(others);
        const again = await openEmbedded(directory);
        expect(await again.query('select n from kept')).toEqual([{ n: 5 }]);
        await again.close();
      } finally {
        disk.remove();
      }
    },
    120_000,
  );
});
