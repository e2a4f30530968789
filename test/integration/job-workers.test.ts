// Servers that share a PostgreSQL: one takes jobs and runs none of them, another one only runs them. And the command
// that makes their tables.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { migratePostgres } from '../../src/jobs/store/migrations.ts';
import { fakeCaptioner, type FakeCaptioner } from '../fixtures/fake-captioner.ts';
import { noPostgres, startPostgres, type TestPostgres } from '../fixtures/postgres.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { form, serveApp, type ServedApp } from '../fixtures/served-app.ts';

const scratch = scratchDirectory();
const skipped = noPostgres();

describe.skipIf(skipped !== undefined)(skipped === undefined ? 'workers' : `workers (skipped: ${skipped})`, () => {
  let postgres: TestPostgres;
  /** of a user who may read and write the tables, and not change them */
  let limitedUrl: string;
  let captioner: FakeCaptioner;
  let server: ServedApp;
  let worker: ServedApp;
  const steps: unknown[] = [];

  beforeAll(async () => {
    postgres = await startPostgres();
    steps.push(await migratePostgres(postgres.url), await migratePostgres(postgres.url));
    const owner = new pg.Client({ connectionString: postgres.url });
    await owner.connect();
    await owner.query(`create role captions login; grant usage on schema avocado to captions;
      grant select, insert, update, delete on all tables in schema avocado to captions`);
    await owner.end();
    limitedUrl = postgres.url.replace('postgres@', 'captions@');
    mkdirSync(scratch('media'));
    writeFileSync(join(scratch('media'), 'a.mp4'), 'a');
    const media = { mediaRoots: [`m=${scratch('media')}`], databaseUrl: limitedUrl };
    captioner = fakeCaptioner();
    server = await serveApp(fakeCaptioner(), { ...media, jobSlots: 0 });
    worker = await serveApp(captioner, { ...media, jobsOnly: true });
  });

  afterAll(async () => {
    await server.close();
    await worker.close();
    await postgres.stop();
  });

  it('make the tables once, and then do with a user who may not change them', async () => {
    const [{ after } = { after: 0 }, second] = steps as { readonly before: number; readonly after: number }[];
    expect(after).toBeGreaterThan(0);
    expect(steps[0]).toEqual({ before: 0, after });
    expect(second).toEqual({ before: after, after });
    expect(await migratePostgres(limitedUrl)).toEqual({ before: after, after });
  });

  it('run the items of jobs that another server takes', async () => {
    const response = await fetch(`${server.url}/v1/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ items: [{ media: 'media://m/a.mp4' }, { media: 'media://m/none.mp4' }] }),
    });
    expect(response.status).toBe(201);
    const { id } = (await response.json()) as { readonly id: string };
    await vi.waitFor(async () => {
      const job = (await (await fetch(`${server.url}/v1/jobs/${id}`)).json()) as object;
      expect(job).toMatchObject({ status: 'completed', request_counts: { completed: 1, failed: 1 } });
    }, 30_000);
    expect(captioner.seen).toHaveLength(1);
    const metrics = await (await fetch(`${worker.url}/metrics`)).text();
    expect(metrics).toContain('avocado_job_items_committed_total{state="completed",code=""} 1');
    expect(metrics).toContain('avocado_job_items_committed_total{state="failed",code="media_not_found"} 1');
  });

  it('answer probes, metrics and their model, and refuse all work of clients', async () => {
    for (const path of ['/healthz', '/readyz', '/ping', '/version', '/metrics', '/v1/models'])
      expect((await fetch(`${worker.url}${path}`)).status, path).toBe(200);
    const refused = [
      ...['GET /', 'GET /docs', 'GET /openapi.json', 'POST /v1/captions', 'POST /v1/captions/estimate'],
      ...['POST /v1/chat/completions', 'GET /v1/jobs', 'POST /v1/jobs', 'POST /v1/files', 'POST /v1/batches'],
    ];
    for (const route of refused) {
      const [method = '', path = ''] = route.split(' ');
      const body = method === 'POST' ? { body: form('x') } : {};
      const response = await fetch(`${worker.url}${path}`, { method, ...body });
      expect(response.status, route).toBe(404);
      expect(await response.text()).toContain('This server only runs jobs (--jobs-only): ask one that takes requests.');
    }
  });
});
