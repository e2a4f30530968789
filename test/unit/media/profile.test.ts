import { describe, expect, test } from 'vitest';
import { profileLabel, resolveProfile } from '../../../src/media/profile.ts';

describe('profiles', () => {
  test('paper holds when nothing is said', () => {
    expect(resolveProfile(undefined)).toMatchObject({
      name: 'paper',
      version: 1,
      fps: 2,
      maxPixels: 401_408,
      totalPixels: 20_070_400,
      processorMaxPixels: 602_112,
    });
  });

  test('reference-cli differs from paper by its total budget alone', () => {
    expect(resolveProfile('reference-cli')).toEqual({
      ...resolveProfile('paper'),
      name: 'reference-cli',
      totalPixels: 90_316_800,
    });
  });

  test('a model may bring its own, which then is the default, and paper stays reachable', () => {
    const nano = { name: 'nano', version: 3, maxPixels: 14_112, processorMaxPixels: 14_112 };
    expect(resolveProfile(undefined, {}, nano)).toMatchObject({
      name: 'nano',
      version: 3,
      fps: 2,
      maxPixels: 14_112,
      imageMaxPixels: 14_112,
    });
    expect(resolveProfile('paper', {}, nano)).toMatchObject({
      name: 'paper',
      maxPixels: 401_408,
      imageMaxPixels: undefined,
    });
    expect(resolveProfile('nano', { fps: 4 }, nano)).toMatchObject({ fps: 4, maxPixels: 14_112 });
  });

  test('the name with its version, as answers tell it, is the same profile; another version is none', () => {
    const nano = { name: 'nano', version: 3, maxPixels: 14_112, processorMaxPixels: 14_112 };
    for (const name of ['nano', 'paper'])
      expect(resolveProfile(profileLabel(resolveProfile(name, {}, nano)), {}, nano)).toEqual(
        resolveProfile(name, {}, nano),
      );
    expect(() => resolveProfile('nano@2', {}, nano)).toThrow('There is no profile "nano@2". Known: nano@3, paper@1');
  });

  test('an unknown name is refused with the list of the known', () => {
    expect(() => resolveProfile('papre')).toThrow(
      expect.objectContaining({
        code: 'bad_request',
        param: 'profile',
        message: expect.stringMatching(/paper@1, reference-cli@1/) as string,
      }),
    );
  });

  test.each([
    ['fps', 0, 'fps'],
    ['fps', Number.NaN, 'fps'],
    ['maxPixels', -1, 'max_pixels'],
    ['nframes', 2.5, 'nframes'],
    ['processorFps', Number.POSITIVE_INFINITY, 'processor_fps'],
  ] as const)('%s of %d is refused under its name in requests', (field, value, param) => {
    expect(() => resolveProfile('paper', { [field]: value })).toThrow(
      expect.objectContaining({ code: 'bad_request', param }),
    );
  });

  test('a minimum over the maximum of the same request is refused, a low maximum alone is not', () => {
    expect(() => resolveProfile('paper', { minPixels: 50_000, maxPixels: 20_000 })).toThrow(
      expect.objectContaining({ param: 'min_pixels' }),
    );
    expect(resolveProfile('paper', { maxPixels: 20_000 })).toMatchObject({ minPixels: 100_352, maxPixels: 20_000 });
  });
});
