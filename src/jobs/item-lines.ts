// The line of an item in the results: OpenAI's for a batch, a flat one for a job.
import { ERRORS, type AvocadoError } from '../base/errors.ts';
import type { Json } from '../output/caption-answer.ts';
import { ownFields } from './read-input.ts';
import type { Answer, Claim, Outcome } from './types.ts';

/** The id of an item's request: in the server's log, and in OpenAI's lines. */
export function requestId({ job, n }: Pick<Claim, 'job' | 'n'>): string {
  return `${job}.${n}`;
}

function batchLine(claim: Claim, statusCode: number, body: Readonly<Record<string, Json>>): string {
  return JSON.stringify({
    id: `batch_req_${claim.job}_${claim.n}`,
    custom_id: claim.custom_id,
    response: { status_code: statusCode, request_id: requestId(claim), body },
    error: null,
  });
}

function jobLine(claim: Claim, attempts: number, status: string, rest: Readonly<Record<string, Json>>): string {
  const { n, custom_id: id, media: source, payload } = claim;
  return JSON.stringify({ index: n, id, source, status, attempts, ...rest, fields: ownFields(payload) });
}

export function completedOutcome(claim: Claim, attempts: number, answer: Answer): Outcome {
  const { body, promptTokens, completionTokens, mediaSeconds } = answer;
  return {
    state: 'completed',
    code: null,
    message: null,
    line:
      claim.kind === 'batch'
        ? batchLine(claim, 200, body)
        : jobLine(claim, attempts, 'completed', { ...body, id: claim.custom_id }),
    ...{ promptTokens, completionTokens, mediaSeconds },
  };
}

/** @param body of the response that the error would be over HTTP */
export function failedOutcome(
  claim: Claim,
  attempts: number,
  error: Pick<AvocadoError, 'code' | 'message' | 'param'>,
  body: Readonly<Record<string, Json>>,
): Outcome {
  const { code, message, param } = error;
  const told = { error: { code, message, param: param ?? null } };
  return {
    state: 'failed',
    code,
    message: message.slice(0, 1000).replaceAll('\0', '\uFFFD'),
    line:
      claim.kind === 'batch' ? batchLine(claim, ERRORS[code].status, body) : jobLine(claim, attempts, 'failed', told),
    ...{ promptTokens: 0, completionTokens: 0, mediaSeconds: 0 },
  };
}
