import { ERRORS, type ErrorCode } from '../../../base/errors.ts';

/** An answer as OpenAPI describes it. */
export interface DocumentedAnswer {
  readonly description: string;
  /** no body */
  readonly type?: 'null';
  readonly content?: Readonly<Record<string, { readonly schema: object }>>;
}

/** What only the command line or the start of a server can run into reaches a client as 500 all the same. */
const CODES = Object.keys(ERRORS) as ErrorCode[];

/** Answers of the error table for some of its codes, by status. */
export function errorAnswers(codes: readonly ErrorCode[] = CODES): Record<string, DocumentedAnswer> {
  const answers: Record<string, DocumentedAnswer> = {};
  for (const status of new Set(codes.map((code) => ERRORS[code].status))) {
    const named = codes
      .filter((code) => ERRORS[code].status === status)
      .map((code) => `\`${code}\`${ERRORS[code].retry ? ' (ask again later)' : ''}`);
    answers[String(status)] = {
      description: named.join(', '),
      content: { 'application/json': { schema: { $ref: 'Error#' } } },
    };
  }
  return answers;
}
