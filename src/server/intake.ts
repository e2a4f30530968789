import { rm } from 'node:fs/promises';
import type { FastifyRequest } from 'fastify';
import { captionRequest } from '../caption-options.ts';
import { AvocadoError } from '../errors.ts';
import type { CaptionRequest } from '../stream/events.ts';
import { formBody, jsonBody } from './caption-body.ts';
import type { ServerConfig } from './config.ts';
import { resolveMedia } from './media-roots.ts';
import { receiveUpload } from './receive-upload.ts';
import type { Uploads } from './uploads.ts';

/** A request whose file lies on this machine. */
export interface Intake {
  readonly request: CaptionRequest;
  /** what the client calls the file; our path of it is not its business */
  readonly shownAs: string;
  readonly stream: boolean | undefined;
  readonly tokenIds: boolean;
  /** removes what was put on disk for this request */
  release(): Promise<void>;
}

async function fromUpload(request: FastifyRequest, uploads: Uploads, config: ServerConfig): Promise<Intake> {
  const upload = await receiveUpload(request, uploads, config);
  const release = (): Promise<void> => rm(upload.path, { force: true });
  try {
    const { options, stream, tokenIds } = formBody(upload.fields);
    return { request: captionRequest(upload.path, options), shownAs: upload.fileName, stream, tokenIds, release };
  } catch (error) {
    await release();
    throw error;
  }
}

async function fromMediaRoot(body: unknown, config: ServerConfig): Promise<Intake> {
  const { media, options, stream, tokenIds } = jsonBody(body);
  const path = await resolveMedia(media, config.mediaRoots);
  return { request: captionRequest(path, options), shownAs: media, stream, tokenIds, release: () => Promise.resolve() };
}

/**
 * The body of POST /v1/captions, either a form with the file or JSON that names one.
 * @throws AvocadoError for every fault of the client's
 */
export async function takeIn(request: FastifyRequest, uploads: Uploads, config: ServerConfig): Promise<Intake> {
  if (request.isMultipart()) return fromUpload(request, uploads, config);
  if (request.body !== undefined && request.body !== null) return fromMediaRoot(request.body, config);
  throw new AvocadoError('bad_request', 'The request has no body: send a form with the field file, or JSON with media.');
}
