// When a message is sent again and when not, with a database of one row.
import { describe, expect, it } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import type { Database, Param } from '../../../src/jobs/store/database.ts';
import { Webhooks } from '../../../src/jobs/webhooks.ts';

const HOUR = 3600;

/** A message that is due whenever a test says so, whatever it has to wait. */
class OneMessage implements Database {
  isDue = true;
  attempts = 0;
  state: 'due' | 'delivered' | 'given up' = 'due';
  readonly pauses: number[] = [];
  error = '';
  readonly lost = new Promise<string>(() => undefined);

  async query<Row>(text: string, params: readonly Param[] = []): Promise<readonly Row[]> {
    if (text.includes('delivered_at = now()')) this.state = 'delivered';
    else if (text.includes('attempts = attempts - 1')) this.attempts -= 1;
    else if (text.includes('gave_up_at = case')) {
      const [, error, pause, isOver] = params;
      this.error = String(error);
      if (isOver === true) this.state = 'given up';
      else this.pauses.push(Number(pause));
    } else if (this.isDue && this.state === 'due') {
      this.isDue = false;
      this.attempts += 1;
      const counts = { total: 1, completed: 1, failed: 0, attempts: this.attempts, created_at: 5.5 };
      const row = {
        id: 'evt_1',
        job: 'job-1',
        url: 'https://hook.example/a',
        host: 'hook.example',
        owner: '',
        type: 'job.completed',
        ...counts,
      };
      return [{ ...row, status: 'in_progress', kind: 'job' } as Row]; // its failed items are being tried again
    }
    return [];
  }

  run(): Promise<void> {
    return Promise.reject(new Error('not here'));
  }

  async close(): Promise<void> {
    this.state = 'given up';
  }
}

/** @param answers statuses, or errors, of one try after the other; the last one stays */
async function deliver(...answers: readonly (number | AvocadoError)[]) {
  const message = new OneMessage();
  const ids: string[] = [];
  const bodies = new Set<string>();
  const told: string[] = [];
  const webhooks = new Webhooks(message, {
    secret: 'secret',
    onGivenUp: (sentence) => told.push(sentence),
    send: async (_url, headers, body) => {
      bodies.add(body);
      const answer = answers[Math.min(ids.push(headers['webhook-id'] ?? ''), answers.length) - 1];
      if (typeof answer === 'number') return answer;
      throw answer ?? new Error('There is no answer.');
    },
  });
  for (let turn = 0; turn < 20; turn++) {
    message.isDue = true;
    await webhooks.deliver(new AbortController().signal);
  }
  return { message, told, ids, bodies: [...bodies] };
}

describe('a message to a webhook', () => {
  it('is sent again under the same id until it is taken', async () => {
    const away = new AvocadoError('media_unreachable', 'Nothing answers.');
    const { message, ids, told, bodies } = await deliver(500, away, 302, 204);
    expect([message.state, ids, told]).toEqual(['delivered', Array(4).fill('evt_1'), []]);
    expect(bodies).toHaveLength(1);
    expect(JSON.parse(bodies[0] ?? '')).toMatchObject({ type: 'job.completed', data: { status: 'completed' } });
    for (const [index, least] of [5, 60, 300].entries()) {
      expect(message.pauses[index]).toBeGreaterThanOrEqual(least);
      expect(message.pauses[index]).toBeLessThan(least * 1.1);
    }
  });

  it('is given up after a day and a half, which is told', async () => {
    const { message, ids, told } = await deliver(503);
    expect([message.state, message.error, ids.length]).toEqual(['given up', 'status 503', 9]);
    const hours = message.pauses.reduce((sum, pause) => sum + pause, 0) / HOUR;
    expect(hours).toBeGreaterThan(31);
    expect(hours).toBeLessThan(36);
    expect(told).toEqual(['The message evt_1 to hook.example was tried 9 times and is given up: status 503.']);
  });

  it('is given up at once where the receiver says that it is gone', async () => {
    const { message, ids, told } = await deliver(410);
    expect([message.state, message.pauses, ids.length]).toEqual(['given up', [], 1]);
    expect(told).toEqual(['The message evt_1 to hook.example was tried once and is given up: status 410.']);
  });

  it('that a stopping server is sending is left to the next one, and holds up nothing', async () => {
    const message = new OneMessage();
    const stop = new AbortController();
    const webhooks = new Webhooks(message, {
      secret: 'secret',
      onGivenUp: () => undefined,
      send: (_url, _headers, _body, signal) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            reject(new AvocadoError('media_unreachable', 'It broke off.'));
          });
          stop.abort();
        }),
    });
    await webhooks.deliver(stop.signal);
    expect([message.state, message.attempts, message.pauses]).toEqual(['due', 0, []]);
  });
});
