import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { findKey, keysOfEnvironment, keysOfFile } from '../../../src/settings/api-keys.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();
const KEY = 'a-key-of-twenty-chars';
const sha256 = createHash('sha256').update(KEY).digest('hex');

function file(text: string): string {
  const path = scratch('keys.txt');
  writeFileSync(path, text);
  return path;
}

describe('keys', () => {
  it('of a file stand one on a line, plain or hashed, between comments and empty lines', () => {
    const { keys, mistakes } = keysOfFile(
      file(`# the team\r\nanna:${KEY}\n\n  bob.2:sha256:${sha256.toUpperCase()}  \n`),
    );
    expect([keys, mistakes]).toEqual([
      [
        { name: 'anna', sha256 },
        { name: 'bob.2', sha256 },
      ],
      [],
    ]);
  });

  it('of the environment stand between commas or on lines', () => {
    expect(
      keysOfEnvironment(`anna:${KEY},bob:sha256:${sha256}\ncarl:${KEY}:with-a-colon`).keys.map(({ name }) => name),
    ).toEqual(['anna', 'bob', 'carl']);
  });

  it.each([
    ['no colon here', 'line 2: write it as NAME:KEY'],
    ['bad name:abcdefghijklmnopqrst', 'line 2: write it as NAME:KEY'],
    ['carl:short', 'line 2: the key of carl must have at least 16 characters'],
    ['carl:a key with spaces in it', 'line 2: the key of carl'],
    ['carl:sha256:1234', 'line 2: the hash of carl must have 64'],
    [`anna:another-key-of-anna`, 'line 2: the name anna is given twice'],
  ])('%j is a mistake that names its line and never the key', (line, mistake) => {
    const [told = '', ...others] = keysOfFile(file(`anna:${KEY}\n${line}\n`)).mistakes;
    expect(told).toContain(mistake);
    expect(others).toEqual([]);
    expect(told).not.toContain(line.slice(line.indexOf(':') + 1));
  });

  it('that are none at all are a mistake: an empty file must not let everybody in', () => {
    expect(keysOfFile(file('# none yet\n')).mistakes).toEqual([expect.stringContaining('holds no key')]);
    expect(keysOfEnvironment('').mistakes).toEqual([expect.stringContaining('AVOCADO_API_KEYS holds no key')]);
    expect(keysOfFile(scratch('missing')).mistakes).toEqual([expect.stringContaining('ENOENT')]);
  });

  it('are found by the whole key only', () => {
    const keys = keysOfEnvironment(`anna:${KEY},bob:the-key-of-bob-is-long`).keys;
    expect(findKey(KEY, keys)?.name).toBe('anna');
    expect(findKey('the-key-of-bob-is-long', keys)?.name).toBe('bob');
    for (const wrong of ['', KEY.slice(1), `${KEY} `, sha256, `anna:${KEY}`])
      expect(findKey(wrong, keys)).toBeUndefined();
  });
});
