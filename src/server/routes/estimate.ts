import type { FastifyInstance } from 'fastify';
import type { TaskEstimate } from '../../admission/types.ts';
import { snakeCase, tokenDetails, type Json } from '../../output/caption-answer.ts';
import { readJob } from '../wire/caption-job.ts';
import { captionRoute, withAdmission, type CaptionParts } from '../wire/run-caption.ts';

/** POST /v1/captions/estimate: what a caption with the same body would take. The file is brought here, its headers are read, nothing is decoded. */
export function addEstimateRoute(app: FastifyInstance, parts: CaptionParts): void {
  app.post('/v1/captions/estimate', captionRoute(parts), (request, reply) =>
    withAdmission(parts, request, reply, async (admitted) => {
      const { job } = await readJob(request, parts);
      return { id: request.id, ...estimateAnswer(await admitted.estimate(job)), model: parts.captioner.model.name };
    }),
  );
}

/** Milliseconds are as fine as such a guess can be. */
function roundedSeconds(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

function estimateAnswer(estimate: TaskEstimate): Record<string, Json> {
  const { kind, durationSeconds, video, audio, promptTokens, maxTokens, context, fits, profile } = estimate;
  const { total, ...byModality } = promptTokens;
  return {
    media: snakeCase({ kind, durationSeconds, video, audio }),
    prompt_tokens: total,
    prompt_tokens_details: tokenDetails(byModality),
    budget: { context, prompt: total, left: Math.max(0, context - total), max_tokens: maxTokens, fits },
    expected_seconds: { work: roundedSeconds(estimate.workSeconds), queue: roundedSeconds(estimate.queueSeconds) },
    profile,
  };
}
