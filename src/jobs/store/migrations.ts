// The tables, as steps that are applied once and in order. A released step is never changed: a new one follows.
import { openPostgres, type Database } from './database.ts';

/** Any number that no other program on the same database uses: two servers that start at once apply steps in turn. */
const LOCK = 7_262_010;

const STEPS: readonly string[] = [
  `
create table avocado.jobs (
  id text primary key,
  kind text not null,
  owner text not null,
  endpoint text not null,
  status text not null default 'validating',
  input_file text not null,
  options text not null default '{}',
  metadata text,
  webhook text,
  idempotency_key text,
  completion_window text,
  output_seconds int,
  total int not null default 0,
  completed int not null default 0,
  failed int not null default 0,
  cancelled int not null default 0,
  expired int not null default 0,
  prompt_tokens float8 not null default 0,
  completion_tokens float8 not null default 0,
  media_seconds float8 not null default 0,
  errors text,
  created_at timestamptz not null default now(),
  in_progress_at timestamptz,
  finalizing_at timestamptz,
  completed_at timestamptz,
  failed_at timestamptz,
  expired_at timestamptz,
  cancelling_at timestamptz,
  cancelled_at timestamptz,
  expires_at timestamptz,
  reader text,
  reader_until timestamptz
);
create unique index jobs_idempotency on avocado.jobs (owner, idempotency_key) where idempotency_key is not null;
create index jobs_listed on avocado.jobs (owner, kind, created_at desc, id desc);
create index jobs_open on avocado.jobs (created_at)
  where status not in ('completed', 'failed', 'cancelled', 'expired');

create table avocado.items (
  job text not null references avocado.jobs (id) on delete cascade,
  n int not null,
  custom_id text not null,
  media text not null,
  payload text not null,
  state text not null default 'ready',
  token int not null default 0,
  runner text,
  lease_until timestamptz,
  not_before timestamptz not null default '-infinity',
  attempts int not null default 0,
  deaths int not null default 0,
  code text,
  message text,
  line text,
  finished_at timestamptz,
  primary key (job, n)
);
create index items_ready on avocado.items (job, not_before, n) where state = 'ready';
create index items_running on avocado.items (lease_until) where state = 'running';
create index items_failed on avocado.items (job, n) where state = 'failed';

create table avocado.files (
  id text primary key,
  owner text not null,
  purpose text not null,
  filename text not null,
  bytes float8 not null default 0,
  ready boolean not null default false,
  job text references avocado.jobs (id) on delete cascade,
  part text,
  created_at timestamptz not null default now(),
  expires_at timestamptz
);
create index files_listed on avocado.files (owner, created_at desc, id desc);
create index files_expiring on avocado.files (expires_at) where expires_at is not null;
create table avocado.file_chunks (
  file text not null references avocado.files (id) on delete cascade,
  n int not null,
  bytes bytea not null,
  primary key (file, n)
);

create table avocado.deliveries (
  id text primary key,
  job text not null references avocado.jobs (id) on delete cascade,
  url text not null,
  type text not null,
  attempts int not null default 0,
  created_at timestamptz not null default now(),
  next_at timestamptz not null default now(),
  delivered_at timestamptz,
  gave_up_at timestamptz,
  error text
);
create index deliveries_due on avocado.deliveries (next_at) where delivered_at is null and gave_up_at is null;
`,
  `
alter table avocado.items add column work text;
create index items_work on avocado.items (work) where work is not null;
`,
  // A claim reads over the old versions of items that were claimed before: they are to be cleared away early.
  `
alter table avocado.items set (autovacuum_vacuum_scale_factor = 0.02);
`,
  // Null in jobs made before this step: what they were asked for is not known.
  `
alter table avocado.jobs add column request_hash text;
`,
];

/** Steps that the tables have had; 0 where there are no tables. */
async function stepsDone(database: Database): Promise<number> {
  const [{ made } = { made: false }] = await database.query<{ made: boolean }>(
    `select to_regclass('avocado.migrations') is not null as made`,
  );
  if (!made) return 0;
  const [{ done } = { done: 0 }] = await database.query<{ done: number }>(
    'select coalesce(max(step), 0)::int as done from avocado.migrations',
  );
  return done;
}

export interface Migration {
  /** steps that the tables had before */
  readonly before: number;
  /** steps that they have now; more than this program knows when a newer one was here */
  readonly after: number;
}

/**
 * Brings the tables to what this program needs. Any number of servers may call it at once. Where nothing is to be done
 * it only reads: then a user who may not change tables will do.
 */
export async function migrate(database: Database): Promise<Migration> {
  const before = await stepsDone(database);
  if (before >= STEPS.length) return { before, after: before };
  await database.run(`
select pg_advisory_xact_lock(${LOCK});
create schema if not exists avocado;
create table if not exists avocado.migrations (step int primary key, applied_at timestamptz not null default now());`);
  for (const [index, step] of STEPS.entries()) {
    if (index < before) continue;
    // Under the lock, the step is inserted first: a server that comes second fails there and finds it applied.
    await database
      .run(
        `select pg_advisory_xact_lock(${LOCK}); insert into avocado.migrations (step) values (${index + 1});\n${step}`,
      )
      .catch((thrown: unknown) => {
        if ((thrown as { readonly code?: string }).code !== '23505') throw thrown;
      });
  }
  return { before, after: STEPS.length };
}

/**
 * The same for a PostgreSQL at a URL, and nothing else.
 * @throws AvocadoError `database_unavailable`, `storage_full`
 */
export async function migratePostgres(url: string): Promise<Migration> {
  const database = await openPostgres(url);
  try {
    return await migrate(database);
  } finally {
    await database.close();
  }
}
