// Request bodies: JSON that may hold files as base64, and multipart forms, whose file goes to intake as a stream of
// bytes.
import type { Buffer } from 'node:buffer';
import multipart, { type MultipartFile } from '@fastify/multipart';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { asAvocadoError, AvocadoError } from '../../base/errors.ts';
import type { Intake } from '../../intake/intake.ts';
import { mediaTooLarge, type MediaSource } from '../../intake/media-source.ts';

/** A complete form. */
export interface Upload {
  readonly source: MediaSource;
  readonly fields: readonly (readonly [name: string, text: string])[];
}

interface UploadParts {
  readonly intake: Pick<Intake, 'fromUpload'>;
  readonly config: {
    readonly maxUploadBytes: number;
  };
}

/** What is complete so far. */
interface Received {
  source?: MediaSource;
  readonly fields: (readonly [name: string, text: string])[];
}

/** Smaller JSON bodies go through Fastify's own parser. */
const SMALL_JSON_BYTES = 256 * 1024;
/** One file, and every option once, except `stop`. A second file passes here, to be refused with a clear message. */
const FORM_LIMITS = { files: 2, fields: 64, parts: 66, fieldNameSize: 100, fieldSize: 512 * 1024, headerPairs: 100 };
/** What a form may add to its file: boundaries, headers, prompts. */
const FORM_OVERHEAD_BYTES = 1024 ** 2;
/** How long the rest of a refused body is read and discarded, so that the client can still read the error response. */
const DISCARD_MS = 30_000;
const DISCONNECT_CODES = ['ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE', 'FST_PREMATURE_CLOSE', 'ABORT_ERR'];

/**
 * Adds the parsers of JSON and forms. Files inside JSON stay bytes, because parsing them would block the event loop;
 * they are released when the response closes.
 */
export async function addBodyParsers(
  app: FastifyInstance,
  intake: Pick<Intake, 'parseJson'>,
  maxUploadBytes: number,
): Promise<void> {
  const parseSmall = app.getDefaultJsonParser('error', 'error');
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    if (body.length <= SMALL_JSON_BYTES) {
      void parseSmall(request, body.toString(), done);
      return;
    }
    try {
      const parsed = intake.parseJson(body);
      request.context.defer(() => {
        parsed.release();
      });
      done(null, parsed.value);
    } catch (error) {
      done(error as Error);
    }
  });
  await app.register(multipart, { throwFileSizeLimit: false, limits: { ...FORM_LIMITS, fileSize: maxUploadBytes } });
}

function uploadTooLarge({ maxUploadBytes }: UploadParts['config']): AvocadoError {
  return mediaTooLarge('The upload', maxUploadBytes, 'file');
}

/** Fastify's own errors pass unchanged: error-reply.ts knows them. */
function uploadError(thrown: unknown): Error {
  const code = (thrown as NodeJS.ErrnoException).code ?? '';
  if (DISCONNECT_CODES.includes(code))
    return new AvocadoError('aborted', 'The upload was broken off.', { cause: thrown });
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
    throw uploadError(thrown);
  }
}
