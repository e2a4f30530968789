// A small library of every kind of file, with the bundled model, as a person runs it.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { fsPath, pathText } from '../../src/batch/path-text.ts';
import type { ResultLine } from '../../src/batch/types.ts';
import { jsonLines, put, variantOf } from '../fixtures/clip-library.ts';
import { examplePath } from '../fixtures/examples.ts';
import { makeClip } from '../fixtures/make-clip.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { spawnCli, type SpawnedCli } from '../fixtures/spawned-cli.ts';

const scratch = scratchDirectory();
const CLIP = readFileSync(examplePath('square-4s.mp4'));
const NOT_UTF8 = pathText(Buffer.concat([Buffer.from('caf'), Buffer.from([0xe9]), Buffer.from('.mp4')]));
const GOOD = [
  'plain.mp4',
  'sp ace \'q"uote.mp4',
  'new\nline.mp4',
  NOT_UTF8,
  `${'deep/'.repeat(200)}x.mp4`,
  '-dash.mp4',
];
const FORMATS = 'json,txt,md,vtt,srt,xmp';

interface Report {
  readonly listed: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly failures: Readonly<Record<string, number>>;
}

let library: string;
let runs = 0;

async function batch(...args: readonly string[]): Promise<SpawnedCli & { readonly report: Report }> {
  const ended = await spawnCli(['batch', library, '--max-tokens', '12', '--json', ...args], scratch(`tmp${runs++}`));
  return { ...ended, report: JSON.parse(ended.stdout) as Report };
}

const states = ({ report }: { readonly report: Report }): Record<string, number> =>
  Object.fromEntries(Object.entries(report.outcomes).filter(([, count]) => count > 0));

const lines = (): ResultLine[] => jsonLines<ResultLine>(join(library, 'captions.jsonl'));

let first: Awaited<ReturnType<typeof batch>>;
beforeAll(async () => {
  library = scratch('library');
  mkdirSync(library);
  for (const [n, name] of GOOD.entries()) await put(join(library, name), variantOf(CLIP, String(n)));
  await put(join(library, 'in', 'twin.mp4'), variantOf(CLIP, '0'));
  await makeClip(join(library, 'silent.mp4'), ['-f', 'lavfi', '-i', 'testsrc=size=64x48:rate=8:duration=1']);
  await put(join(library, 'cut.mp4'), CLIP.subarray(0, 2000));
  await put(join(library, 'text.mp4'), Buffer.from('This is no video.'));
  await put(join(library, 'empty.mp4'), Buffer.alloc(0));
  symlinkSync('/nowhere/x.mp4', join(library, 'gone.mp4'));
  execFileSync('mkfifo', [join(library, 'pipe.mp4')]);
  first = await batch('--format', FORMATS);
});

describe('avocado batch', () => {
  it('ends every entry in exactly one state, and leaves nothing behind', () => {
    expect(states(first)).toEqual({ captioned: 7, duplicate: 1, failed: 5 });
    expect(first.report.listed).toBe(13);
    expect(Object.keys(first.report.failures).sort()).toEqual(
      ['media_empty', 'media_not_a_file', 'media_not_found', 'media_undecodable', 'media_unsupported'].sort(),
    );
    expect([first.code, first.leftFiles, first.leftProcesses]).toEqual([3, [], []]);
    expect(
      lines()
        .map(({ path }) => path)
        .sort(),
    ).toEqual([...GOOD, 'in/twin.mp4', 'silent.mp4'].sort());
    const failed = jsonLines<{ path: string; message: string }>(join(library, '.avocado', 'failures.jsonl'));
    expect(failed.map(({ path }) => path).sort()).toEqual(
      ['cut', 'empty', 'gone', 'pipe', 'text'].map((n) => `${n}.mp4`),
    );
  });

  it('writes sidecars that other programs read', () => {
    const line = lines().find(({ path }) => path === 'plain.mp4')!;
    for (const format of ['vtt', 'srt']) {
      const path = join(library, `plain.mp4.${format}`);
      const options = ['-v', 'error', '-show_entries', 'packet=pts_time,duration_time', '-of', 'csv=p=0'];
      expect(execFileSync('ffprobe', [...options, path], { encoding: 'utf8' })).toMatch(/^0\.0+,4\.0\d+,?\s*$/);
      const text = execFileSync('ffmpeg', ['-v', 'error', '-i', path, '-f', 'srt', '-'], { encoding: 'utf8' });
      expect(text.replaceAll(/\s+/g, ' ')).toContain(line.caption.trim().replaceAll(/\s+/g, ' '));
    }
    const xmp = readFileSync(fsPath(join(library, `${NOT_UTF8}.xmp`)), 'utf8');
    expect(xmp).toContain('dc:description');
    const path = join(library, 'plain.mp4.xmp');
    const exiftool = spawnSync('exiftool', ['-s3', '-XMP-dc:Description', path], { encoding: 'utf8' });
    if (exiftool.error !== undefined) console.warn('XMP was not read by another program: there is no exiftool here.');
    else expect(exiftool.stdout.trim().replaceAll(/\s+/g, ' ')).toBe(line.caption.trim().replaceAll(/\s+/g, ' '));
  });

  it('does nothing the second time, and makes again what was deleted without the model', async () => {
    const before = readFileSync(join(library, 'captions.jsonl'));
    rmSync(join(library, 'plain.mp4.vtt'));
    const second = await batch('--format', FORMATS);
    expect(states(second)).toEqual({ unchanged: 7, written: 1, 'failed-before': 5 });
    expect(second.stderr).not.toContain('of work');
    expect(readFileSync(join(library, 'captions.jsonl'))).toEqual(before);
    expect(readFileSync(join(library, 'plain.mp4.vtt'), 'utf8')).toContain('-->');
  });

  it('says what another prompt would do', async () => {
    const planned = await spawnCli(
      ['batch', library, '--plan', '--prompt', 'Why?', '--max-tokens', '12'],
      scratch('plan'),
    );
    expect(planned.stdout).toContain('8 redo: another prompt');
  });
});
