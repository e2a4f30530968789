// Rows of the server's table about jobs, batches and files.
import { existsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { boolean, integer, text, type SettingTable, type SettingValues } from './setting.ts';

export const JOB_ROWS = {
  databaseUrl: {
    group: 'jobs',
    flag: 'database',
    metavar: 'url',
    type: text,
    default: undefined,
    defaultText: 'none',
    help: 'jobs, batches and files are kept in this PostgreSQL, which any number of servers may share: postgres://…',
    variable: 'AVOCADO_DATABASE_URL',
  },
  jobsDirectory: {
    group: 'jobs',
    flag: 'jobs-dir',
    metavar: 'dir',
    type: text,
    default: undefined,
    defaultText: 'none: without it and --database the server has no jobs',
    help: 'without a PostgreSQL, jobs, batches and files are kept in this directory of this server alone',
  },
  jobSlots: {
    group: 'jobs',
    flag: 'job-slots',
    metavar: 'n',
    type: integer(0),
    default: undefined,
    defaultText: 'all slots; one less for a minute after a request of a client',
    help: 'items of jobs captioned at a time by this server, 0 = none: it takes jobs for others',
  },
  jobsOnly: {
    group: 'jobs',
    flag: 'jobs-only',
    type: boolean,
    default: false,
    help: 'a worker: it runs items of the jobs in --database and answers only probes, metrics and its model',
  },
  jobLeaseSeconds: {
    group: 'jobs',
    flag: 'job-lease-seconds',
    metavar: 's',
    type: integer(2),
    default: 30,
    help: 'what a server had in work when it died is taken by another one after so long',
  },
  maxStoredBytes: {
    group: 'jobs',
    flag: 'max-stored-bytes',
    metavar: 'n',
    type: integer(1),
    default: 16 * 1024 ** 3,
    help: 'most bytes of files that clients uploaded at /v1/files',
  },
  webhookSecret: {
    group: 'jobs',
    flag: 'webhook-secret',
    metavar: 'text',
    type: text,
    default: undefined,
    defaultText: 'none: jobs cannot have webhooks',
    help: 'signs the messages to webhooks: whsec_ and base64, or any text; better given as the variable',
  },
  webhookUrl: {
    group: 'jobs',
    flag: 'webhook-url',
    metavar: 'url',
    type: text,
    default: undefined,
    defaultText: 'none',
    help: 'is told the end of every batch, and of jobs that name no address of their own',
  },
} as const satisfies SettingTable;

/** @returns a sentence that does not repeat the URL: it may hold a password */
export function databaseMistake(url: string): string | undefined {
  const isRight = /^postgres(ql)?:\/\//.test(url);
  return isRight ? undefined : '--database must be a URL like postgres://user:password@host:5432/name.';
}

/** Said at the start: the directory is made when the first job comes. */
function isUsable(directory: string): boolean {
  let path = resolve(directory);
  while (!existsSync(path)) path = dirname(path);
  return statSync(path).isDirectory();
}

/** @returns sentences about values that do not go together, or do not go */
export function jobMistakes({
  databaseUrl,
  jobsDirectory,
  jobsOnly,
  jobSlots,
  webhookUrl,
  webhookSecret,
}: SettingValues<typeof JOB_ROWS>): readonly string[] {
  const mistakes: string[] = [];
  if (databaseUrl !== undefined && jobsDirectory !== undefined)
    mistakes.push('--database and --jobs-dir exclude each other: give one of them.');
  if (jobsDirectory !== undefined && !isUsable(jobsDirectory))
    mistakes.push(`--jobs-dir ${jobsDirectory} is not a directory, and cannot be made one.`);
  const wrong = databaseUrl === undefined ? undefined : databaseMistake(databaseUrl);
  if (wrong !== undefined) mistakes.push(wrong);
  if (jobsOnly && databaseUrl === undefined)
    mistakes.push('--jobs-only needs --database: the PostgreSQL whose jobs it runs.');
  if (jobsOnly && jobSlots === 0) mistakes.push('--jobs-only with --job-slots 0 has nothing to do: leave one out.');
  if (webhookUrl !== undefined && webhookSecret === undefined)
    mistakes.push('--webhook-url needs a secret: set AVOCADO_WEBHOOK_SECRET.');
  return mistakes;
}
