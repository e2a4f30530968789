// What the jobs of a server do about a database that is away, with one that always is.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { Jobs } from '../../../src/jobs/jobs.ts';
import type { Database } from '../../../src/jobs/store/database.ts';

/** Has its tables, and then nothing. */
class AwayDatabase implements Database {
  asked = 0;
  readonly lost = new Promise<string>(() => undefined);

  async query<Row>(text: string): Promise<readonly Row[]> {
    if (text.includes('to_regclass')) return [{ made: true } as Row];
    if (text.includes('max(step)')) return [{ done: 1000 } as Row];
    this.asked += 1;
    throw new AvocadoError('database_unavailable', `It is away (${this.asked}).`);
  }

  run(): Promise<void> {
    return Promise.reject(new Error('not here'));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

it('a database that is away is told once a minute, however often it is asked', async () => {
  const database = new AwayDatabase();
  const told: string[] = [];
  const nothing = (): void => undefined;
  const jobs = new Jobs({
    openDatabase: () => Promise.resolve(database),
    ...{ isAlone: false, isEager: true, leaseSeconds: 30, webhooks: undefined, capacity: () => 1 },
    ...{ execute: () => Promise.reject(new Error('not here')), errorBody: () => ({}) },
    ...{ onCommitted: nothing, onSuperseded: nothing, onFault: ({ message }) => told.push(message) },
  });
  await sleep(1500);
  await jobs.close();
  expect(database.asked).toBeGreaterThan(4);
  expect(told).toHaveLength(1);
});
