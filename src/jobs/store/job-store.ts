// Jobs in SQL: made, read, moved on to their end.
import { randomBytes } from 'node:crypto';
import { AvocadoError } from '../../base/errors.ts';
import type { Job, JobKind, NewJob } from '../types.ts';
import type { Database } from './database.ts';

const epoch = (name: string): string => `extract(epoch from j.${name})::float8 as ${name}`;

const JOB = [
  ...['id', 'kind', 'owner', 'endpoint', 'status', 'input_file', 'options', 'metadata', 'webhook'],
  ...['completion_window', 'output_seconds', 'total', 'completed', 'failed', 'cancelled', 'expired'],
  ...['prompt_tokens', 'completion_tokens', 'media_seconds', 'errors'],
]
  .map((name) => `j.${name}`)
  .concat(
    [
      ...['created_at', 'in_progress_at', 'finalizing_at', 'completed_at', 'failed_at', 'expired_at'],
      ...['cancelling_at', 'cancelled_at', 'expires_at'],
    ].map(epoch),
  )
  .join(', ');

const ANSWERED = 'j.completed + j.failed + j.cancelled + j.expired';

/** The line of an item of a batch that was not run, as OpenAI writes it. */
const unrun = (code: string, message: string): string =>
  `'{"id":"batch_req_' || i.job || '_' || i.n || '","custom_id":' || to_json(i.custom_id)::text ||
   ',"response":null,"error":{"code":"${code}","message":"${message}"}}'`;

const DROPPED_AT_ONCE = 10_000;

/** Ready items of jobs that will not run them. */
const DROPS = {
  cancelled: {
    while: 'cancelling',
    code: 'batch_cancelled',
    message: 'This request was not executed because the batch was cancelled.',
  },
  expired: {
    while: 'expiring',
    code: 'batch_expired',
    message: 'This request could not be executed before the completion window expired.',
  },
} as const;

export interface JobPage {
  readonly owner: string;
  readonly kind: JobKind;
  readonly limit: number;
  /** id of the last one of the page before */
  readonly after: string | undefined;
}

export interface JobCounts {
  readonly jobs: readonly { readonly status: string; readonly count: number }[];
  readonly items: {
    readonly ready: number;
    readonly running: number;
    readonly completed: number;
    readonly failed: number;
    readonly cancelled: number;
    readonly expired: number;
  };
  /** since the oldest job that still has items to start was made; 0 = none */
  readonly oldestSeconds: number;
}

export function newId(prefix: string): string {
  return `${prefix}${randomBytes(12).toString('hex')}`;
}

function keyUsed(id: string): AvocadoError {
  return new AvocadoError(
    'bad_request',
    `This Idempotency-Key made ${id}, with another body. Send the same body, or a new key for a new one.`,
    { param: 'Idempotency-Key' },
  );
}

export class JobStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * @returns the job that was made; with an idempotency key that was used before, the job of that time
   * @throws AvocadoError `bad_request` when the key was used for another request
   */
  async create(job: NewJob): Promise<Job> {
    const id = newId(job.kind === 'batch' ? 'batch_' : 'job-');
    const made = await this.#database.query<Job>(
      `insert into avocado.jobs as j (id, kind, owner, endpoint, input_file, options, metadata, webhook, idempotency_key,
         completion_window, output_seconds, expires_at, request_hash)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now() + $12::float8 * interval '1 second', $13)
       on conflict (owner, idempotency_key) where idempotency_key is not null do nothing returning ${JOB}`,
      [
        ...[id, job.kind, job.owner, job.endpoint, job.inputFile, JSON.stringify(job.options)],
        ...[job.metadata === undefined ? null : JSON.stringify(job.metadata), job.webhook ?? null],
        ...[job.idempotencyKey ?? null, job.window ?? null, job.outputSeconds ?? null, job.windowSeconds ?? null],
        job.requestHash ?? null,
      ],
    );
    const found = made[0] ?? (await this.madeBefore(job));
    if (found === undefined) throw new Error('A job was neither made nor found. This is a bug.');
    return found;
  }

  /** The job that the same request made. @throws AvocadoError `bad_request` when the key was used for another one */
  async madeBefore({
    owner,
    idempotencyKey,
    requestHash,
  }: Pick<NewJob, 'owner' | 'idempotencyKey' | 'requestHash'>): Promise<Job | undefined> {
    if (idempotencyKey === undefined) return undefined;
    const [found] = await this.#database.query<Job & { readonly request_hash: string | null }>(
      `select ${JOB}, j.request_hash from avocado.jobs j where owner = $1 and idempotency_key = $2`,
      [owner, idempotencyKey],
    );
    if (found === undefined) return undefined;
    const { request_hash: before, ...old } = found;
    if (before !== null && before !== requestHash) throw keyUsed(old.id);
    return old;
  }

  async find(id: string, owner: string): Promise<Job | undefined> {
    const found = await this.#database.query<Job>(`select ${JOB} from avocado.jobs j where id = $1 and owner = $2`, [
      id,
      owner,
    ]);
    return found[0];
  }

  /** The newest first. */
  async list({ owner, kind, limit, after }: JobPage): Promise<readonly Job[]> {
    return await this.#database.query<Job>(
      `select ${JOB} from avocado.jobs j where owner = $1 and kind = $2 and ($3::text is null or
         (j.created_at, j.id) < (select created_at, id from avocado.jobs where id = $3 and owner = $1))
       order by j.created_at desc, j.id desc limit $4`,
      [owner, kind, after ?? null, limit],
    );
  }

  /** A job whose input is to be read, which nobody else reads. */
  async claimInput(reader: string, leaseSeconds: number): Promise<Job | undefined> {
    const found = await this.#database.query<Job>(
      `update avocado.jobs j set reader = $1, reader_until = now() + $2 * interval '1 second'
       where j.id = (select id from avocado.jobs where status = 'validating'
         and (reader_until is null or reader_until < now()) order by created_at limit 1 for update skip locked)
       returning ${JOB}`,
      [reader, leaseSeconds],
    );
    return found[0];
  }

  /** The whole input has been read: its items may be run. */
  async begin(job: string, reader: string, total: number): Promise<void> {
    await this.#database.query(
      `update avocado.jobs set status = 'in_progress', in_progress_at = now(), total = $3, reader = null,
         failed = (select count(*) from avocado.items where job = $1 and state = 'failed')::int
       where id = $1 and reader = $2 and status = 'validating'`,
      [job, reader, total],
    );
  }

  /** @param errors JSON: what is wrong with its input */
  async failInput(job: string, reader: string, errors: string): Promise<void> {
    await this.#database.query(
      `with ended as (update avocado.jobs set status = 'failed', failed_at = now(), errors = $3, reader = null
         where id = $1 and reader = $2 and status = 'validating' returning id, kind, webhook),
       told as (${DELIVER.replaceAll('$status', `'failed'`)})
       delete from avocado.items where job in (select id from ended)`,
      [job, reader, errors],
    );
  }

  /** Whether any job is not at its end. */
  async hasOpenJobs(): Promise<boolean> {
    const found = await this.#database.query(
      `select from avocado.jobs where status not in ('completed', 'failed', 'cancelled', 'expired') limit 1`,
    );
    return found.length > 0;
  }

  /** Jobs that have items to start, the oldest first. */
  async openJobs(limit: number): Promise<readonly string[]> {
    const found = await this.#database.query<{ readonly id: string }>(
      `select id from avocado.jobs j where status = 'in_progress' and total > ${ANSWERED} order by created_at limit $1`,
      [limit],
    );
    return found.map(({ id }) => id);
  }

  /** Forgets readers of inputs: this server is the only one, and has just begun. */
  async forgetReaders(): Promise<void> {
    await this.#database.query(`update avocado.jobs set reader_until = null where status = 'validating'`);
  }

  /**
   * Moves every job on as far as it can be: out of time, cancelled, done.
   * @returns ids of jobs that came to their end
   */
  async settle(): Promise<readonly string[]> {
    await this.#database.query(
      `update avocado.jobs set status = 'expiring', finalizing_at = now()
       where status in ('in_progress', 'paused', 'validating') and expires_at < now()`,
    );
    for (const state of Object.keys(DROPS) as (keyof typeof DROPS)[]) {
      let dropped: number;
      do dropped = await this.#drop(state);
      while (dropped > 0);
    }
    const ended = await this.#database.query<{ readonly id: string }>(END_JOBS);
    return ended.map(({ id }) => id);
  }

  async cancel(id: string, owner: string): Promise<Job | undefined> {
    return await this.#change(id, owner, `status = 'cancelling', cancelling_at = now()`, [
      'validating',
      'in_progress',
      'paused',
    ]);
  }

  async pause(id: string, owner: string): Promise<Job | undefined> {
    return await this.#change(id, owner, `status = 'paused'`, ['in_progress']);
  }

  async resume(id: string, owner: string): Promise<Job | undefined> {
    return await this.#change(id, owner, `status = 'in_progress'`, ['paused']);
  }

  async remove(id: string, owner: string): Promise<boolean> {
    const gone = await this.#database.query('delete from avocado.jobs where id = $1 and owner = $2 returning id', [
      id,
      owner,
    ]);
    return gone.length > 0;
  }

  async counts(): Promise<JobCounts> {
    const jobs = await this.#database.query<{ status: string; count: number }>(
      'select status, count(*)::int as count from avocado.jobs group by status',
    );
    const [items] = await this.#database.query<JobCounts['items'] & { readonly oldest: number }>(
      `select (sum(total) - sum(${ANSWERED}))::float8 as ready, sum(completed)::float8 as completed,
         sum(failed)::float8 as failed, sum(cancelled)::float8 as cancelled, sum(expired)::float8 as expired,
         (select count(*) from avocado.items where state = 'running')::float8 as running,
         (select extract(epoch from now() - min(created_at)) from avocado.jobs j
           where status = 'in_progress' and total > ${ANSWERED})::float8 as oldest from avocado.jobs j`,
    );
    const { ready, running, completed, failed, cancelled, expired, oldest } = items ?? {};
    return {
      jobs,
      items: {
        ready: Math.max(0, (ready ?? 0) - (running ?? 0)),
        running: running ?? 0,
        completed: completed ?? 0,
        failed: failed ?? 0,
        cancelled: cancelled ?? 0,
        expired: expired ?? 0,
      },
      oldestSeconds: oldest ?? 0,
    };
  }

  /** Some of the ready items of jobs that will not run them: no statement may take long. @returns how many */
  async #drop(state: keyof typeof DROPS): Promise<number> {
    const { code, message, while: status } = DROPS[state];
    const [{ count } = { count: 0 }] = await this.#database.query<{ readonly count: number }>(
      // By their place on the disk: by their names, a planner without statistics reads all ready items for each.
      `with dropped as (update avocado.items i set state = $1, finished_at = now(), code = '${code}',
           line = case j.kind when 'batch' then ${unrun(code, message)} end
         from avocado.jobs j where j.id = i.job and i.state = 'ready' and i.ctid = any(array(
           select r.ctid from avocado.jobs c join avocado.items r on r.job = c.id and r.state = 'ready'
           where c.status = '${status}' limit ${DROPPED_AT_ONCE}))
         returning i.job),
       counts as (select job, count(*)::int as count from dropped group by job),
       counted as (update avocado.jobs j set ${state} = j.${state} + c.count,
           total = greatest(j.total, ${ANSWERED} + c.count)
         from counts c where j.id = c.job returning c.count)
       select coalesce(sum(count), 0)::int as count from counted`,
      [state],
    );
    return count;
  }

  async #change(id: string, owner: string, set: string, from: readonly string[]): Promise<Job | undefined> {
    const changed = await this.#database.query<Job>(
      `update avocado.jobs j set ${set} where id = $1 and owner = $2 and status = any($3::text[]) returning ${JOB}`,
      [id, owner, from],
    );
    return changed[0];
  }
}

/** A message to the webhook of each ended job, with an id of its own: it is kept once. */
const DELIVER = `insert into avocado.deliveries (id, job, url, type)
  select 'evt_' || e.id || '_' || $status || '_' || floor(extract(epoch from now()))::text, e.id, e.webhook,
    e.kind || '.' || $status from ended e where e.webhook is not null on conflict do nothing`;

/** Whatever has no item left to run comes to its end; a batch gets its files, whose lines are those of its items. */
const END_JOBS = `
with ended as (
  update avocado.jobs j set
    status = case status when 'cancelling' then 'cancelled' when 'expiring' then 'expired' else 'completed' end,
    finalizing_at = coalesce(finalizing_at, case when status in ('in_progress', 'paused') then now() end),
    completed_at = case when status in ('in_progress', 'paused') then now() end,
    cancelled_at = case status when 'cancelling' then now() end,
    expired_at = case status when 'expiring' then now() end,
    reader = null
  where status in ('in_progress', 'paused', 'cancelling', 'expiring') and total = ${ANSWERED}
    and (status in ('in_progress', 'paused') or
      not exists (select from avocado.items i where i.job = j.id and i.state in ('ready', 'running')))
  returning id, kind, owner, webhook, status, output_seconds, completed, failed + cancelled + expired as others),
told as (${DELIVER.replaceAll('$status', 'e.status')}),
parts as (
  select e.*, 'output' as part, array['completed'] as states from ended e where kind = 'batch' and completed > 0
  union all
  select e.*, 'error', array['failed', 'cancelled', 'expired'] from ended e where kind = 'batch' and others > 0),
made as (
  insert into avocado.files (id, owner, purpose, filename, bytes, ready, job, part, expires_at)
  select 'file-' || p.id || '-' || p.part, p.owner, 'batch_output', p.id || '_' || p.part || '.jsonl',
    (select coalesce(sum(octet_length(i.line) + 1), 0) from avocado.items i where i.job = p.id and i.state = any(p.states)),
    true, p.id, p.part, now() + p.output_seconds * interval '1 second'
  from parts p on conflict (id) do nothing)
select id from ended`;
