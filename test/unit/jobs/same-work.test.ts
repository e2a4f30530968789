import { describe, expect, it } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { completedOutcome } from '../../../src/jobs/item-lines.ts';
import { SameWork, WorkElsewhere } from '../../../src/jobs/same-work.ts';
import type { SameWorkItem } from '../../../src/jobs/store/item-store.ts';
import type { Answer, Claim } from '../../../src/jobs/types.ts';

const never = new AbortController().signal;

function claim(n: number, more: Partial<Claim> = {}): Claim {
  const counts = { token: 1, attempts: 0, deaths: 0 };
  const texts = { custom_id: `item ${n}`, media: 'm', payload: '{}', options: '{}', owner: 'me' };
  return { job: 'job-1', n, kind: 'job', endpoint: '/v1/captions', ...counts, ...texts, ...more };
}

function answer(id: string): Answer {
  return { body: { id, caption: 'A ball.' }, promptTokens: 9, completionTokens: 3, mediaSeconds: 4 };
}

function of(found?: SameWorkItem): SameWork {
  return new SameWork({ sameWork: async () => found });
}

describe('the same work', () => {
  it('is done once for items that come together, and each gets the answer under its own name', async () => {
    const same = of();
    let made = 0;
    let finish: () => void = () => undefined;
    const make = async (): Promise<Answer> => {
      made += 1;
      await new Promise<void>((resolve) => (finish = resolve));
      return answer('chatcmpl-job-1.0');
    };
    const first = same.once(claim(0), never, 'w', make);
    const others = [1, 2].map((n) => same.once(claim(n), never, 'w', make));
    const apart = same.once(claim(3, { owner: 'you' }), never, 'w', async () => answer('job-1.3'));
    expect(await apart).toEqual(answer('job-1.3'));
    finish();
    expect(await first).toEqual(answer('chatcmpl-job-1.0'));
    expect(await Promise.all(others)).toEqual(
      [1, 2].map((n) => ({
        body: { id: `chatcmpl-job-1.${n}`, caption: 'A ball.' },
        ...{ promptTokens: 0, completionTokens: 0, mediaSeconds: 0, duplicateOf: 'job-1.0' },
      })),
    );
    expect(made).toBe(1);
  });

  it('is done by the next one when the first fails or is stopped', async () => {
    const same = of();
    const failing = same.once(claim(0), never, 'w', () => Promise.reject(new AvocadoError('engine_error', 'No.')));
    const next = same.once(claim(1), never, 'w', async () => answer('job-1.1'));
    await expect(failing).rejects.toThrow('No.');
    expect(await next).toEqual(answer('job-1.1'));
    const stop = new AbortController();
    const hanging = same.once(claim(2), never, 'w', () => new Promise(() => undefined));
    const waiting = same.once(claim(3), stop.signal, 'w', async () => answer('x'));
    stop.abort(new AvocadoError('aborted', 'The job was cancelled.'));
    await expect(waiting).rejects.toThrow('The job was cancelled.');
    void hanging;
  });

  it.each(['job', 'batch'] as const)('is taken from the line of a %s that is done', async (kind) => {
    const { line } = completedOutcome(claim(7, { job: 'job-0', kind }), 1, answer('job-0.7'));
    const make = (): Promise<Answer> => Promise.reject(new Error('It is made.'));
    const taken = await of({ job: 'job-0', n: 7, kind, line }).once(claim(1), never, 'w', make);
    expect(taken).toMatchObject({ body: { id: 'job-1.1', caption: 'A ball.' }, duplicateOf: 'job-0.7' });
    const outcome = completedOutcome(claim(1), 1, taken);
    expect(outcome).toMatchObject({ isDuplicate: true, promptTokens: 0 });
    expect(JSON.parse(outcome.line)).toMatchObject({ id: 'item 1', caption: 'A ball.', duplicate_of: 'job-0.7' });
  });

  it('waits while another server does it', async () => {
    const busy = of({ job: 'job-0', n: 7, kind: 'job', line: null });
    await expect(busy.once(claim(1), never, 'w', async () => answer('x'))).rejects.toThrow(WorkElsewhere);
  });
});
