import { expect, test } from 'vitest';
import { settingsHash, workSettings, type ModelIdentity } from '../../../src/batch/identity.ts';
import { captionRequest } from '../../../src/captioner/caption-options.ts';

const IDENTITY = { model: 'm@1', precision: 'fp32', profile: 'p@1', preset: 'avocado', context: 4096, engine: '1' };
const hashOf = (identity: Partial<ModelIdentity>, options: object): string =>
  settingsHash(workSettings(captionRequest('a.mp4', options), { ...IDENTITY, ...identity }));

test('a preset is a part of the settings, and a text model of those of captions that it may merge', () => {
  const merge = 'text@1';
  expect(hashOf({ preset: 'timechat' }, {})).not.toBe(hashOf({}, {}));
  expect(hashOf({ merge }, {})).toBe(hashOf({}, {}));
  const segments = { segments: 60 };
  expect(hashOf({ merge }, segments)).not.toBe(hashOf({}, segments));
  expect(hashOf({ merge: 'other@1' }, segments)).not.toBe(hashOf({ merge }, segments));
  const unmerged = { ...segments, merge: false };
  expect(hashOf({ merge }, unmerged)).toBe(hashOf({}, unmerged));
});
