// The runner on a store that says what a test wants: what follows when a commit is refused.
import { expect, it, vi } from 'vitest';
import { Runner } from '../../../src/jobs/runner.ts';
import type { ItemStore } from '../../../src/jobs/store/item-store.ts';
import type { JobStore } from '../../../src/jobs/store/job-store.ts';
import type { Claim } from '../../../src/jobs/types.ts';

function claimOf(n: number): Claim {
  return {
    ...{ job: 'job-1', n, token: 1, custom_id: String(n), media: 'a.mp4', payload: '{}', attempts: 0, deaths: 0 },
    ...{ kind: 'job', owner: '', endpoint: '/v1/captions', options: '{}' },
  };
}

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
