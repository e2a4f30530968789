// What a library is listed from: names of any bytes, patterns, lists and manifests.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { itemsOfArgument, itemsOfList, type Listed, type ListFile } from '../../../src/batch/inputs.ts';
import { KeyTable } from '../../../src/batch/key-table.ts';
import { Layout } from '../../../src/batch/layout.ts';
import { extensionFilter, filesBelow, MEDIA_EXTENSIONS, patternExpression } from '../../../src/batch/list-files.ts';
import { fsPath, pathText, shownPath } from '../../../src/batch/path-text.ts';
import { readCsv, readList } from '../../../src/batch/read-lines.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();
const takes = extensionFilter(MEDIA_EXTENSIONS);

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const one of stream) found.push(one);
  return found;
}

/** The bytes in pieces of every size, so that pieces end anywhere. */
async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

describe('paths as text', () => {
  it('give back every sequence of bytes, also through JSON', () => {
    const cases = [
      Buffer.from('plain/ä/🎈.mp4'),
      Buffer.from([0x63, 0xe9, 0x2e, 0x6d]), // latin1
      Buffer.from([0xff, 0xfe, 0xc3, 0x28, 0xf0, 0x9f, 0x8e, 0xc3, 0xa9]), // cut and wrong sequences
      Buffer.from([0xed, 0xb2, 0x80, 0x41]), // a surrogate in UTF-8, which is none
      Buffer.from('�.mp4'),
    ];
    for (const bytes of cases) {
      const text = JSON.parse(JSON.stringify(pathText(bytes))) as string;
      const back = fsPath(text);
      expect(Buffer.from(typeof back === 'string' ? Buffer.from(back) : back)).toEqual(bytes);
    }
    expect(shownPath(pathText(Buffer.from([0x61, 0xe9, 0x0a, 0x1b])))).toBe('a�\\n\\x1b');
  });

  it('are keys of a table that tells 50,000 of them apart', () => {
    const table = new KeyTable();
    for (let index = 0; index < 50_000; index++) table.set(`k${index}`, index);
    table.set('k7', -1);
    table.set(pathText(Buffer.from([0xe9])), 1);
    table.set(pathText(Buffer.from([0xe8])), 2);
    expect([table.size, table.get('k49999'), table.get('k7'), table.get('no')]).toEqual([
      50_002,
      49_999,
      -1,
      undefined,
    ]);
    expect(table.get(pathText(Buffer.from([0xe9])))).toBe(1);
    expect([...table.values()]).toHaveLength(50_002);
  });
});

describe('a directory', () => {
  it('is listed at any depth, without hidden names, and with names of any bytes', async () => {
    const top = scratch('tree');
    let deep = top;
    for (let level = 0; level < 200; level++) deep = join(deep, 'd');
    mkdirSync(deep, { recursive: true });
    mkdirSync(join(top, '.avocado'));
    const odd = Buffer.concat([Buffer.from(`${top}/caf`), Buffer.from([0xe9]), Buffer.from('.MP4')]);
    const made = [odd, `${deep}/deep.mkv`, `${top}/quo"te's\nline.wav`, `${top}/sp ace.webm`];
    for (const path of [...made, `${top}/note.txt`, `${top}/a.mp4.json`, `${top}/.avocado/x.mp4`, `${top}/.hid.mp4`])
      writeFileSync(path, 'x');
    const found = await all(filesBelow(top, takes));
    expect(found.sort()).toEqual(made.map((path) => pathText(Buffer.from(path))).sort());
    expect(await all(filesBelow(scratch('none'), takes))).toMatchObject([{ code: 'media_not_found' }]);
    // One directory deep: only the files of the top.
    expect(await all(filesBelow(top, takes, 1))).toHaveLength(3);
  });

  it.each([
    ['*.mp4', ['a.mp4'], ['a.mov', 'x/a.mp4']],
    ['**/*.mp4', ['a.mp4', 'x/y/a.mp4'], ['a.mp4.json']],
    ['{a,b}?.[!x]*', ['ab.mp4', 'bc.c'], ['c1.mp4', 'a1.x', 'a.mp4']],
    ['x/**', ['x/1', 'x/y/2'], ['y/1']],
    ['a,b+(1).*', ['a,b+(1).mp4'], ['a', 'aab1.mp4']],
    ['{*.mp4', ['{1.mp4'], ['1.mp4']],
  ])('matches the pattern %s as a shell does', (pattern, matching, others) => {
    const expression = patternExpression(pattern.split('/'));
    expect(matching.filter((path) => !expression.test(path))).toEqual([]);
    expect(others.filter((path) => expression.test(path))).toEqual([]);
  });

  it('is named as an argument, by a pattern, or file by file', async () => {
    const top = scratch('args');
    mkdirSync(join(top, 'in'), { recursive: true });
    for (const name of ['1.mp4', 'in/2.mp4', '3.txt']) writeFileSync(join(top, name), 'x');
    let passedOver = 0;
    const options = { takes, onPassedOver: () => (passedOver += 1) };
    const pathsOf = async (argument: string): Promise<string[]> =>
      (await all(itemsOfArgument(argument, options))).map((listed) =>
        'item' in listed && listed.item.source.kind === 'file' ? listed.item.source.path.slice(top.length) : '?',
      );
    expect((await pathsOf(top)).sort()).toEqual(['/1.mp4', '/in/2.mp4']);
    expect(await pathsOf(join(top, '*.mp4'))).toEqual(['/1.mp4']);
    expect(await pathsOf(join(top, '3.txt'))).toEqual([]);
    expect(passedOver).toBe(1);
    expect(await pathsOf(join(top, 'missing.mp4'))).toEqual(['/missing.mp4']);
    expect(await all(itemsOfArgument('https://example.org/a.mp4', options))).toMatchObject([
      { item: { source: { kind: 'url' } } },
    ]);
  });
});

describe('lists and manifests', () => {
  it('read alike, wherever their pieces end', async () => {
    const list = Buffer.concat([
      Buffer.from('\ufeffa.mp4\r\n\n b .mp4\ncaf'),
      Buffer.from([0xe9]),
      Buffer.from('.mp4'),
    ]);
    const csv = Buffer.from('\ufeffpath,note\r\n"a ""b"", c\nd.mp4",x\r\n\n,\nlast.mp4,');
    for (const size of [1, 2, 3, 7, 1000]) {
      expect((await all(readList(pieces(list, size), '\n'))).map(({ text, line }) => [line, text])).toEqual([
        [1, 'a.mp4'],
        [3, ' b .mp4'],
        [4, 'caf\udce9.mp4'],
      ]);
      expect((await all(readCsv(pieces(csv, size)))).map(({ fields, line }) => [line, ...fields])).toEqual([
        [1, 'path', 'note'],
        [2, 'a "b", c\nd.mp4', 'x'],
        [6, 'last.mp4', ''],
      ]);
    }
    expect((await all(readList(pieces(Buffer.from('a\nb\0c'), 2), '\0'))).map(({ text }) => text)).toEqual([
      'a\nb',
      'c',
    ]);
    await expect(all(readList(pieces(Buffer.alloc(5 * 1024 ** 2, 97), 1 << 20), '\n'))).rejects.toThrow('bytes');
  });

  const listOf = (name: string, kind: ListFile['kind'], text: string): ListFile => {
    writeFileSync(scratch(name), text);
    return { path: scratch(name), name, directory: '/media', kind };
  };

  it('give each item its options, its output and its other fields', async () => {
    const lines = [
      '{"path": "a.mp4", "prompt": "What?", "max_tokens": 5, "id": 7, "tags": ["x"]}',
      '{"url": "https://example.org/b.mp4", "output": "b"}',
      '"c.mp4"',
    ];
    const jsonl = await all(itemsOfList(listOf('m.jsonl', 'jsonl', lines.join('\n'))));
    expect(jsonl).toEqual<Listed[]>([
      {
        item: {
          source: { kind: 'file', path: '/media/a.mp4' },
          options: { prompt: 'What?', max_tokens: 5 },
          output: undefined,
          fields: { id: 7, tags: ['x'] },
        },
      },
      { item: { source: { kind: 'url', url: 'https://example.org/b.mp4' }, options: {}, output: 'b' } },
      { item: { source: { kind: 'file', path: '/media/c.mp4' }, options: {}, output: undefined } },
    ]);
    const csv = 'file,max_tokens,audio,stop_token_ids,note\n/x/a.mp4,5,no,"1,2",hi\nb.mp4,,,,\n';
    expect(await all(itemsOfList(listOf('m.csv', 'csv', csv)))).toMatchObject([
      { item: { options: { max_tokens: 5, audio: false, stop_token_ids: [1, 2] }, fields: { note: 'hi' } } },
      { item: { source: { path: '/media/b.mp4' }, options: {} } },
    ]);
  });

  it('tell which line cannot be read, and go on', async () => {
    const text = '{"path": 1}\n{no\n[]\n{"path":"a.mp4","output":""}\n{"path":"a\\u0000b"}\n{"path":"ok.mp4"}\n';
    const found = await all(itemsOfList(listOf('bad.jsonl', 'jsonl', text)));
    expect(found.map((listed) => ('fault' in listed ? listed.fault.where : 'ok'))).toEqual([
      ...[1, 2, 3, 4, 5].map((line) => `bad.jsonl, line ${line}`),
      'ok',
    ]);
    const gone = { path: scratch('gone'), name: 'gone', directory: '/', kind: 'lines' } as const;
    expect(await all(itemsOfList(gone))).toMatchObject([{ fault: { code: 'media_not_found' } }]);
  });

  it('stay small in memory, however long they are', async () => {
    const line = `${'x'.repeat(40)}.mp4\n`;
    async function* endless(): AsyncGenerator<Buffer> {
      for (let chunk = 0; chunk < 60; chunk++) yield Buffer.from(line.repeat(1000));
    }
    let entries = 0;
    for await (const { text } of readList(endless(), '\n')) entries += text.length > 0 ? 1 : 0;
    expect(entries).toBe(60_000);
  });
});

describe('names of an item', () => {
  const file = (path: string, output?: string) => ({ source: { kind: 'file', path } as const, options: {}, output });
  const url = (address: string) => ({ source: { kind: 'url', url: address } as const, options: {} });

  it('beside the media are unique and move with the library', () => {
    const layout = new Layout({ root: '/lib', out: undefined, shortNames: false });
    expect(layout.namesOf(file('/lib/a/b.mp4'))).toEqual({ key: 'a/b.mp4', stem: '/lib/a/b.mp4', path: 'a/b.mp4' });
    expect(layout.namesOf(file('/other/b.mp4')).key).toBe('/other/b.mp4');
    expect(layout.sidecar('/lib/a/b.mp4', 'vtt')).toBe('/lib/a/b.mp4.vtt');
    expect(() => layout.namesOf(url('https://example.org/x.mp4'))).toThrow('--out');
  });

  it('under --out mirror the library, and stay inside', () => {
    const layout = new Layout({ root: '/lib', out: '/out', shortNames: true });
    expect(layout.namesOf(file('/lib/a/b.mp4'))).toEqual({ key: 'a/b.mp4', stem: '/out/a/b.mp4', path: 'a/b.mp4' });
    expect(layout.namesOf(file('/other/b.mp4')).stem).toBe('/out/other/b.mp4');
    expect(layout.namesOf(file('/lib/b.mp4', 'named/x')).stem).toBe('/out/named/x');
    expect(() => layout.namesOf(file('/lib/b.mp4', '../x'))).toThrow('not inside');
    expect([layout.sidecar('/out/b.mp4', 'vtt'), layout.sidecar('/out/b.mp4', 'xmp')]).toEqual([
      '/out/b.vtt',
      '/out/b.mp4.xmp',
    ]);
    const signed = layout.namesOf(url('https://user@example.org/a%20b/../x.mp4?sig=secret'));
    expect(signed.path).toBe('https://example.org/x.mp4');
    expect(signed.stem).toMatch(/^\/out\/example\.org\/x\.mp4-[0-9a-f]{8}$/);
    expect(layout.namesOf(url('https://example.org/x.mp4')).key).toBe('example.org/x.mp4');
  });
});
