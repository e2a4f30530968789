// /v1/jobs: lists of media that the server captions by itself, also after it was restarted.
import type { FastifyRequest } from 'fastify';
import { AvocadoError } from '../../base/errors.ts';
import type { OpenJobs } from '../../jobs/jobs.ts';
import type { Job } from '../../jobs/types.ts';
import { findJob, ID, JOB, jobAnswer, openJobs, ownerOf, pageOf, type JobParts } from '../job-route.ts';
import { defineRoute, type Route } from '../route.ts';
import { jsonResponse } from '../wire/schemas.ts';
import { createJob } from './create-job.ts';
import { jobResults } from './job-results.ts';

export function jobRoutes(parts: JobParts): Route[] {
  return [createJob(parts), list(parts), show(parts), ...jobResults(parts), ...actions(parts)];
}

function list(parts: JobParts): Route {
  return defineRoute({
    method: 'GET',
    url: '/v1/jobs',
    access: 'key',
    limit: 'none',
    docs: {
      tag: 'jobs',
      summary: 'Jobs, the newest first',
      responses: { 200: jsonResponse({ type: 'object' }, 'A page of jobs; after=ID gives the next one') },
      errors: ['bad_request', 'not_found', 'database_unavailable'],
    },
    handler: async ({ request }) => {
      const { limit = 20, after } = pageOf(request.query);
      const { store } = await openJobs(parts);
      const found = await store.list({ owner: ownerOf(request), kind: 'job', limit: limit + 1, after });
      const data = found.slice(0, limit).map(jobAnswer);
      return { object: 'list', data, has_more: found.length > limit };
    },
  });
}

function show(parts: JobParts): Route {
  return defineRoute({
    method: 'GET',
    url: '/v1/jobs/:id',
    access: 'key',
    limit: 'none',
    params: ID,
    docs: {
      tag: 'jobs',
      summary: 'A job and how far it is',
      responses: { 200: jsonResponse(JOB, 'The job') },
      errors: ['not_found', 'database_unavailable'],
    },
    handler: async ({ request, params: { id } }) => jobAnswer(await findJob(await openJobs(parts), id, request)),
  });
}

type Act = (open: OpenJobs, job: Job, parts: JobParts, request: FastifyRequest) => Promise<Job | undefined>;

const ACTIONS: Readonly<Record<string, { readonly summary: string; readonly act: Act }>> = {
  cancel: {
    summary: 'Stop a job; what is captioned stays',
    act: async ({ store }, { id, owner }, { jobs }) => {
      const job = await store.cancel(id, owner);
      jobs?.stopJob(id);
      return job;
    },
  },
  pause: {
    summary: 'Start no more items of a job; those in work end',
    act: ({ store }, { id, owner }) => store.pause(id, owner),
  },
  resume: {
    summary: 'Go on with a paused job',
    act: async ({ store }, { id, owner }, { jobs }) => {
      const job = await store.resume(id, owner);
      jobs?.poke();
      return job;
    },
  },
  retry: {
    summary: 'Try failed items again, or with code=CODE those of one error',
    act: async ({ store, items }, job, { jobs }, { query }) => {
      if (job.kind !== 'job') return undefined;
      const { code } = query as { readonly code?: string };
      const count = await items.retryFailed(job.id, typeof code === 'string' && code !== '' ? code : undefined);
      jobs?.poke();
      return count === 0 ? undefined : await store.find(job.id, job.owner);
    },
  },
};

function actions(parts: JobParts): Route[] {
  const made = Object.entries(ACTIONS).map(([name, { summary, act }]) =>
    defineRoute({
      method: 'POST',
      url: `/v1/jobs/:id/${name}`,
      access: 'key',
      limit: 'none',
      params: ID,
      docs: {
        tag: 'jobs',
        summary,
        responses: { 200: jsonResponse(JOB, 'The job') },
        errors: ['bad_request', 'not_found', 'database_unavailable'],
      },
      handler: async ({ request, params: { id } }) => {
        const open = await openJobs(parts);
        const job = await findJob(open, id, request);
        const changed = await act(open, job, parts, request);
        if (changed !== undefined) return jobAnswer(changed);
        const nothing = name === 'retry' ? 'has no such failed items' : `is ${job.status}: there is nothing to ${name}`;
        throw new AvocadoError('bad_request', `The job ${job.id} ${nothing}.`);
      },
    }),
  );
  return [...made, remove(parts)];
}

function remove(parts: JobParts): Route {
  return defineRoute({
    method: 'DELETE',
    url: '/v1/jobs/:id',
    access: 'key',
    limit: 'none',
    params: ID,
    docs: {
      tag: 'jobs',
      summary: 'Remove a job with its items and results; what is in work is stopped',
      responses: { 204: { description: 'The job is gone', type: 'null' } },
      errors: ['not_found', 'database_unavailable'],
    },
    handler: async ({ request, reply, params: { id } }) => {
      const open = await openJobs(parts);
      const job = await findJob(open, id, request);
      await open.store.remove(job.id, job.owner);
      parts.jobs?.stopJob(job.id);
      return reply.code(204).send();
    },
  });
}
