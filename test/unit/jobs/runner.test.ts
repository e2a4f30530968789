// The runner of jobs with a database that says what a test wants.
import { afterEach, describe, expect, it, vi } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { Runner, type Execute } from '../../../src/jobs/runner.ts';
import type { Database, Param } from '../../../src/jobs/store/database.ts';
import { ItemStore } from '../../../src/jobs/store/item-store.ts';
import { JobStore } from '../../../src/jobs/store/job-store.ts';
import type { Answer, Claim } from '../../../src/jobs/types.ts';

const ANSWER: Answer = { body: { caption: 'A ball.' }, promptTokens: 1, completionTokens: 1, mediaSeconds: 1 };

type Kind = 'claim' | 'renew' | 'commit' | 'release' | 'other';

function kindOf(text: string): Kind {
  if (/^with picked/.test(text)) return 'claim';
  if (/^with mine/.test(text)) return 'commit';
  if (/set lease_until/.test(text)) return 'renew';
  return /^update avocado\.items set state = 'ready'/.test(text) ? 'release' : 'other';
}

function claimOf(n: number): Claim {
  const payload = JSON.stringify({ media: 'media://m/a.mp4' });
  return {
    ...{ job: 'j', n, token: 1, custom_id: String(n), media: 'm', payload, attempts: 0, deaths: 0 },
    ...{ kind: 'job', owner: '', endpoint: '/v1/captions', options: '{}' },
  };
}

interface Asked {
  readonly kind: Kind;
  readonly params: readonly Param[];
}

/** A runner that gets so many items once. @param answers what a statement gives, and how often it was asked */
function runnerOf(
  items: number,
  execute: Execute,
  answers: (asked: Asked, times: number) => unknown[] = () => [{ id: 'j' }],
): { readonly runner: Runner; readonly asked: Asked[]; readonly faults: string[] } {
  const asked: Asked[] = [];
  const faults: string[] = [];
  const left = Array.from({ length: items }, (_, n) => claimOf(n));
  const database: Database = {
    query: async <Row>(text: string, params: readonly Param[] = []) => {
      const one = { kind: kindOf(text), params };
      asked.push(one);
      if (one.kind === 'claim') return left.splice(0) as Row[];
      return answers(one, asked.filter(({ kind }) => kind === one.kind).length) as Row[];
    },
    run: () => Promise.resolve(),
    lost: new Promise(() => undefined),
    close: () => Promise.resolve(),
  };
  const runner = new Runner({
    ...{ store: new JobStore(database), items: new ItemStore(database), id: 'r', execute, leaseSeconds: 0.1 },
    ...{ capacity: () => 4, errorBody: () => ({}), onCommitted: () => undefined },
    onSuperseded: () => undefined,
    onFault: ({ code }) => faults.push(code),
  });
  return { runner, asked, faults };
}

describe('the runner of jobs', () => {
  let running: Runner | undefined;
  afterEach(() => running?.stop());

  it('keeps what it has in work, and not what it dropped while the database was away', async () => {
    const { runner, asked, faults } = runnerOf(2, async ({ n }, signal) => {
      if (n === 0) throw new AvocadoError('database_unavailable', 'Away.');
      await new Promise((resolve) => {
        signal.addEventListener('abort', resolve);
      });
      throw new AvocadoError('aborted', 'Stopped.');
    });
    running = runner;
    runner.start();
    await vi.waitFor(() => {
      const renewals = asked.filter(({ kind }) => kind === 'renew');
      expect(renewals.length).toBeGreaterThan(0);
      for (const { params } of renewals) expect(params.slice(2)).toEqual([['j'], [1], [1]]);
    });
    expect(faults).toContain('database_unavailable');
  });

  it.each(['storage_full', 'database_unavailable'] as const)(
    'commits what is done when the database is back after %s, and counts nothing against the item',
    async (code) => {
      const { runner, asked, faults } = runnerOf(
        1,
        () => Promise.resolve(ANSWER),
        ({ kind }, times) => {
          if (kind === 'commit' && times === 1) throw new AvocadoError(code, 'Away.');
          return [{ id: 'j' }];
        },
      );
      running = runner;
      runner.start();
      await vi.waitFor(() => {
        expect(asked.filter(({ kind }) => kind === 'commit')).toHaveLength(2);
      });
      expect(faults).toEqual([code]);
      expect(asked.filter(({ kind }) => kind === 'release')).toEqual([]);
    },
  );
});

it('counts an item once: as committed, or as superseded where another server has taken it over', async () => {
  const waiting = [claimOf(0), claimOf(1), claimOf(2)];
  const items: Pick<ItemStore, 'claim' | 'commit' | 'renew'> = {
    claim: (_job, _id, { suspects }) => Promise.resolve(suspects ? [] : waiting.splice(0, 1)),
    commit: ({ n }) => Promise.resolve(n !== 1),
    renew: () => Promise.resolve([]),
  };
  const store: Pick<JobStore, 'openJobs'> = { openJobs: () => Promise.resolve(['job-1']) };
  const [committed, superseded]: [number[], number[]] = [[], []];
  const runner = new Runner({
    store: store as JobStore,
    items: items as ItemStore,
    id: 'this server',
    execute: () => Promise.resolve({ body: {}, promptTokens: 0, completionTokens: 0, mediaSeconds: 1 }),
    capacity: () => 1,
    errorBody: () => ({}),
    leaseSeconds: 30,
    onCommitted: ({ n }) => committed.push(n),
    onSuperseded: ({ n }) => superseded.push(n),
    onFault: (error) => {
      throw error;
    },
  });
  runner.start();
  await vi.waitFor(() => {
    expect([committed, superseded]).toEqual([[0, 2], [1]]);
  });
  await runner.stop();
});
