import { describe, expect, it } from 'vitest';
import { ProgressWatch } from '../../../src/base/progress-watch.ts';

describe('ProgressWatch', () => {
  it('counts time only while work is due, from the last progress on', () => {
    const watch = new ProgressWatch();
    watch.advance(1000);
    expect(watch.stalledMs).toBe(0);
    watch.observe({ busy: true, progress: 1 });
    watch.advance(300);
    watch.observe({ busy: true, progress: 1 });
    watch.advance(200);
    expect(watch.stalledMs).toBe(500);
    watch.observe({ busy: true, progress: 2 });
    expect(watch.stalledMs).toBe(0);
  });

  it('does not count an idle hour against the next request', () => {
    const watch = new ProgressWatch();
    watch.observe({ busy: false, progress: 5 });
    watch.advance(3_600_000);
    watch.observe({ busy: true, progress: 5 });
    expect(watch.stalledMs).toBe(0);
  });
});
