import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { MultipartFile } from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import { asAvocadoError, AvocadoError } from '../errors.ts';
import type { ServerConfig } from './config.ts';
import type { Uploads } from './uploads.ts';

export interface Upload {
  readonly path: string;
  /** as the client called it */
  readonly fileName: string;
  readonly fields: readonly (readonly [name: string, text: string])[];
}

type UploadConfig = Pick<ServerConfig, 'maxUploadBytes' | 'uploadIdleMs'>;

/** What a form may add to its file: boundaries, headers, prompts. */
const FORM_OVERHEAD_BYTES = 1024 ** 2;
/** How long an answer waits for a client that goes on sending what was refused, so that it can still read why. */
const REFUSED_LINGER_MS = 30_000;

function tooLarge(maxUploadBytes: number): AvocadoError {
  return new AvocadoError('media_too_large', `The upload is larger than the ${maxUploadBytes} bytes this server takes (--max-upload-bytes).`, { param: 'file' });
}

/** Fastify's own errors pass: the error reply knows them. */
function uploadError(thrown: unknown): Error {
  const code = (thrown as NodeJS.ErrnoException).code ?? '';
  if (['ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE', 'FST_PREMATURE_CLOSE', 'ABORT_ERR'].includes(code)) return new AvocadoError('aborted', 'The upload was broken off.', { cause: thrown });
  if (code === 'ENOSPC') return new AvocadoError('engine_unavailable', 'The server has no room for uploads right now. Try again later.', { cause: thrown });
  const error = thrown instanceof Error ? thrown : asAvocadoError(thrown);
  // The form parser's own errors are plain ones, told apart by their words only.
  if (code === '' && /multipart|boundary/i.test(error.message)) return new AvocadoError('bad_request', `The form is malformed: ${error.message.replace(/\.?$/, '.')}`, { cause: error });
  return error;
}

/** Throws away what is still coming, for a while: a socket closed on a sending client loses the answer. */
function discardRest(request: FastifyRequest): void {
  request.raw.unpipe();
  request.raw.resume();
  setTimeout(() => {
    if (!request.raw.complete) request.raw.destroy();
  }, REFUSED_LINGER_MS).unref();
}

async function saveFile(part: MultipartFile, path: string, maxUploadBytes: number): Promise<void> {
  await pipeline(part.file, createWriteStream(path, { flags: 'wx', mode: 0o600 }));
  if (part.file.truncated) throw tooLarge(maxUploadBytes);
}

async function receiveParts(request: FastifyRequest, uploads: Uploads, config: UploadConfig, saved: { path?: string }): Promise<Upload> {
  const fields: (readonly [string, string])[] = [];
  let fileName = '';
  for await (const part of request.parts()) {
    if (part.type === 'field') {
      if (part.fieldname === 'file') throw new AvocadoError('bad_request', 'file must be a file, not text: with curl write -F file=@clip.mp4.', { param: 'file' });
      if (part.valueTruncated) throw new AvocadoError('bad_request', `${part.fieldname} is too long.`, { param: part.fieldname });
      fields.push([part.fieldname, String(part.value)]);
      continue;
    }
    if (part.fieldname !== 'file') throw new AvocadoError('unknown_field', `${part.fieldname} is not a field this request has: the video belongs into file.`, { param: part.fieldname });
    if (saved.path !== undefined) throw new AvocadoError('bad_request', 'file is given twice: one request captions one file.', { param: 'file' });
    // An octet-stream is a file even without a name, whatever its typings say.
    const named: { readonly filename?: string } = part;
    fileName = named.filename ?? '';
    saved.path = uploads.newPath(fileName);
    await saveFile(part, saved.path, config.maxUploadBytes);
  }
  if (saved.path === undefined) throw new AvocadoError('bad_request', 'The form has no file: put the video into the field file (curl -F file=@clip.mp4).', { param: 'file' });
  return { path: saved.path, fileName: fileName === '' ? 'the upload' : fileName, fields };
}

/**
 * Streams the form's file to a new file among the uploads; the caller removes it. On any failure nothing is left.
 * @throws AvocadoError `media_too_large`, `bad_request`, `unknown_field`, `aborted` when the client went away
 */
export async function receiveUpload(request: FastifyRequest, uploads: Uploads, config: UploadConfig): Promise<Upload> {
  const saved: { path?: string } = {};
  const { socket } = request.raw;
  socket.setTimeout(config.uploadIdleMs); // without a listener for it, node closes the connection
  try {
    if (Number(request.headers['content-length'] ?? 0) > config.maxUploadBytes + FORM_OVERHEAD_BYTES) throw tooLarge(config.maxUploadBytes);
    return await receiveParts(request, uploads, config, saved);
  } catch (thrown) {
    discardRest(request);
    if (saved.path !== undefined) await rm(saved.path, { force: true });
    throw uploadError(thrown);
  } finally {
    socket.setTimeout(0);
  }
}
