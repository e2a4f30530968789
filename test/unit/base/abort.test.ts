import { describe, expect, it } from 'vitest';
import { abortError, withSignal } from '../../../src/base/abort.ts';
import { AvocadoError } from '../../../src/base/errors.ts';

const LATE = new AvocadoError('deadline_exceeded', 'Too late.');

function never<T>(): Promise<T> {
  return new Promise<T>(() => undefined);
}

describe('abortError', () => {
  it('is the reason of the signal when that is an AvocadoError, otherwise `aborted` with the reason as cause', () => {
    expect(abortError(AbortSignal.abort(LATE))).toBe(LATE);
    for (const reason of ['a word', new Error('other')])
      expect(abortError(AbortSignal.abort(reason))).toMatchObject({ code: 'aborted', cause: reason });
    expect(abortError(AbortSignal.abort())).toMatchObject({ code: 'aborted', cause: { name: 'AbortError' } });
    expect(abortError(undefined)).toMatchObject({ code: 'aborted' });
  });
});

describe('withSignal', () => {
  it('gives what the promise gives, or the reason of the signal', async () => {
    const controller = new AbortController();
    expect(await withSignal(Promise.resolve(7), controller.signal)).toBe(7);
    await expect(withSignal(Promise.reject(new Error('no')), controller.signal)).rejects.toThrow('no');
    const waiting = withSignal(never(), controller.signal);
    controller.abort(LATE);
    await expect(waiting).rejects.toBe(LATE);
    await expect(withSignal(never(), controller.signal)).rejects.toBe(LATE);
    await expect(withSignal(Promise.reject(new Error('not heard')), AbortSignal.abort('a word'))).rejects.toThrow(
      'cancelled',
    );
  });
});
