import { describe, expect, it } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { endingOf, isEnding } from '../../../src/output/ending.ts';

const RUNNING = new AbortController().signal;

describe('endingOf', () => {
  it('keeps code, sentence, field and retry time of an error', () => {
    const error = new AvocadoError('queue_full', 'Full.', { param: 'file', retryAfterSeconds: 3 });
    expect(endingOf(error, RUNNING)).toEqual({
      type: 'caption-error',
      code: 'queue_full',
      message: 'Full.',
      param: 'file',
      retryAfterSeconds: 3,
    });
  });

  it('calls unknown errors bugs', () => {
    expect(endingOf(new Error('x'), RUNNING)).toMatchObject({ type: 'caption-error', code: 'internal' });
  });

  it('is an abort when the signal has aborted, or the error says so', () => {
    expect(endingOf(new Error('x'), AbortSignal.abort())).toEqual({ type: 'caption-aborted' });
    expect(endingOf(new DOMException('left', 'AbortError'), RUNNING)).toEqual({ type: 'caption-aborted' });
  });
});

describe('isEnding', () => {
  it('knows the three endings from what comes before', () => {
    expect(isEnding({ type: 'caption-aborted' })).toBe(true);
    expect(isEnding({ type: 'stage', stage: 'probe', done: 0, total: 1 })).toBe(false);
  });
});
