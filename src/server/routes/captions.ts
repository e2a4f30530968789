import type { FastifyInstance } from 'fastify';
import { AvocadoError } from '../../base/errors.ts';
import { captionAnswer } from '../../output/caption-answer.ts';
import { keyNameOf } from '../guards/auth.ts';
import { readJob, type ReadJob } from '../wire/caption-job.ts';
import { captionRoute, finishedCaption, withAdmission, type CaptionParts } from '../wire/run-caption.ts';
import { sendEvents } from '../wire/sse.ts';

/**
 * POST /v1/captions: streaming is the only path; the JSON answer collects the stream.
 * DELETE /v1/captions/ID gives up the request with that x-request-id, wherever it is.
 */
export function addCaptionsRoute(app: FastifyInstance, parts: CaptionParts): void {
  const { service, captioner } = parts;
  app.post('/v1/captions', captionRoute(parts), (request, reply) =>
    withAdmission(parts, request, reply, async (admitted, observation) => {
      const read = await readJob(request, parts);
      const events = observation.watch(admitted.run(read.job), read.job);
      const shape = {
        id: request.id,
        model: captioner.model.name,
        tokenIds: read.tokenIds,
        samples: read.job.request.samples,
      };
      if (wantsStream(read, request.headers.accept)) {
        await sendEvents(reply, events, shape);
        return undefined;
      }
      return {
        id: request.id,
        ...captionAnswer(await finishedCaption(events, admitted.signal), shape.model, { tokenIds: shape.tokenIds }),
      };
    }),
  );

  app.delete<{ Params: { id: string } }>('/v1/captions/:id', async (request, reply) => {
    const { id } = request.params;
    if (!service.cancel(id, keyNameOf(request)))
      throw new AvocadoError(
        'not_found',
        `No request ${id} is being answered. It has ended, or never was; its id is the x-request-id of its answer.`,
      );
    return reply.code(204).send();
  });
}

function wantsStream({ stream }: ReadJob, accept: string | undefined): boolean {
  return stream ?? /\btext\/event-stream\b/i.test(accept ?? '');
}
