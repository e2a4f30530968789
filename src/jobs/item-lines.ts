// The line of an item in the results: OpenAI's for a batch, a flat one for a job.
import { ERRORS, type AvocadoError } from '../base/errors.ts';
import type { Json } from '../output/caption-answer.ts';
import { ownFields } from './read-input.ts';
import type { Answer, Claim, JobKind, Outcome } from './types.ts';

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

/** Fields of a job's line that are not the answer's. */
const OF_JOB_LINE = ['index', 'id', 'source', 'status', 'attempts', 'fields', 'duplicate_of'];

/** The answer in a line of an item that was captioned. */
export function answerInLine(kind: JobKind, line: string): Pick<Answer, 'body' | 'duplicateOf'> {
  const told = JSON.parse(line) as Readonly<Record<string, Json>>;
  if (kind === 'batch') return { body: (told['response'] as { readonly body: Answer['body'] }).body };
  const { duplicate_of: duplicateOf } = told;
  const body = Object.fromEntries(Object.entries(told).filter(([name]) => !OF_JOB_LINE.includes(name)));
  return { body, duplicateOf: typeof duplicateOf === 'string' ? duplicateOf : undefined };
}

export function completedOutcome(claim: Claim, attempts: number, answer: Answer): Outcome {
  const { body, promptTokens, completionTokens, mediaSeconds, duplicateOf } = answer;
  const told = { ...body, id: claim.custom_id, ...(duplicateOf === undefined ? {} : { duplicate_of: duplicateOf }) };
  return {
    state: 'completed',
    code: null,
    message: null,
    line: claim.kind === 'batch' ? batchLine(claim, 200, body) : jobLine(claim, attempts, 'completed', told),
    ...{ promptTokens, completionTokens, mediaSeconds, isDuplicate: duplicateOf !== undefined },
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
    message: message.slice(0, 1000),
    line:
      claim.kind === 'batch' ? batchLine(claim, ERRORS[code].status, body) : jobLine(claim, attempts, 'failed', told),
    ...{ promptTokens: 0, completionTokens: 0, mediaSeconds: 0, isDuplicate: false },
  };
}
