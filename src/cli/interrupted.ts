import { AvocadoError } from '../base/errors.ts';

/** @returns the error of Ctrl-C, for a signal that has been aborted */
export function interrupted(): AvocadoError {
  return new AvocadoError('aborted', 'Interrupted: nothing was kept.');
}

/**
 * Waits for something that cannot be cancelled, but not longer than the person does. What arrives late goes to `discard`.
 * @throws AvocadoError `aborted`
 */
export function orInterrupted<T>(
  work: Promise<T>,
  signal: AbortSignal,
  discard: (late: T) => Promise<void>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      reject(interrupted());
      work.then(discard).catch(() => undefined); // whoever asked has left; its failure concerns nobody
    };
    if (signal.aborted) {
      leave();
      return;
    }
    signal.addEventListener('abort', leave, { once: true });
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', leave);
    });
  });
}
