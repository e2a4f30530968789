import { describe, expect, it } from 'vitest';
import { stageDirectory } from '../../../../src/model/export/staged-directory.ts';

const unwritable = (place: string): unknown =>
  expect.objectContaining({ code: 'directory_unwritable', message: expect.stringContaining(place) as string });

describe('a place that cannot be written to', () => {
  it.each(['/dev/null/.cache/entry', '/proc/nothing/entry', '/proc/nothing/deeper/entry'])(
    'is named, with what to do: %s',
    async (target) => {
      const staging = stageDirectory(
        target,
        () => Promise.resolve(),
        () => Promise.resolve('keep'),
      );
      await expect(staging).rejects.toThrow(unwritable(target.replace('/entry', '')));
      await expect(staging).rejects.toThrow('--cache-dir');
    },
  );
});
