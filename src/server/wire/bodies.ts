// Request bodies: JSON that may hold files as base64, and multipart forms, whose file goes to intake as a stream of
// bytes.
import { Buffer } from 'node:buffer';
import multipart, { type MultipartFile } from '@fastify/multipart';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Admission } from '../../admission/admission.ts';
import { asAvocadoError, AvocadoError } from '../../base/errors.ts';
import type { Intake } from '../../intake/intake.ts';
import { mediaTooLarge, type MediaSource } from '../../intake/media-source.ts';
import { networkOf } from '../../intake/url-policy.ts';
import { refuseUnfinished, unknownType } from './error-reply.ts';

/** A complete form. */
export interface Upload {
  readonly source: MediaSource;
  readonly fields: readonly (readonly [name: string, text: string])[];
}

interface UploadParts {
  readonly intake: Pick<Intake, 'fromUpload' | 'reserveMemory'>;
  readonly config: {
    readonly maxUploadBytes: number;
  };
}

/** What is complete so far. */
interface Received {
  source?: MediaSource;
  readonly fields: (readonly [name: string, text: string])[];
}

/** One file, and every option once, except `stop`. A second file passes here, to be refused with a clear message. */
const FORM_LIMITS = { files: 2, fields: 64, parts: 66, fieldNameSize: 100, fieldSize: 512 * 1024, headerPairs: 100 };
/** What a form may add to its file: boundaries, headers, prompts. */
const FORM_OVERHEAD_BYTES = 1024 ** 2;
/** All fields of a form together. */
const MAX_TEXT_BYTES = 1024 ** 2;
/** How long the rest of a refused body is read and discarded, so that the client can still read the error response. */
const DISCARD_MS = 30_000;
const DISCONNECT_CODES = ['ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE', 'FST_PREMATURE_CLOSE', 'ABORT_ERR'];

/**
 * Adds the parsers of JSON and forms. Both read a body as it arrives, and hold little of it in memory; what they hold
 * is released when the response closes.
 */
export async function addBodyParsers(
  app: FastifyInstance,
  { intake, service }: { readonly intake: Pick<Intake, 'parseJson'>; readonly service: Pick<Admission, 'receive'> },
  maxUploadBytes: number,
): Promise<void> {
  limitBodies(app, service);
  // Fastify's own parsers hold a whole body in memory, which nobody would count.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (request, _payload, done) => {
    // Clients that send nothing name a type all the same: `curl --data ''`, and fetch with an empty text.
    done(hasBody(request) || takesBody(request) ? unknownType() : null);
  });
  app.addContentTypeParser('application/json', async (request: FastifyRequest) => {
    // OpenAI's Python client announces JSON where it sends no body.
    if (!hasBody(request) && !takesBody(request)) return undefined;
    const { bodyLimit: maxBytes } = request.routeOptions;
    try {
      if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw jsonTooLarge(maxBytes);
      // The stream stays open after an error, or else its client could not read the response.
      const chunks: AsyncIterable<Buffer> = request.raw.iterator({ destroyOnReturn: false });
      // Only captions are made within their request.
      const isKept = request.context.admitted === undefined;
      const parsed = await intake.parseJson(chunks, { maxBytes, tooLarge: () => jsonTooLarge(maxBytes), isKept });
      request.context.defer(() => {
        parsed.release();
      });
      return parsed.value;
    } catch (thrown) {
      throw bodyError(thrown);
    }
  });
  await app.register(multipart, { throwFileSizeLimit: false, limits: { ...FORM_LIMITS, fileSize: maxUploadBytes } });
}

/** One client must not fill the memory that all bodies share, on whichever path, known or not. */
function limitBodies(app: FastifyInstance, service: Pick<Admission, 'receive'>): void {
  app.addHook('preParsing', (request, reply, payload, done) => {
    const { context, routeOptions, ip } = request;
    if (routeOptions.config.route?.captions === true || !hasBody(request)) {
      done(null, payload);
      return;
    }
    const arrival = {
      sender: context.keyName ?? networkOf(ip),
      behindMs: context.behindMs,
      drop: (reason: AvocadoError) => {
        refuseUnfinished(reply, reason);
      },
    };
    try {
      context.defer(service.receive(arrival));
      done(null, payload);
    } catch (error) {
      done(error as Error);
    }
  });
}

function hasBody({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

function takesBody({ routeOptions }: FastifyRequest): boolean {
  const docs = routeOptions.config.route?.docs;
  return docs !== undefined && docs !== 'hidden' && docs.body !== undefined;
}

function jsonTooLarge(maxBytes: number): AvocadoError {
  return new AvocadoError(
    'media_too_large',
    `The body has more than the ${maxBytes} bytes this server takes as JSON. Send a smaller file, or a form.`,
  );
}

function uploadTooLarge({ maxUploadBytes }: UploadParts['config']): AvocadoError {
  return mediaTooLarge('The upload', maxUploadBytes, 'file');
}

/** Fastify's own errors pass unchanged: error-reply.ts knows them. */
function bodyError(thrown: unknown): Error {
  const code = (thrown as NodeJS.ErrnoException).code ?? '';
  if (DISCONNECT_CODES.includes(code))
    return new AvocadoError('aborted', 'The body of the request was broken off.', { cause: thrown });
  const error = thrown instanceof Error ? thrown : asAvocadoError(thrown);
  // The form parser (busboy) throws plain errors that only their messages tell apart.
  if (code === '' && /multipart|boundary/i.test(error.message))
    return new AvocadoError('bad_request', `The form is malformed: ${error.message.replace(/\.?$/, '.')}`, {
      cause: error,
    });
  return error;
}

/** Reads and discards the rest of the body: closing the socket on a client that still sends loses the response. */
function discardRest(request: FastifyRequest): void {
  request.raw.unpipe();
  request.raw.resume();
  setTimeout(() => {
    if (!request.raw.complete) request.raw.destroy();
  }, DISCARD_MS).unref();
}

async function receiveFile(part: MultipartFile, received: Received, { intake, config }: UploadParts): Promise<void> {
  if (part.fieldname !== 'file')
    throw new AvocadoError(
      'unknown_field',
      `${part.fieldname} is not a field this request has: the video belongs into file.`,
      { param: part.fieldname },
    );
  if (received.source !== undefined)
    throw new AvocadoError('bad_request', 'file is given twice: one request captions one file.', { param: 'file' });
  // The typings say that a file always has a name; an octet-stream part without one is a file too.
  const named: { readonly filename?: string } = part;
  received.source = await intake.fromUpload(part.file, named.filename ?? '', 'file');
  // The form parser cuts a file at its own limit, without an error.
  if (part.file.truncated) throw uploadTooLarge(config);
}

async function receiveParts(request: FastifyRequest, received: Received, parts: UploadParts): Promise<MediaSource> {
  const memory = parts.intake.reserveMemory();
  request.context.defer(() => {
    memory.release();
  });
  memory.grow(FORM_LIMITS.fieldSize); // the field that is being received
  let textBytes = 0;
  for await (const part of request.parts()) {
    if (part.type !== 'field') {
      await receiveFile(part, received, parts);
      continue;
    }
    if (part.fieldname === 'file')
      throw new AvocadoError('bad_request', 'file must be a file, not text: with curl write -F file=@clip.mp4.', {
        param: 'file',
      });
    if (part.valueTruncated)
      throw new AvocadoError('bad_request', `${part.fieldname} is too long.`, { param: part.fieldname });
    memory.grow(Buffer.byteLength(String(part.value)));
    textBytes += Buffer.byteLength(String(part.value));
    if (textBytes > MAX_TEXT_BYTES)
      throw new AvocadoError('bad_request', `The form has more than ${MAX_TEXT_BYTES} bytes beside its file.`);
    received.fields.push([part.fieldname, String(part.value)]);
  }
  if (received.source === undefined)
    throw new AvocadoError(
      'bad_request',
      'The form has no file: put the video into the field file (curl -F file=@clip.mp4).',
      { param: 'file' },
    );
  return received.source;
}

/**
 * Streams the form's file to disk. Releasing the source removes it; after an error nothing is left on disk.
 * @throws AvocadoError `media_too_large`, `storage_full`, `bad_request`, `unknown_field`, `aborted` when the client
 * disconnected
 */
export async function receiveUpload(request: FastifyRequest, parts: UploadParts): Promise<Upload> {
  const received: Received = { fields: [] };
  try {
    if (Number(request.headers['content-length'] ?? 0) > parts.config.maxUploadBytes + FORM_OVERHEAD_BYTES)
      throw uploadTooLarge(parts.config);
    const source = await receiveParts(request, received, parts);
    return { source, fields: received.fields };
  } catch (thrown) {
    discardRest(request);
    await received.source?.release();
    throw bodyError(thrown);
  }
}
