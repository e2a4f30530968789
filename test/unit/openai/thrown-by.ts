import { AvocadoError } from '../../../src/base/errors.ts';

/** The error a call throws; a call that throws none, or another kind, fails the test. */
export function thrownBy(call: () => unknown): AvocadoError {
  try {
    call();
  } catch (thrown) {
    if (thrown instanceof AvocadoError) return thrown;
    throw thrown;
  }
  throw new Error('Nothing was thrown.');
}
