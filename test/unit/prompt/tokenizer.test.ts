import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadTokenizer } from '../../../src/prompt/tokenizer.ts';
import type { Tokenizer } from '../../../src/prompt/tokenizer.ts';
import { goldenJson } from '../../fixtures/golden.ts';
import { randomTexts } from '../../fixtures/random-texts.ts';
import { goldenCheckpoint } from './golden-prompt.ts';

interface TokenizerRow {
  readonly text: string;
  readonly ids: number[];
  readonly decoded: string;
  readonly decoded_skip_special: string;
}

describe.each(['tiny-a', 'tiny-b'])('the tokenizer of %s', (name) => {
  const rows = goldenJson<TokenizerRow[]>(`tokenizer/${name}.json`);
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await loadTokenizer(goldenCheckpoint(name));
  });

  it.each(rows)(
    'encodes and decodes $text as the reference does',
    ({ text, ids, decoded, decoded_skip_special: skipped }) => {
      expect(tokenizer.encode(text)).toEqual(ids);
      expect(tokenizer.decode(ids, { skipSpecial: false })).toBe(decoded);
      expect(tokenizer.decode(ids, { skipSpecial: true })).toBe(skipped);
    },
  );

  it('never obeys special tokens in plain text, and gives random plain text back', () => {
    for (const text of randomTexts(400, 7)) {
      const ids = tokenizer.encodePlain(text);
      expect(ids.some((id) => tokenizer.isSpecial(id) || tokenizer.tokenOf(id) === '<tool_call>')).toBe(false);
      expect(tokenizer.decode(ids, { skipSpecial: true })).toBe(text.normalize('NFC'));
    }
  });

  it('encodes text without special tokens alike, trusted or not', () => {
    for (const text of randomTexts(100, 11).filter((candidate) => !candidate.includes('<')))
      expect(tokenizer.encode(text)).toEqual(tokenizer.encodePlain(text));
  });

  it('gives a text the same ids again, whatever a caller did to the first, and after many others', () => {
    const first = tokenizer.encodePlain('Describe the video.');
    const expected = first.slice();
    first.length = 0;
    tokenizer.encodePlain('Describe the video.').push(7);
    expect(tokenizer.encodePlain('Describe the video.')).toEqual(expected);
    for (const text of randomTexts(200, 13)) tokenizer.encodePlain(text);
    expect(tokenizer.encodePlain('Describe the video.')).toEqual(expected);
  });

  it('knows ids by name, names by id, and nothing beyond its size', () => {
    const imEnd = tokenizer.idOf('<|im_end|>')!;
    expect(tokenizer.tokenOf(imEnd)).toBe('<|im_end|>');
    expect(tokenizer.isSpecial(imEnd)).toBe(true);
    expect(tokenizer.isSpecial(tokenizer.idOf('<tool_call>')!)).toBe(false);
    expect(tokenizer.tokenOf(tokenizer.size)).toBeUndefined();
    expect(tokenizer.decode([tokenizer.size, 5], { skipSpecial: false })).toBe(
      tokenizer.decode([5], { skipSpecial: false }),
    );
    expect(tokenizer.decode([], { skipSpecial: true })).toBe('');
  });
});

describe('loading a tokenizer', () => {
  const directories: string[] = [];
  const directoryWith = async (files: Record<string, string>): Promise<string> => {
    const directory = await mkdtemp(join(tmpdir(), 'tokenizer-'));
    directories.push(directory);
    for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
    return directory;
  };
  const published = (name: string): Promise<string> => readFile(join(goldenCheckpoint('tiny-a'), name), 'utf8');
  afterAll(async () => {
    for (const directory of directories) await rm(directory, { recursive: true });
  });

  it.each([['tokenizer_config.json'], ['added_tokens.json', 'special_tokens_map.json']])(
    'from vocab.json, merges.txt and %s is the same tokenizer',
    async (...rest: string[]) => {
      const files = await Promise.all(
        ['vocab.json', 'merges.txt', ...rest].map(async (name) => [name, await published(name)] as const),
      );
      const [older, newer] = await Promise.all([
        loadTokenizer(await directoryWith(Object.fromEntries(files))),
        loadTokenizer(goldenCheckpoint('tiny-a')),
      ]);
      expect(older.size).toBe(newer.size);
      for (const text of randomTexts(200, 3)) {
        expect(older.encode(text)).toEqual(newer.encode(text));
        expect(older.decode(older.encode(text), { skipSpecial: true })).toBe(
          newer.decode(newer.encode(text), { skipSpecial: true }),
        );
      }
    },
  );

  it('needs nothing but tokenizer.json', async () => {
    const tokenizer = await loadTokenizer(await directoryWith({ 'tokenizer.json': await published('tokenizer.json') }));
    expect(tokenizer.decode(tokenizer.encode('a , b . <|im_end|>'), { skipSpecial: true })).toBe('a , b . ');
  });

  it('says which files are missing', async () => {
    const directory = await directoryWith({ 'vocab.json': await published('vocab.json') });
    await expect(loadTokenizer(directory)).rejects.toMatchObject({
      code: 'checkpoint_invalid',
      message: expect.stringMatching(/tokenizer\.json is missing.*merges\.txt/u) as string,
    });
    await expect(loadTokenizer(await directoryWith({}))).rejects.toThrow('vocab.json and merges.txt');
    await expect(loadTokenizer(join(directory, 'nowhere'))).rejects.toMatchObject({ code: 'checkpoint_invalid' });
  });

  it.each([
    ['a truncated tokenizer.json', (text: string) => text.slice(0, 1000), 'is not a JSON object'],
    [
      'another kind of decoder',
      (text: string) => text.replace(/"decoder":\s*\{\s*"type":\s*"ByteLevel"/u, '"decoder": {"type": "WordPiece"'),
      'byte-level',
    ],
    ['a vocabulary without all bytes', (text: string) => text.replace('"!":', '"!!!!":'), 'lacks 1 of the 256 bytes'],
    [
      'a regular expression that is none',
      (text: string) => text.replace(/"Regex":\s*"/u, '"Regex": "((('),
      'Invalid regular expression',
    ],
    ['an id that is no index', (text: string) => text.replace(/"!":\s*\d+/u, '"!": 1000000000'), 'no BPE model'],
    ['an added token that strips', (text: string) => text.replace(/"lstrip":\s*false/u, '"lstrip": true'), 'strips'],
  ])('refuses %s', async (_, damage, message) => {
    const whole = await published('tokenizer.json');
    const damaged = damage(whole);
    expect(damaged).not.toBe(whole);
    await expect(loadTokenizer(await directoryWith({ 'tokenizer.json': damaged }))).rejects.toMatchObject({
      code: 'checkpoint_invalid',
      message: expect.stringContaining(message) as string,
    });
  });
});
