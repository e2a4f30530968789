import type { FastifyRequest } from 'fastify';
import { captionRequest } from '../../captioner/caption-options.ts';
import { AvocadoError } from '../../base/errors.ts';
import type { MediaSource } from '../../intake/media-source.ts';
import type { CaptionTask } from '../../admission/types.ts';
import { formBody, jsonBody, type CaptionBody } from './caption-body.ts';
import { receiveUpload } from './upload.ts';
import { timeoutOf, type CaptionParts } from './run-caption.ts';

/** A request of our own routes, understood; its file is ours to release. */
export interface ReadJob {
  readonly job: CaptionTask;
  readonly stream: boolean | undefined;
  readonly tokenIds: boolean;
}

type JobParts = Pick<CaptionParts, 'intake' | 'config'>;

function jobOf(request: FastifyRequest, source: MediaSource, body: CaptionBody, { config }: JobParts): ReadJob {
  const { options, priority, stream, tokenIds } = body;
  const timeoutSeconds = timeoutOf(request, body.timeoutSeconds, config);
  // The path is known when the file lies here.
  return { job: { source, request: { ...captionRequest('', options), priority }, timeoutSeconds }, stream, tokenIds };
}

async function readForm(request: FastifyRequest, parts: JobParts): Promise<ReadJob> {
  const { source, fields } = await receiveUpload(request, parts);
  try {
    return jobOf(request, source, formBody(fields), parts);
  } catch (error) {
    await source.release();
    throw error;
  }
}

/**
 * The body of POST /v1/captions, either a form with the file or JSON that names one.
 * @throws AvocadoError for every fault of the client's; nothing is left on disk then
 */
export async function readJob(request: FastifyRequest, parts: JobParts): Promise<ReadJob> {
  if (request.isMultipart()) return readForm(request, parts);
  if (request.body === undefined || request.body === null) {
    throw new AvocadoError(
      'bad_request',
      'The request has no body: send a form with the field file, or JSON with media.',
    );
  }
  const { media, ...body } = jsonBody(request.body);
  return jobOf(request, parts.intake.fromReference(media, 'media'), body, parts);
}
