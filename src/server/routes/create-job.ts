// POST /v1/jobs: a list of media, in JSON, as a file in a form, or uploaded before.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { checkValue } from '../../base/check-value.ts';
import { AvocadoError } from '../../base/errors.ts';
import { Type } from '../../base/schema.ts';
import type { OpenJobs } from '../../jobs/jobs.ts';
import type { Job, NewJob } from '../../jobs/types.ts';
import { hashOf, JOB, jobAnswer, METADATA, openJobs, ownerOf, storageLimits, type JobParts } from '../job-route.ts';
import { defineRoute, type Route } from '../route.ts';
import { receiveUpload } from '../wire/bodies.ts';
import { jsonFields } from '../wire/caption-body.ts';
import { jsonResponse } from '../wire/schemas.ts';

const JOB_PROPERTIES = {
  options: Type.Optional(
    Type.Object({}, { additionalProperties: true, description: 'options of every item that does not say otherwise' }),
  ),
  metadata: Type.Optional(METADATA),
  webhook: Type.Optional(Type.String({ description: 'an address that is told the end of the job' })),
} as const;

const ITEM = Type.Object(
  {
    media: Type.String({ minLength: 1, description: 'media://NAME/path, or an https: or http: address' }),
    id: Type.Optional(Type.String({ description: 'your name for it; comes back with the result' })),
    fields: Type.Optional(Type.Object({}, { additionalProperties: true, description: 'come back with the result' })),
  },
  { additionalProperties: true, description: 'and any option of a caption' },
);

const JSON_BODY = Type.Object(
  {
    items: Type.Optional(Type.Array(ITEM, { minItems: 1, maxItems: 1000 })),
    input_file_id: Type.Optional(Type.String({ description: 'a JSONL file of /v1/files with an item in each line' })),
    ...JOB_PROPERTIES,
  },
  { additionalProperties: false },
);

const FORM_BODY = Type.Object({
  file: Type.String({ contentMediaType: 'application/octet-stream', description: 'JSONL: an item in each line' }),
  options: Type.Optional(Type.String({ description: 'a JSON object' })),
  metadata: Type.Optional(Type.String({ description: 'a JSON object' })),
  webhook: Type.Optional(Type.String()),
});

/** A job is gone when its file of items has waited so long for a server that reads it. */
const INPUT_SECONDS = 30 * 24 * 3600;

export function createJob(parts: JobParts): Route {
  return defineRoute({
    method: 'POST',
    url: '/v1/jobs',
    access: 'key',
    limit: 'work',
    docs: {
      tag: 'jobs',
      summary: 'Caption a list of media without waiting',
      description:
        'The list is items in JSON, a JSONL file in a form, or the id of one uploaded at /v1/files. A request with ' +
        'the header Idempotency-Key makes one job, however often it is sent; with another body it is refused.',
      headers: Type.Object({ 'idempotency-key': Type.Optional(Type.String({ maxLength: 200 })) }),
      body: { 'application/json': JSON_BODY, 'multipart/form-data': FORM_BODY },
      responses: { 201: jsonResponse(JOB, 'The job') },
      errors: ['bad_request', 'unknown_field', 'not_found', 'queue_full', 'storage_full', 'database_unavailable'],
    },
    handler: async ({ request, reply }) => {
      const open = await openJobs(parts);
      const made = request.isMultipart() ? await fromForm(request, open, parts) : await fromJson(request, open, parts);
      parts.jobs?.poke();
      return reply.code(201).send(jobAnswer(made));
    },
  });
}

interface JobFields {
  readonly options?: object;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly webhook?: string;
}

/** @throws AvocadoError `bad_request`, `unknown_field` */
function newJob(
  request: FastifyRequest,
  fields: JobFields,
  { inputFile, requestHash }: Pick<NewJob, 'inputFile' | 'requestHash'>,
  { config, intake }: JobParts,
): NewJob {
  const { options = {}, metadata, webhook = config.webhookUrl } = fields;
  jsonFields({ media: 'media://any/file', ...options }); // what is wrong with it is wrong with every item
  if (webhook !== undefined) {
    if (config.webhookSecret === undefined)
      throw new AvocadoError('bad_request', 'This server signs no messages: start it with AVOCADO_WEBHOOK_SECRET.', {
        param: 'webhook',
      });
    intake.checkAddress(webhook, 'webhook');
  }
  const key = request.headers['idempotency-key'];
  return {
    kind: 'job',
    owner: ownerOf(request),
    endpoint: '/v1/captions',
    inputFile,
    options: { ...options },
    metadata,
    webhook,
    idempotencyKey: typeof key === 'string' && key !== '' ? key.slice(0, 200) : undefined,
    requestHash,
    windowSeconds: undefined,
    window: undefined,
    outputSeconds: undefined,
  };
}

/** @param input keeps the list, or finds it; not called for a request that made its job before */
async function makeOnce({ store }: OpenJobs, job: NewJob, input: () => Promise<string>): Promise<Job> {
  return (await store.madeBefore(job)) ?? (await store.create({ ...job, inputFile: await input() }));
}

async function fromJson(request: FastifyRequest, open: OpenJobs, parts: JobParts): Promise<Job> {
  const body = checkValue(JSON_BODY, request.body, '');
  const { items: list, input_file_id: given, ...fields } = body;
  if ((list === undefined) === (given === undefined))
    throw new AvocadoError('bad_request', 'Give items, or the input_file_id of a file with an item in each line.');
  const job = newJob(request, fields, { inputFile: given ?? '', requestHash: hashOf(body) }, parts);
  return await makeOnce(open, job, async () => {
    if (list !== undefined) {
      const lines = list.map((item) => `${JSON.stringify(item)}\n`).join('');
      const bytes = Buffer.from(lines);
      return await keepInput(open, job.owner, [bytes], bytes.length, parts);
    }
    const file = await open.files.find(job.inputFile, job.owner);
    if (file?.job === null) return file.id;
    throw new AvocadoError('not_found', `There is no file ${job.inputFile.slice(0, 64)} of items.`, {
      param: 'input_file_id',
    });
  });
}

async function fromForm(request: FastifyRequest, open: OpenJobs, parts: JobParts): Promise<Job> {
  const { source, fields } = await receiveUpload(request, parts);
  try {
    const given: Record<string, unknown> = {};
    for (const [name, text] of fields) given[name] = name === 'webhook' ? text : jsonOf(name, text);
    const schema = Type.Object(JOB_PROPERTIES, { additionalProperties: false });
    const { path, contentHash } = await source.open({ signal: new AbortController().signal });
    const asked = { inputFile: '', requestHash: hashOf([fields, contentHash]) };
    const job = newJob(request, checkValue(schema, given, ''), asked, parts);
    const { size } = await stat(path);
    if (size === 0) throw new AvocadoError('bad_request', 'The file has no lines.', { param: 'file' });
    return await makeOnce(open, job, () => keepInput(open, job.owner, createReadStream(path), size, parts));
  } finally {
    await source.release();
  }
}

function jsonOf(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AvocadoError('bad_request', `${name} is not JSON.`, { param: name, cause });
  }
}

async function keepInput(
  { files }: OpenJobs,
  owner: string,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  bytes: number,
  { config }: JobParts,
): Promise<string> {
  const file = { owner, purpose: 'job', filename: 'items.jsonl', bytes, expiresSeconds: INPUT_SECONDS };
  return (await files.save(file, Readable.from(chunks), storageLimits(config))).id;
}
