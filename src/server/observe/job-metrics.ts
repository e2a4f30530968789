// The metrics of jobs: what this server did, and what the database holds, which other servers may share.
import type { Registry } from 'prom-client';
import type { JobCounts } from '../../jobs/store/job-store.ts';
import { ITEM_STATES } from '../../jobs/types.ts';
import { countersOf, type CountersOf, type Reading } from './prometheus.ts';

const COUNTERS = {
  committed: {
    name: 'avocado_job_items_committed_total',
    help: 'Items of jobs and batches that this server brought to their end, by state (completed, failed) and error code.',
    labels: ['state', 'code'],
  },
  superseded: {
    name: 'avocado_job_items_superseded_total',
    help: 'Items done by this server that another one had taken over: work done twice, its result thrown away.',
    labels: [],
  },
  duplicates: {
    name: 'avocado_job_duplicates_avoided_total',
    help: 'Items of jobs and batches that got the caption of another item with the same bytes and options.',
    labels: [],
  },
  videoSeconds: {
    name: 'avocado_job_video_seconds_total',
    help: 'Duration of the media of completed items, in seconds.',
    labels: [],
  },
} as const;

export function jobCounters(registry: Registry): CountersOf<typeof COUNTERS> {
  const counters = countersOf(COUNTERS, registry);
  // rate() needs a first sample.
  counters.committed.inc({ state: 'completed', code: '' }, 0);
  return counters;
}

/** @param jobs as they were a few seconds ago; undefined: the server has no jobs */
export function jobReadings(jobs: () => JobCounts | undefined): Reading[] {
  return [
    {
      type: 'gauge',
      name: 'avocado_jobs',
      help: 'Jobs and batches in the database, by status.',
      labels: ['status'],
      read: () => (jobs()?.jobs ?? []).map(({ status, count }) => [count, { status }]),
    },
    {
      type: 'gauge',
      name: 'avocado_job_items',
      help: 'Items of jobs and batches in the database, by state.',
      labels: ['state'],
      read: () => {
        const items = jobs()?.items;
        return items === undefined ? [] : ITEM_STATES.map((state) => [items[state], { state }]);
      },
    },
    {
      type: 'gauge',
      name: 'avocado_jobs_oldest_ready_seconds',
      help: 'Age of the oldest job that still has items to start; 0 when there is none.',
      read: () => [[jobs()?.oldestSeconds ?? 0]],
    },
  ];
}
