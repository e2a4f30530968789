// The words of this room. A job is a list of requests that the server works off by itself; a batch is a job in OpenAI's
// shape; an item is one request of a job.
import type { ErrorCode } from '../base/errors.ts';
import type { Json } from '../output/caption-answer.ts';

export type JobKind = 'job' | 'batch';

/**
 * validating: its input is read. expiring: out of time, and items in work are being stopped. The last four are final,
 * except that failed items of a completed job can be tried again.
 */
export type JobStatus =
  | 'validating'
  | 'in_progress'
  | 'paused'
  | 'cancelling'
  | 'expiring'
  | 'completed'
  | 'failed'
  | 'cancelled'
  | 'expired';

const FINAL_STATUSES = ['completed', 'failed', 'cancelled', 'expired'] as const;

export function isFinal(status: string): boolean {
  return FINAL_STATUSES.some((final) => final === status);
}

/** What an item asks for: the routes whose bodies an item may hold. */
export const ENDPOINTS = ['/v1/captions', '/v1/chat/completions'] as const;
export type Endpoint = (typeof ENDPOINTS)[number];

export const ITEM_STATES = ['ready', 'running', 'completed', 'failed', 'cancelled', 'expired'] as const;
export type ItemState = (typeof ITEM_STATES)[number];

/** One fault of an input file. */
export interface InputError {
  readonly code: string;
  readonly message: string;
  readonly param: string | null;
  readonly line: number | null;
}

/** A job as the database has it. Times are seconds since 1970. */
export interface Job {
  readonly id: string;
  readonly kind: JobKind;
  /** name of the key that made it; '' where the server has no keys */
  readonly owner: string;
  readonly endpoint: Endpoint;
  readonly status: JobStatus;
  readonly input_file: string;
  /** JSON: options of every item that does not say otherwise */
  readonly options: string;
  /** JSON, or null */
  readonly metadata: string | null;
  readonly webhook: string | null;
  readonly completion_window: string | null;
  readonly output_seconds: number | null;
  readonly total: number;
  readonly completed: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly expired: number;
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly media_seconds: number;
  /** JSON: InputError[] */
  readonly errors: string | null;
  readonly created_at: number;
  readonly in_progress_at: number | null;
  readonly finalizing_at: number | null;
  readonly completed_at: number | null;
  readonly failed_at: number | null;
  readonly expired_at: number | null;
  readonly cancelling_at: number | null;
  readonly cancelled_at: number | null;
  readonly expires_at: number | null;
}

export interface NewJob {
  readonly kind: JobKind;
  readonly owner: string;
  readonly endpoint: Endpoint;
  readonly inputFile: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly metadata: Readonly<Record<string, string>> | undefined;
  readonly webhook: string | undefined;
  readonly idempotencyKey: string | undefined;
  /** of all that the client asked for: two requests with the same idempotency key must have the same */
  readonly requestHash: string | undefined;
  /** the job expires after it; undefined: never */
  readonly windowSeconds: number | undefined;
  readonly window: string | undefined;
  /** its output files are removed after it; undefined: never */
  readonly outputSeconds: number | undefined;
}

/** An item as it is put into the database. */
export interface NewItem {
  readonly n: number;
  readonly customId: string;
  /** what a person knows it by; '' where the request has no single name for it */
  readonly media: string;
  /** JSON: the body of the request */
  readonly payload: string;
  /** of a line that cannot be a request; it is failed from the beginning */
  readonly error?: { readonly code: ErrorCode; readonly message: string } | undefined;
}

/** An item that this server has taken. `token` is larger than that of everyone who had it before. */
export interface Claim {
  readonly job: string;
  readonly n: number;
  readonly token: number;
  readonly custom_id: string;
  readonly media: string;
  readonly payload: string;
  readonly attempts: number;
  readonly deaths: number;
  readonly kind: JobKind;
  readonly owner: string;
  readonly endpoint: Endpoint;
  readonly options: string;
}

/** What an item came to, as it is committed. */
export interface Outcome {
  readonly state: 'completed' | 'failed';
  readonly code: string | null;
  readonly message: string | null;
  /** its line of the results, without the line break */
  readonly line: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly mediaSeconds: number;
  /** its caption is that of another item */
  readonly isDuplicate: boolean;
}

/** One item in a list. */
export interface ItemRow {
  readonly n: number;
  readonly custom_id: string;
  readonly media: string;
  readonly state: ItemState;
  readonly attempts: number;
  readonly code: string | null;
  readonly message: string | null;
  readonly finished_at: number | null;
}

/** A caption request that has been answered. */
export interface Answer {
  readonly body: Readonly<Record<string, Json>>;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly mediaSeconds: number;
  /** request id of the item whose caption it is; undefined: it was made for this one */
  readonly duplicateOf?: string | undefined;
}

export interface StoredFileRow {
  readonly id: string;
  readonly owner: string;
  readonly purpose: string;
  readonly filename: string;
  readonly bytes: number;
  readonly created_at: number;
  readonly expires_at: number | null;
  /** an output: the job whose items are its lines */
  readonly job: string | null;
  readonly part: 'output' | 'error' | null;
}
