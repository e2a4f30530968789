// Every public error, once: its code, the HTTP status it becomes, the exit code of the command line,
// and whether the same request may succeed later. Messages say what to do next.

interface ErrorRow {
  readonly status: number;
  readonly exit: number;
  readonly retry: boolean;
}

/**
 * Exit codes: 2 usage, 3 media, 4 model or checkpoint, 5 device or runtime, 6 machine lacks something, 1 anything else.
 */
export const ERRORS = {
  bad_request: { status: 400, exit: 2, retry: false },
  unknown_field: { status: 400, exit: 2, retry: false },
  unsupported_field: { status: 400, exit: 2, retry: false },
  unauthorized: { status: 401, exit: 2, retry: false },
  forbidden: { status: 403, exit: 2, retry: false },
  encoding_unsupported: { status: 415, exit: 2, retry: false },
  not_found: { status: 404, exit: 2, retry: false },
  model_not_found: { status: 404, exit: 2, retry: false },
  method_not_allowed: { status: 405, exit: 2, retry: false },
  media_not_found: { status: 404, exit: 3, retry: false },
  media_forbidden_path: { status: 403, exit: 3, retry: false },
  media_forbidden_host: { status: 403, exit: 3, retry: false },
  media_unreachable: { status: 422, exit: 3, retry: false },
  media_not_a_file: { status: 422, exit: 3, retry: false },
  media_empty: { status: 422, exit: 3, retry: false },
  media_unsupported: { status: 415, exit: 3, retry: false },
  media_undecodable: { status: 422, exit: 3, retry: false },
  media_no_streams: { status: 422, exit: 3, retry: false },
  media_too_short: { status: 422, exit: 3, retry: false },
  media_too_long: { status: 413, exit: 3, retry: false },
  media_too_large: { status: 413, exit: 3, retry: false },
  media_aspect_ratio: { status: 422, exit: 3, retry: false },
  media_timeout: { status: 422, exit: 3, retry: false },
  context_length_exceeded: { status: 400, exit: 3, retry: false },
  checkpoint_not_found: { status: 500, exit: 4, retry: false },
  checkpoint_invalid: { status: 500, exit: 4, retry: false },
  tensor_missing: { status: 500, exit: 4, retry: false },
  tensor_invalid: { status: 500, exit: 4, retry: false },
  precision_unsupported: { status: 500, exit: 4, retry: false },
  export_incomplete: { status: 500, exit: 4, retry: false },
  export_stale: { status: 500, exit: 4, retry: false },
  runtime_unavailable: { status: 500, exit: 5, retry: false },
  device_unavailable: { status: 500, exit: 5, retry: false },
  deadline_exceeded: { status: 408, exit: 5, retry: false },
  rate_limited: { status: 429, exit: 5, retry: true },
  queue_full: { status: 429, exit: 5, retry: true },
  storage_full: { status: 503, exit: 5, retry: true },
  database_unavailable: { status: 503, exit: 5, retry: true },
  engine_error: { status: 500, exit: 5, retry: true },
  engine_unavailable: { status: 503, exit: 5, retry: true },
  directory_unwritable: { status: 500, exit: 6, retry: false },
  ffmpeg_missing: { status: 500, exit: 6, retry: false },
  aborted: { status: 499, exit: 130, retry: true },
  internal: { status: 500, exit: 1, retry: false },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

interface ErrorOptions {
  readonly cause?: unknown;
  readonly param?: string;
  readonly retryAfterSeconds?: number;
}

/** An error whose message may be shown to the person who asked. */
export class AvocadoError extends Error {
  readonly code: ErrorCode;
  /** names the field or flag at fault */
  readonly param: string | undefined;
  /** when asking again makes sense, where that can be computed */
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AvocadoError';
    this.code = code;
    this.param = options.param;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/**
 * The error for a directory of ours that cannot be made or written to.
 * @param advice what to set instead, as a sentence
 */
export function directoryUnwritable(directory: string, cause: unknown, advice: string): AvocadoError {
  const { code = String(cause) } = cause as NodeJS.ErrnoException;
  return new AvocadoError('directory_unwritable', `${directory} cannot be written to (${code}). ${advice}`, { cause });
}

/** Any thrown thing as an AvocadoError: aborts keep their meaning, the unknown becomes `internal` with its cause. */
export function asAvocadoError(thrown: unknown): AvocadoError {
  if (thrown instanceof AvocadoError) return thrown;
  if (thrown instanceof Error && thrown.name === 'AbortError')
    return new AvocadoError('aborted', 'The request was cancelled.', { cause: thrown });
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new AvocadoError('internal', `${message} This is a bug: please report it with the command that caused it.`, {
    cause: thrown,
  });
}
