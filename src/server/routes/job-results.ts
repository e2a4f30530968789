// What a job has done: its items page by page, its results as lines, its progress as events.
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkValue } from '../../base/check-value.ts';
import { AvocadoError } from '../../base/errors.ts';
import { Type } from '../../base/schema.ts';
import type { OpenJobs } from '../../jobs/jobs.ts';
import { isFinal, ITEM_STATES, type ItemState } from '../../jobs/types.ts';
import { findJob, ID, jobAnswer, openJobs, pageOf, seconds, type JobParts } from '../job-route.ts';
import { defineRoute, type Route } from '../route.ts';
import { jsonResponse } from '../wire/schemas.ts';
import { EventStream } from '../wire/sse.ts';

export function jobResults(parts: JobParts): Route[] {
  return [items(parts), results(parts), events(parts)];
}

const NDJSON = 'application/x-ndjson; charset=utf-8';
const EVENTS_MS = 1000;
const LINES_AT_ONCE = 100;

function items(parts: JobParts): Route {
  return defineRoute({
    method: 'GET',
    url: '/v1/jobs/:id/items',
    access: 'key',
    limit: 'none',
    params: ID,
    docs: {
      tag: 'jobs',
      summary: 'The items of a job with their states, page by page',
      description: `state=${ITEM_STATES.join('|')} gives only those; after=INDEX the next page; limit up to 1000.`,
      responses: { 200: jsonResponse({ type: 'object' }, 'A page of items') },
      errors: ['bad_request', 'not_found', 'database_unavailable'],
    },
    handler: async ({ request, params: { id } }) => {
      const { limit = 100, after = '-1' } = pageOf(request.query);
      const { state } = checkValue(
        Type.Object({ state: Type.Optional(Type.Enum([...ITEM_STATES])) }),
        { state: (request.query as { readonly state?: unknown }).state },
        '',
      ) as { readonly state?: ItemState };
      if (!/^-?\d{1,9}$/.test(after)) throw new AvocadoError('bad_request', 'after must be the index of an item.');
      const open = await openJobs(parts);
      const job = await findJob(open, id, request);
      const rows = await open.items.list({ job: job.id, state, after: Number(after), limit: limit + 1 });
      const data = rows.slice(0, limit).map((row) => ({
        index: row.n,
        id: row.custom_id,
        media: row.media,
        status: row.state,
        attempts: row.attempts,
        error: row.code === null ? null : { code: row.code, message: row.message },
        finished_at: seconds(row.finished_at),
      }));
      return { object: 'list', data, has_more: rows.length > limit };
    },
  });
}

/** Lines of finished items, a page of them in memory at a time. */
export async function* resultLines(
  { items: store }: OpenJobs,
  job: string,
  states: readonly ItemState[],
  from = -1,
): AsyncGenerator<string> {
  for (let after = from; ;) {
    const page = await store.lines(job, states, after, LINES_AT_ONCE);
    const last = page.at(-1);
    if (last === undefined) return;
    yield page.map(({ line }) => `${line}\n`).join('');
    after = last.n;
  }
}

function results(parts: JobParts): Route {
  return defineRoute({
    method: 'GET',
    url: '/v1/jobs/:id/results',
    access: 'key',
    limit: 'none',
    params: ID,
    docs: {
      tag: 'jobs',
      summary: 'What is done so far: a JSON line for each item that was captioned or failed',
      description: 'index=1,2,3 gives only the lines of these items, at most 1000.',
      responses: { 200: { description: 'JSON lines', content: { 'application/x-ndjson': { schema: {} } } } },
      errors: ['bad_request', 'not_found', 'database_unavailable'],
    },
    handler: async ({ request, reply, params: { id } }) => {
      const numbers = numbersIn(request.query);
      const open = await openJobs(parts);
      const job = await findJob(open, id, request);
      if (numbers === undefined)
        return reply.type(NDJSON).send(Readable.from(resultLines(open, job.id, ['completed', 'failed'])));
      const lines = await open.items.linesOf(job.id, numbers);
      return reply.type(NDJSON).send(lines.map(({ line }) => `${line}\n`).join(''));
    },
  });
}

/** @returns undefined: all are wanted @throws AvocadoError `bad_request` */
function numbersIn(query: unknown): readonly number[] | undefined {
  const { index } = query as { readonly index?: unknown };
  if (index === undefined) return undefined;
  if (typeof index !== 'string' || !/^\d{1,9}(,\d{1,9}){0,999}$/.test(index))
    throw new AvocadoError('bad_request', 'index must be indexes of items with commas between them, such as 0,7.');
  return index.split(',').map(Number);
}

function events(parts: JobParts): Route {
  return defineRoute({
    method: 'GET',
    url: '/v1/jobs/:id/events',
    access: 'key',
    limit: 'none',
    params: ID,
    options: { sse: 'manual' },
    docs: {
      tag: 'jobs',
      summary: 'How far a job is, as server-sent events',
      description:
        'An event progress with the job whenever it has changed, and an event end with it as the last one. A server ' +
        'that stops ends the stream without it: ask again.',
      responses: { 200: { description: 'Events', content: { 'text/event-stream': { schema: { type: 'string' } } } } },
      errors: ['not_found', 'database_unavailable'],
    },
    handler: async ({ request, reply, params: { id } }) => {
      const open = await openJobs(parts);
      let job = await findJob(open, id, request);
      // Its answer would begin with the end of the job.
      if (request.method === 'HEAD') return reply.type('text/event-stream').send('');
      const stream = new EventStream(request, reply);
      let told = '';
      while (stream.isConnected && parts.jobs?.isDraining === false) {
        const text = JSON.stringify(job);
        const event = isFinal(job.status) ? 'end' : 'progress';
        if (text !== told) await stream.send({ event, data: jobAnswer(job) });
        told = text;
        if (event === 'end') break;
        await Promise.race([sleep(EVENTS_MS, undefined, { ref: false }), request.context.closed]);
        job = await findJob(open, id, request);
      }
      return undefined;
    },
  });
}
