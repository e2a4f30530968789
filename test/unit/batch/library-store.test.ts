// What is known of a library outlives crashes, edits and other processes.
import { appendFileSync, mkdirSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LibraryStore, workId } from '../../../src/batch/library-store.ts';
import { DirectoryLock, Workers } from '../../../src/batch/lock.ts';
import type { ResultLine } from '../../../src/batch/types.ts';
import { zombie } from '../../fixtures/child-processes.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();
let libraries = 0;

interface Library {
  readonly state: string;
  readonly results: string;
  readonly journal: string;
}

function library(): Library {
  const base = scratch(`lib${libraries++}`);
  mkdirSync(base);
  const state = join(base, 'state');
  return { state, results: join(base, 'captions.jsonl'), journal: join(state, 'journal.jsonl') };
}

function lineOf(key: string, content = key, caption = 'Ä ball.'): ResultLine {
  const at = new Date(0).toISOString();
  return { key, path: key, id: workId(content, 's'), content, settings: 's', captioned_at: at, caption };
}

async function commit(store: LibraryStore, key: string, content = key): Promise<void> {
  await store.transact((transaction) => {
    transaction.commit(lineOf(key, content), { key, seen: 'x', content, settings: 's', atMs: 0 });
  });
}

async function filled({ state, results }: Library, keys: readonly string[]): Promise<void> {
  const store = await LibraryStore.open(state, results);
  for (const key of keys) await commit(store, key);
  await store.close();
}

async function doneIn({ state, results }: Library, keys: readonly string[]): Promise<string[]> {
  const store = await LibraryStore.open(state, results);
  const found = keys.filter((key) => {
    const record = store.item(key);
    return record?.line !== undefined && store.result(record)?.caption === 'Ä ball.';
  });
  await store.close();
  return found;
}

const KEYS = ['a', 'b/ä', 'c\udce9'];

describe('the state of a library', () => {
  it('has a name of its own, also where a full disk left an empty one', async () => {
    const names = new Set<string>();
    for (const { state, results } of [library(), library()]) {
      mkdirSync(state);
      writeFileSync(join(state, 'library-id'), '');
      for (let run = 0; run < 2; run++) {
        const store = await LibraryStore.open(state, results);
        names.add(store.id);
        await store.close();
      }
    }
    expect([names.size, names.has('')]).toEqual([2, false]);
  });

  it('is there again in the next run', async () => {
    const it = library();
    await filled(it, KEYS);
    expect(await doneIn(it, KEYS)).toEqual(KEYS);
    const store = await LibraryStore.open(it.state, it.results);
    expect([store.done('a', 's')?.key, store.done('a', 't'), store.size]).toEqual(['a', undefined, 3]);
    await store.close();
    expect(readdirSync(join(it.state, 'workers'))).toEqual([]);
  });

  it('is read from the results where a crash kept the journal from it, and torn ends go', async () => {
    const it = library();
    await filled(it, KEYS);
    const before = readFileSync(it.results, 'utf8');
    const lines = readFileSync(it.journal, 'utf8').split('\n');
    // The journal lost its last record and half of the one before; the results have half a line too many.
    writeFileSync(it.journal, `${lines[0] ?? ''}\n${(lines[1] ?? '').slice(0, 20)}`);
    appendFileSync(it.results, '{"key":"torn","path":');
    expect(await doneIn(it, [...KEYS, 'torn'])).toEqual(KEYS);
    expect(readFileSync(it.results, 'utf8')).toBe(before);
    for (const text of readFileSync(it.journal, 'utf8').trimEnd().split('\n')) JSON.parse(text);
    rmSync(it.journal);
    expect(await doneIn(it, KEYS)).toEqual(KEYS);
  });

  it('notices that results were removed, moved or added by a person', async () => {
    const it = library();
    await filled(it, KEYS);
    const [first = '', second = '', third = ''] = readFileSync(it.results, 'utf8').split('\n');
    writeFileSync(it.results, `my own note\n${third}\n${first}\nno end`);
    expect(await doneIn(it, KEYS)).toEqual(['a', 'c\udce9']);
    expect(readFileSync(it.results, 'utf8')).toBe(`my own note\n${third}\n${first}\nno end\n`);
    expect(second).toContain('b/ä');
    truncateSync(it.results, 0);
    expect(await doneIn(it, KEYS)).toEqual([]);
    rmSync(it.results);
    await filled(it, ['a']);
    expect(await doneIn(it, KEYS)).toEqual(['a']);
  });

  it('is one order of records for all who change it', async () => {
    const it = library();
    const stores = await Promise.all([1, 2, 3].map(() => LibraryStore.open(it.state, it.results)));
    const rounds = Array.from({ length: 30 }, (_, round) => round);
    let doubled = 0;
    await Promise.all(
      stores.flatMap((store) =>
        rounds.map(async (round) => {
          const key = `k${round}`;
          await store.transact((transaction) => {
            if (store.done(key, 's') !== undefined) doubled += 1;
            else transaction.commit(lineOf(key), { key, seen: '', content: key, settings: 's', atMs: 0 });
          });
        }),
      ),
    );
    await Promise.all(stores.map((store) => store.close()));
    const lines = readFileSync(it.results, 'utf8').trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as ResultLine).key).sort()).toEqual(rounds.map((n) => `k${n}`).sort());
    expect(doubled).toBe(60);
  });

  it('gives work to one process at a time, and that of a dead one to the next', async () => {
    const it = library();
    const [one, two] = await Promise.all([1, 2].map(() => LibraryStore.open(it.state, it.results)));
    const token = await one!.transact((transaction) => transaction.claim('work'));
    expect(token).toBeTypeOf('number');
    expect(await two!.transact((transaction) => transaction.claim('work'))).toBeUndefined();
    // A process that has ended without a word.
    const dead = { host: 'x', boot: '', space: '', pid: 1, started: '' };
    writeFileSync(join(it.state, 'claims', 'left'), JSON.stringify({ worker: 'gone', token: 1 }));
    expect(await two!.transact((transaction) => transaction.claim('left'))).toBeTypeOf('number');
    expect(dead.pid).toBe(1);
    // Work that was taken over cannot be committed by who had it.
    writeFileSync(join(it.state, 'claims', 'work'), JSON.stringify({ worker: 'another', token: 99 }));
    expect(await one!.transact((transaction) => transaction.holds('work', token!))).toBe(false);
    await one!.transact((transaction) => {
      transaction.release('work');
    });
    expect(readdirSync(join(it.state, 'claims')).sort()).toEqual(['left', 'work']);
    await Promise.all([one!.close(), two!.close()]);
  });
});

describe('the lock', () => {
  it('passes from a holder that died to the next, with a larger number', async () => {
    const directory = scratch('locks');
    const workers = new Workers(join(directory, 'workers'));
    workers.enter();
    const lock = new DirectoryLock(join(directory, 'lock'), workers);
    const first = await lock.hold((token) => token);
    const died = JSON.stringify({
      ...JSON.parse(readFileSync(join(directory, 'workers', workers.id), 'utf8')),
      pid: 2 ** 22,
    });
    writeFileSync(join(directory, 'workers', 'died'), died);
    writeFileSync(join(directory, 'lock', String(first + 1)), 'died');
    expect(await lock.hold((token) => token)).toBe(first + 2);
    await expect(
      lock.hold(() => {
        throw new RangeError('of the work');
      }),
    ).rejects.toThrow('of the work');
    expect(await lock.hold((token) => token)).toBe(first + 4);
    expect(readdirSync(join(directory, 'lock'))).toEqual([`${first + 4}.free`]);
    workers.leave();
  });

  it('passes from a holder that was killed and that nobody waited for', async () => {
    const directory = scratch('zombies');
    const workers = new Workers(directory);
    workers.enter();
    const { pid, parent } = await zombie();
    const started = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')[19];
    const own = JSON.parse(readFileSync(join(directory, workers.id), 'utf8')) as object;
    writeFileSync(join(directory, 'killed'), JSON.stringify({ ...own, pid, started }));
    expect(workers.isDead('killed', { hung: false })).toBe(true);
    parent.kill();
    workers.leave();
  });

  it('waits for a living holder, and a silent one of another machine counts as dead after a while', async () => {
    const directory = scratch('silence');
    const workers = new Workers(directory, 30);
    workers.enter();
    const own = JSON.parse(readFileSync(join(directory, workers.id), 'utf8')) as object;
    writeFileSync(join(directory, 'here'), JSON.stringify(own));
    writeFileSync(join(directory, 'away'), JSON.stringify({ ...own, host: 'another' }));
    const areDead = (hung: boolean): boolean[] => ['here', 'away', 'never'].map((id) => workers.isDead(id, { hung }));
    expect(areDead(true)).toEqual([false, false, true]);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(areDead(false)).toEqual([false, true, true]);
    expect(areDead(true)).toEqual([true, true, true]);
    workers.leave();
  });
});
