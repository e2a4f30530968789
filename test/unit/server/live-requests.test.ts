import { describe, expect, it } from 'vitest';
import { LiveRequests } from '../../../src/server/live-requests.ts';

describe('LiveRequests', () => {
  it('refuses one more than it may hold, and takes it when another has ended', () => {
    const live = new LiveRequests(2);
    const first = live.begin();
    live.begin();
    expect(() => { live.begin(); }).toThrow(expect.objectContaining({ code: 'queue_full' }) as Error);
    first.end();
    live.begin();
    expect(live.count).toBe(2);
  });

  it('refuses everything once a stop was asked for, and the stop waits for what runs', async () => {
    const live = new LiveRequests(2);
    const running = live.begin();
    const stopped = live.stop(20);
    expect(() => { live.begin(); }).toThrow(expect.objectContaining({ code: 'engine_unavailable' }) as Error);
    await new Promise((resolve) => { running.signal.addEventListener('abort', resolve); });
    running.end();
    await stopped;
  });
});
