// /v1/batches in OpenAI's shape: jobs whose items are requests of one of our routes, with files in and out.
import type { FastifyRequest } from 'fastify';
import { checkValue } from '../../base/check-value.ts';
import { AvocadoError } from '../../base/errors.ts';
import { Type } from '../../base/schema.ts';
import type { OpenJobs } from '../../jobs/jobs.ts';
import { ENDPOINTS, isFinal, type Job } from '../../jobs/types.ts';
import type { Json } from '../../output/caption-answer.ts';
import { hashOf, ID, METADATA, openJobs, ownerOf, pageOf, seconds, type JobParts } from '../job-route.ts';
import { defineRoute, type Route } from '../route.ts';
import { jsonResponse } from '../wire/schemas.ts';
import { LIFETIME, listAnswer } from './files.ts';

/** OpenAI's largest input of a batch. */
const MOST_INPUT_BYTES = 200 * 1024 ** 2;

const BODY = Type.Object(
  {
    input_file_id: Type.String({ description: 'a JSONL file of /v1/files with the purpose batch' }),
    endpoint: Type.Enum([...ENDPOINTS]),
    completion_window: Type.Literal('24h'),
    metadata: Type.Optional(Type.Union([METADATA, Type.Null()])),
    output_expires_after: Type.Optional(
      Type.Object({ anchor: Type.Literal('created_at'), seconds: LIFETIME }, { additionalProperties: false }),
    ),
  },
  { additionalProperties: false },
);

/** OpenAI has no name for a batch that runs out of time while some of it is being stopped. */
function statusOf({ status }: Job): string {
  return status === 'expiring' ? 'finalizing' : status === 'paused' ? 'in_progress' : status;
}

/** Output files exist when the batch has ended, and only with lines in them. */
function outputs(job: Job): Record<string, Json> {
  const id = (part: string, lines: number): Json =>
    isFinal(job.status) && lines > 0 ? `file-${job.id}-${part}` : null;
  return {
    output_file_id: id('output', job.completed),
    error_file_id: id('error', job.failed + job.cancelled + job.expired),
  };
}

function batchAnswer(job: Job): Record<string, Json> {
  const { prompt_tokens: input, completion_tokens: output } = job;
  return {
    id: job.id,
    object: 'batch',
    endpoint: job.endpoint,
    model: null,
    errors: job.errors === null ? null : { object: 'list', data: JSON.parse(job.errors) as Json },
    input_file_id: job.input_file,
    completion_window: job.completion_window,
    status: statusOf(job),
    ...outputs(job),
    created_at: seconds(job.created_at),
    in_progress_at: seconds(job.in_progress_at),
    expires_at: seconds(job.expires_at),
    finalizing_at: seconds(job.finalizing_at),
    completed_at: seconds(job.completed_at),
    failed_at: seconds(job.failed_at),
    expired_at: seconds(job.expired_at),
    cancelling_at: seconds(job.cancelling_at),
    cancelled_at: seconds(job.cancelled_at),
    request_counts: { total: job.total, completed: job.completed, failed: job.failed },
    usage: {
      input_tokens: input,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: output,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: input + output,
    },
    metadata: job.metadata === null ? null : (JSON.parse(job.metadata) as Json),
  };
}

async function findBatch({ store }: OpenJobs, id: string, request: FastifyRequest): Promise<Job> {
  const job = await store.find(id, ownerOf(request));
  if (job?.kind === 'batch') return job;
  throw new AvocadoError('not_found', `No batch found with id '${id.slice(0, 64)}'.`, { param: 'id' });
}

const BATCH = { type: 'object', description: 'the batch, as OpenAI describes it' };
const ERRORS = ['not_found', 'database_unavailable'] as const;

export function batchRoutes(parts: JobParts): Route[] {
  return [create(parts), list(parts), show(parts), cancel(parts)];
}

function create(parts: JobParts): Route {
  return defineRoute({
    method: 'POST',
    url: '/v1/batches',
    access: 'key',
    limit: 'work',
    docs: {
      tag: 'OpenAI',
      summary: 'Run the requests of a file',
      body: { 'application/json': BODY },
      responses: { 200: jsonResponse(BATCH, 'The batch') },
      errors: ['bad_request', 'unknown_field', 'queue_full', ...ERRORS],
    },
    handler: async ({ request }) => {
      const open = await openJobs(parts);
      const body = checkValue(BODY, request.body, '');
      const owner = ownerOf(request);
      const input = await open.files.find(body.input_file_id, owner);
      if (input?.purpose !== 'batch')
        throw new AvocadoError('bad_request', 'input_file_id must be a file uploaded with the purpose batch.', {
          param: 'input_file_id',
        });
      if (input.bytes > MOST_INPUT_BYTES)
        throw new AvocadoError('bad_request', `The input file has more than ${MOST_INPUT_BYTES} bytes.`, {
          param: 'input_file_id',
        });
      const key = request.headers['idempotency-key'];
      const job = await open.store.create({
        kind: 'batch',
        owner,
        endpoint: body.endpoint,
        inputFile: input.id,
        options: {},
        metadata: body.metadata ?? undefined,
        webhook: parts.config.webhookUrl,
        idempotencyKey: typeof key === 'string' && key !== '' ? `batch ${key.slice(0, 200)}` : undefined,
        requestHash: hashOf(body),
        windowSeconds: parts.config.batchWindowSeconds,
        window: body.completion_window,
        outputSeconds: body.output_expires_after?.seconds,
      });
      return batchAnswer(job);
    },
  });
}

function list(parts: JobParts): Route {
  return defineRoute({
    method: 'GET',
    url: '/v1/batches',
    access: 'key',
    limit: 'none',
    docs: {
      tag: 'OpenAI',
      summary: 'Batches, the newest first',
      responses: { 200: jsonResponse({ type: 'object' }, 'A page of batches') },
      errors: ['bad_request', ...ERRORS],
    },
    handler: async ({ request }) => {
      const { limit = 20, after } = pageOf(request.query);
      const { store } = await openJobs(parts);
      const found = await store.list({ owner: ownerOf(request), kind: 'batch', limit: limit + 1, after });
      return listAnswer(found.slice(0, limit).map(batchAnswer), found.length > limit);
    },
  });
}

function show(parts: JobParts): Route {
  return defineRoute({
    method: 'GET',
    url: '/v1/batches/:id',
    access: 'key',
    limit: 'none',
    params: ID,
    docs: {
      tag: 'OpenAI',
      summary: 'A batch and how far it is',
      responses: { 200: jsonResponse(BATCH, 'The batch') },
      errors: ERRORS,
    },
    handler: async ({ request, params: { id } }) => batchAnswer(await findBatch(await openJobs(parts), id, request)),
  });
}

function cancel(parts: JobParts): Route {
  return defineRoute({
    method: 'POST',
    url: '/v1/batches/:id/cancel',
    access: 'key',
    limit: 'none',
    params: ID,
    docs: {
      tag: 'OpenAI',
      summary: 'Cancel a batch; what is answered stays',
      responses: { 200: jsonResponse(BATCH, 'The batch') },
      errors: ['bad_request', ...ERRORS],
    },
    handler: async ({ request, params: { id } }) => {
      const open = await openJobs(parts);
      const batch = await findBatch(open, id, request);
      const cancelled = await open.store.cancel(batch.id, batch.owner);
      parts.jobs?.stopJob(batch.id);
      if (cancelled !== undefined) return batchAnswer(cancelled);
      if (batch.status === 'cancelling') return batchAnswer(batch);
      throw new AvocadoError('bad_request', `Cannot cancel a batch with status '${statusOf(batch)}'.`);
    },
  });
}
