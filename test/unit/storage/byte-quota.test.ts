import { describe, expect, it } from 'vitest';
import { ByteQuota } from '../../../src/storage/temporary-storage.ts';

describe('ByteQuota', () => {
  it('limits all reservations together, and releases each once', () => {
    const quota = new ByteQuota(100);
    const [first, second] = [quota.reserve(), quota.reserve()];
    first.grow(60);
    expect(() => {
      second.grow(41);
    }).toThrow(expect.objectContaining({ code: 'storage_full' }) as Error);
    second.grow(40);
    expect(quota.use()).toEqual({ usedBytes: 100, limitBytes: 100, files: 2 });
    first.release();
    first.release();
    expect(quota.use()).toEqual({ usedBytes: 40, limitBytes: 100, files: 1 });
    expect(() => {
      first.grow(1);
    }).toThrow('This is a bug.');
  });
});
