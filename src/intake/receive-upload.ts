import type { MultipartFile } from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import { asAvocadoError, AvocadoError } from '../base/errors.ts';
import type { IntakeConfig } from './intake-config.ts';
import { saveStream, type SavedFile, type TemporarySpace } from '../storage/save-stream.ts';
import type { MediaSource } from './types.ts';

/** A form that has arrived. */
export interface Upload {
  readonly source: MediaSource;
  readonly fields: readonly (readonly [name: string, text: string])[];
}

interface Received {
  file?: SavedFile;
  fileName: string;
  readonly fields: (readonly [name: string, text: string])[];
}

type UploadConfig = Pick<IntakeConfig, 'maxUploadBytes' | 'uploadIdleMs'>;

/** What a form may add to its file: boundaries, headers, prompts. */
const FORM_OVERHEAD_BYTES = 1024 ** 2;
/** How long an answer waits for a client that goes on sending what was refused, so that it can still read why. */
const REFUSED_LINGER_MS = 30_000;
const BROKEN_OFF = ['ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE', 'FST_PREMATURE_CLOSE', 'ABORT_ERR'];

function tooLarge(maxUploadBytes: number): AvocadoError {
  return new AvocadoError(
    'media_too_large',
    `The upload is larger than the ${maxUploadBytes} bytes this server takes (--max-upload-bytes).`,
    { param: 'file' },
  );
}

/** Fastify's own errors pass: the error reply knows them. */
function uploadError(thrown: unknown): Error {
  const code = (thrown as NodeJS.ErrnoException).code ?? '';
  if (BROKEN_OFF.includes(code)) return new AvocadoError('aborted', 'The upload was broken off.', { cause: thrown });
  const error = thrown instanceof Error ? thrown : asAvocadoError(thrown);
  // The form parser's own errors are plain ones, told apart by their words only.
  if (code === '' && /multipart|boundary/i.test(error.message))
    return new AvocadoError('bad_request', `The form is malformed: ${error.message.replace(/\.?$/, '.')}`, {
      cause: error,
    });
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

async function saveFile(
  part: MultipartFile,
  space: TemporarySpace,
  received: Received,
  maxUploadBytes: number,
): Promise<void> {
  if (part.fieldname !== 'file')
    throw new AvocadoError(
      'unknown_field',
      `${part.fieldname} is not a field this request has: the video belongs into file.`,
      { param: part.fieldname },
    );
  if (received.file !== undefined)
    throw new AvocadoError('bad_request', 'file is given twice: one request captions one file.', { param: 'file' });
  // An octet-stream is a file even without a name, whatever its typings say.
  const named: { readonly filename?: string } = part;
  received.fileName = named.filename ?? '';
  const refuse = (): AvocadoError => tooLarge(maxUploadBytes);
  received.file = await saveStream(space, part.file, {
    name: received.fileName,
    maxBytes: maxUploadBytes,
    tooLarge: refuse,
  });
  // The form parser may have its own, lower limit.
  if (part.file.truncated) throw refuse();
}

async function receiveParts(
  request: FastifyRequest,
  space: TemporarySpace,
  received: Received,
  maxUploadBytes: number,
): Promise<SavedFile> {
  for await (const part of request.parts()) {
    if (part.type !== 'field') {
      await saveFile(part, space, received, maxUploadBytes);
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
  if (received.file === undefined)
    throw new AvocadoError(
      'bad_request',
      'The form has no file: put the video into the field file (curl -F file=@clip.mp4).',
      { param: 'file' },
    );
  return received.file;
}

/**
 * Streams the form's file onto disk; releasing the source removes it. On any failure nothing is left.
 * @throws AvocadoError `media_too_large`, `storage_full`, `bad_request`, `unknown_field`, `aborted` when the client went away
 */
export async function receiveUpload(
  request: FastifyRequest,
  space: TemporarySpace,
  config: UploadConfig,
): Promise<Upload> {
  const received: Received = { fileName: '', fields: [] };
  const { socket } = request.raw;
  socket.setTimeout(config.uploadIdleMs); // without a listener for it, node closes the connection
  try {
    if (Number(request.headers['content-length'] ?? 0) > config.maxUploadBytes + FORM_OVERHEAD_BYTES)
      throw tooLarge(config.maxUploadBytes);
    const file = await receiveParts(request, space, received, config.maxUploadBytes);
    return { source: uploadSource(file, received.fileName), fields: received.fields };
  } catch (thrown) {
    discardRest(request);
    await received.file?.remove();
    throw uploadError(thrown);
  } finally {
    socket.setTimeout(0);
  }
}

function uploadSource({ path, contentHash, remove }: SavedFile, fileName: string): MediaSource {
  const displayName = fileName === '' ? 'the upload' : fileName;
  return { kind: 'upload', displayName, open: () => Promise.resolve({ path, contentHash }), release: remove };
}
