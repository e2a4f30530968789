import { AvocadoError } from '../../base/errors.ts';

/** @throws AvocadoError `aborted` when the signal is, with the abort's reason as its cause */
export function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new AvocadoError('aborted', 'The run was cancelled.', { cause: signal.reason });
}
