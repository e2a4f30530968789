// /v1/files in OpenAI's shape: what clients upload for batches and jobs, and the output files of batches.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { checkValue } from '../../base/check-value.ts';
import { AvocadoError } from '../../base/errors.ts';
import { Type } from '../../base/schema.ts';
import type { OpenJobs } from '../../jobs/jobs.ts';
import type { ItemState, StoredFileRow } from '../../jobs/types.ts';
import type { Json } from '../../output/caption-answer.ts';
import { ID, openJobs, ownerOf, pageOf, seconds, storageLimits, type JobParts } from '../job-route.ts';
import { defineRoute, type Route } from '../route.ts';
import { receiveUpload } from '../wire/bodies.ts';
import { jsonResponse } from '../wire/schemas.ts';
import { resultLines } from './job-results.ts';

/** OpenAI's bounds of a lifetime. */
export const LIFETIME = Type.Integer({ minimum: 3600, maximum: 2_592_000 });
/** An input of a batch expires by itself, as OpenAI's do. */
const BATCH_SECONDS = 30 * 24 * 3600;
const PURPOSES = ['batch', 'user_data', 'vision', 'assistants', 'fine-tune', 'evals'] as const;

const FIELDS = Type.Object(
  {
    purpose: Type.Enum([...PURPOSES]),
    'expires_after[anchor]': Type.Optional(Type.Literal('created_at')),
    'expires_after[seconds]': Type.Optional(LIFETIME),
  },
  { additionalProperties: false },
);

const FORM = Type.Object({
  file: Type.String({ contentMediaType: 'application/octet-stream' }),
  ...FIELDS.properties,
});

/** Which items are the lines of an output file. */
const PARTS: Readonly<Record<'output' | 'error', readonly ItemState[]>> = {
  output: ['completed'],
  error: ['failed', 'cancelled', 'expired'],
};

function fileAnswer(file: StoredFileRow): Record<string, Json> {
  const { id, bytes, filename, purpose } = file;
  const times = { created_at: seconds(file.created_at), expires_at: seconds(file.expires_at) };
  return { id, object: 'file', bytes, ...times, filename, purpose, status: 'processed', status_details: null };
}

async function findFile({ files }: OpenJobs, id: string, request: FastifyRequest): Promise<StoredFileRow> {
  const file = await files.find(id, ownerOf(request));
  if (file !== undefined) return file;
  throw new AvocadoError('not_found', `No such File object: ${id.slice(0, 64)}`, { param: 'id' });
}

const FILE = { type: 'object', description: 'the file, as OpenAI describes it' };
const ERRORS = ['not_found', 'database_unavailable'] as const;

export function fileRoutes(parts: JobParts): Route[] {
  return [upload(parts), list(parts), show(parts), content(parts), remove(parts)];
}

function upload(parts: JobParts): Route {
  return defineRoute({
    method: 'POST',
    url: '/v1/files',
    access: 'key',
    limit: 'work',
    docs: {
      tag: 'OpenAI',
      summary: 'Upload a file of lines for a batch or a job',
      body: { 'multipart/form-data': FORM },
      responses: { 200: jsonResponse(FILE, 'The file') },
      errors: ['bad_request', 'unknown_field', 'media_too_large', 'queue_full', 'storage_full', ...ERRORS],
    },
    handler: async ({ request }) => {
      const { files } = await openJobs(parts);
      if (!request.isMultipart())
        throw new AvocadoError('bad_request', 'Send multipart/form-data with the fields file and purpose.');
      const { source, fields } = await receiveUpload(request, parts);
      try {
        const given = checkValue(
          FIELDS,
          Object.fromEntries(
            fields.map(([name, text]) => [name, name === 'expires_after[seconds]' ? Number(text) : text]),
          ),
          '',
        );
        const { purpose, 'expires_after[seconds]': lifetime } = given;
        const expiresSeconds = lifetime ?? (purpose === 'batch' ? BATCH_SECONDS : undefined);
        const { path } = await source.open({ signal: new AbortController().signal });
        const [filename, { size: bytes }] = [source.displayName.slice(0, 500), await stat(path)];
        const file = { owner: ownerOf(request), purpose, filename, bytes, expiresSeconds };
        return fileAnswer(await files.save(file, createReadStream(path), storageLimits(parts.config)));
      } finally {
        await source.release();
      }
    },
  });
}

function list(parts: JobParts): Route {
  return defineRoute({
    method: 'GET',
    url: '/v1/files',
    access: 'key',
    limit: 'none',
    docs: {
      tag: 'OpenAI',
      summary: 'Files, the newest first',
      responses: { 200: jsonResponse({ type: 'object' }, 'A page of files') },
      errors: ['bad_request', ...ERRORS],
    },
    handler: async ({ request }) => {
      const { limit = 1000, after } = pageOf(request.query);
      const { purpose, order = 'desc' } = request.query as { readonly purpose?: string; readonly order?: string };
      const { files } = await openJobs(parts);
      const found = await files.list({
        owner: ownerOf(request),
        purpose: typeof purpose === 'string' ? purpose : undefined,
        limit: limit + 1,
        after,
        order: order === 'asc' ? 'asc' : 'desc',
      });
      return listAnswer(found.slice(0, limit).map(fileAnswer), found.length > limit);
    },
  });
}

/** OpenAI's list. */
export function listAnswer(
  data: readonly Readonly<Record<string, Json>>[],
  hasMore: boolean,
): Readonly<Record<string, Json>> {
  const id = (one: Readonly<Record<string, Json>> | undefined): Json => one?.['id'] ?? null;
  return { object: 'list', data, first_id: id(data[0]), last_id: id(data.at(-1)), has_more: hasMore };
}

function show(parts: JobParts): Route {
  return defineRoute({
    method: 'GET',
    url: '/v1/files/:id',
    access: 'key',
    limit: 'none',
    params: ID,
    docs: {
      tag: 'OpenAI',
      summary: 'A file, without its bytes',
      responses: { 200: jsonResponse(FILE, 'The file') },
      errors: ERRORS,
    },
    handler: async ({ request, params: { id } }) => fileAnswer(await findFile(await openJobs(parts), id, request)),
  });
}

function content(parts: JobParts): Route {
  return defineRoute({
    method: 'GET',
    url: '/v1/files/:id/content',
    access: 'key',
    limit: 'none',
    params: ID,
    docs: {
      tag: 'OpenAI',
      summary: 'The bytes of a file',
      responses: { 200: { description: 'The bytes', content: { 'application/octet-stream': { schema: {} } } } },
      errors: ERRORS,
    },
    handler: async ({ request, reply, params: { id } }) => {
      const open = await openJobs(parts);
      const { job, part } = await findFile(open, id, request);
      const bytes = job === null || part === null ? open.files.read(id) : resultLines(open, job, PARTS[part]);
      return reply.type('application/octet-stream').send(Readable.from(bytes, { objectMode: false }));
    },
  });
}

function remove(parts: JobParts): Route {
  return defineRoute({
    method: 'DELETE',
    url: '/v1/files/:id',
    access: 'key',
    limit: 'none',
    params: ID,
    docs: {
      tag: 'OpenAI',
      summary: 'Delete a file',
      responses: { 200: jsonResponse({ type: 'object' }, 'It is gone') },
      errors: ERRORS,
    },
    handler: async ({ request, params: { id } }) => {
      const open = await openJobs(parts);
      const file = await findFile(open, id, request);
      await open.files.remove(file.id, file.owner);
      return { id: file.id, object: 'file', deleted: true };
    },
  });
}
