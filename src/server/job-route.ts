// What the routes of jobs, batches and files share.
import { hash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { checkValue } from '../base/check-value.ts';
import { AvocadoError } from '../base/errors.ts';
import { Type } from '../base/schema.ts';
import type { Jobs, OpenJobs } from '../jobs/jobs.ts';
import type { Job } from '../jobs/types.ts';
import type { Json } from '../output/caption-answer.ts';
import type { CaptionParts } from './caption-route.ts';

export interface JobParts extends Pick<CaptionParts, 'intake' | 'config'> {
  /** undefined: the server has none */
  readonly jobs: Jobs | undefined;
}

export const ID = Type.Object({ id: Type.String() });
const PAGE = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
  after: Type.Optional(Type.String()),
};

/** For the API's description. */
export const JOB = { type: 'object', description: 'the job' };

/** OpenAI's limits of metadata. */
export const METADATA = Type.Record(Type.String({ maxLength: 64 }), Type.String({ maxLength: 512 }), {
  maxProperties: 16,
});

/** @throws AvocadoError `not_found` where the server has no jobs, `database_unavailable` */
export async function openJobs({ jobs }: Pick<JobParts, 'jobs'>): Promise<OpenJobs> {
  if (jobs !== undefined) return await jobs.open();
  const how = 'It is started with --jobs-dir DIR, or with --database URL.';
  throw new AvocadoError('not_found', `This server has no jobs, batches and files. ${how}`);
}

/** Names of keys own jobs and files; without keys everything belongs to everybody. */
export function ownerOf({ context }: FastifyRequest): string {
  return context.keyName ?? '';
}

/** @throws AvocadoError `not_found` */
export async function findJob(open: OpenJobs, id: string, request: FastifyRequest): Promise<Job> {
  const job = await open.store.find(id, ownerOf(request));
  if (job !== undefined) return job;
  throw new AvocadoError('not_found', `There is no job ${id.slice(0, 64)}. GET /v1/jobs lists yours.`);
}

/** The order of fields is part of it: whoever sends a request again sends the same text. */
export function hashOf(request: unknown): string {
  return hash('sha256', JSON.stringify(request));
}

export function pageOf(query: unknown): { readonly limit: number | undefined; readonly after: string | undefined } {
  const { limit, after } = query as { readonly limit?: string; readonly after?: string };
  const page = checkValue(
    Type.Object(PAGE),
    {
      ...(limit === undefined ? {} : { limit: Number(limit) }),
      ...(after === undefined ? {} : { after }),
    },
    '',
  );
  return { limit: page.limit, after: page.after };
}

/** Whole seconds since 1970, as OpenAI counts. */
export function seconds(time: number | null): number | null {
  return time === null ? null : Math.floor(time);
}

/** What a client sees of a job. */
export function jobAnswer(job: Job): Record<string, Json> {
  const ended = job.completed_at ?? job.failed_at ?? job.cancelled_at ?? job.expired_at;
  return {
    id: job.id,
    object: 'job',
    kind: job.kind,
    status: job.status,
    endpoint: job.endpoint,
    created_at: seconds(job.created_at),
    started_at: seconds(job.in_progress_at),
    ended_at: seconds(ended),
    request_counts: countsOf(job),
    usage: { prompt_tokens: job.prompt_tokens, completion_tokens: job.completion_tokens },
    media_seconds: Math.round(job.media_seconds * 1000) / 1000,
    options: JSON.parse(job.options) as Json,
    metadata: job.metadata === null ? null : (JSON.parse(job.metadata) as Json),
    webhook: job.webhook,
    errors: job.errors === null ? null : (JSON.parse(job.errors) as Json),
  };
}

function countsOf({ total, completed, failed, cancelled, expired }: Job): Record<string, Json> {
  return { total, completed, failed, cancelled, expired };
}

/** What a file of a client may take. */
export function storageLimits({
  maxUploadBytes,
  maxStoredBytes,
}: Pick<CaptionParts['config'], 'maxUploadBytes' | 'maxStoredBytes'>): Parameters<OpenJobs['files']['save']>[2] {
  return {
    maxBytes: maxUploadBytes,
    tooLarge: () => new AvocadoError('media_too_large', `The file has more than ${maxUploadBytes} bytes.`),
    maxStoredBytes,
    full: () =>
      new AvocadoError('storage_full', 'The server has no room for more files. Delete some at DELETE /v1/files/ID.'),
  };
}
