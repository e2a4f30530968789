import { AvocadoError } from '../base/errors.ts';

export function shuttingDown(): AvocadoError {
  return new AvocadoError('engine_unavailable', 'The engine is shutting down. Send the request again when it is back.');
}

/** What went wrong and why, as one `engine_error`. */
export function engineError(what: string, thrown: unknown): AvocadoError {
  if (thrown instanceof AvocadoError && thrown.code === 'engine_error') return thrown;
  const reason = (thrown instanceof Error ? thrown.message : String(thrown)).replace(/\.?$/, '.');
  return new AvocadoError(
    'engine_error',
    `${what}: ${reason} Send the request again; if it fails again, run \`avocado doctor\`.`,
    { cause: thrown },
  );
}
