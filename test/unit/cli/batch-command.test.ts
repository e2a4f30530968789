import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { fakeCaptioner, type FakeCaptioner, type FakeOptions } from '../../fixtures/fake-captioner.ts';
import { FakeServer } from '../../fixtures/fake-server.ts';
import { runCli, type CliParts } from '../../fixtures/cli-run.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();
let libraries = 0;

function libraryOf(...names: readonly string[]): string {
  const directory = scratch(`lib${libraries++}`);
  mkdirSync(directory);
  for (const name of names) writeFileSync(join(directory, name), name);
  return directory;
}

/** A model directory of one small file. */
function modelDirectory(): string {
  const directory = scratch('model');
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'config.json'), '{}');
  return directory;
}

async function batch(args: readonly string[], parts: CliParts = {}) {
  const captioner = parts.captioner ?? fakeCaptioner();
  const environment = {
    ...parts.environment,
    describeModel: async () => ({ ...captioner.model, directory: modelDirectory() }),
  };
  return await runCli(['batch', ...args], { ...parts, captioner, environment });
}

describe('avocado batch', () => {
  it('captions a directory with batch priority and a slot of its own for each, and reports as text and as JSON', async () => {
    const library = libraryOf('a.mp4', 'b.mov', 'c.txt');
    const captioner = fakeCaptioner();
    const { exitCode, stdout, stderr, opened } = await batch([library, '--max-tokens', '9'], { captioner });
    expect(stdout).toContain('2 listed\n  2 captioned\n');
    expect(stderr).toContain('2 entries\n  2 caption: new\n');
    expect([
      exitCode,
      opened.map(({ slots, prefixSlots, mediaCacheBytes }) => [slots, prefixSlots, mediaCacheBytes]),
    ]).toEqual([0, [[4, 0, 0]]]);
    expect(captioner.seen.map(({ request }) => [request.priority, request.maxTokens])).toEqual(
      Array(2).fill(['batch', 9]),
    );
    expect(captioner.closed).toBe(true);
    expect(existsSync(join(library, 'a.mp4.json'))).toBe(true);
    const again = await batch([library, '--max-tokens', '9', '--json']);
    expect(JSON.parse(again.stdout)).toMatchObject({ listed: 2, outcomes: { unchanged: 2, captioned: 0 } });
    expect(again.opened).toEqual([]);
  });

  it('takes lists from standard input and manifests, with prompts of their own', async () => {
    const library = libraryOf('a.mp4', "b'\n.bin", 'm.csv');
    writeFileSync(join(library, 'm.csv'), 'path,prompt,take\na.mp4,Who?,7\n');
    const captioner = fakeCaptioner();
    const stdin = () => Readable.from([Buffer.from(`${library}/b'\n.bin\0`)]);
    const out = scratch('listed');
    const args = ['--null', '-', '--out', out, '--root', library, '--format', 'none'];
    const address = 'http://127.0.0.1:9/a.mp4?sig=secret';
    const listed = await batch([...args, address], { captioner, environment: { stdin } });
    expect([listed.exitCode, listed.stdout]).toEqual([3, expect.stringContaining('media_forbidden_host 1')]);
    expect(readFileSync(join(out, '.avocado', 'failures.jsonl'), 'utf8')).toMatch(/"path":"http:..127.0.0.1:9.a.mp4"/);
    expect((await batch([join(library, 'm.csv'), '--out', out, '--root', library], { captioner })).exitCode).toBe(0);
    expect(captioner.seen.map(({ request }) => request.prompt)).toEqual([undefined, 'Who?']);
    const lines = readFileSync(join(out, 'captions.jsonl'), 'utf8').trim().split('\n');
    expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
      { path: "b'\n.bin" },
      { path: 'a.mp4', fields: { take: '7' } },
    ]);
  });

  it('plans without doing, refuses to mix, and goes on as it is told', async () => {
    const library = libraryOf('a.mp4', 'b.mp4');
    const plan = await batch([library, '--plan', '--json']);
    const entries = plan.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { path?: string; plan?: object });
    expect(entries.map(({ path }) => path).sort()).toEqual(['a.mp4', 'b.mp4', undefined]);
    expect(entries.at(-1)).toMatchObject({ plan: { listed: 2, to_caption: 2, actions: { caption: { new: 2 } } } });
    expect([plan.opened, readdirSync(library).sort()]).toEqual([[], ['a.mp4', 'b.mp4']]);
    const out = scratch('planned');
    const stdin = () => Readable.from([Buffer.from(join(library, 'a.mp4'))]);
    const planned = await batch(['-', '--out', out, '--plan'], { environment: { stdin } });
    expect([planned.exitCode, planned.stdout, existsSync(out)]).toEqual([
      0,
      expect.stringContaining('1 caption'),
      false,
    ]);
    await batch([library]);
    expect((await batch([library, '--plan'])).stdout).toContain('2 skip: done');
    const other = [library, '--prompt', 'Why?'];
    const refused = await batch(other);
    expect([refused.exitCode, refused.opened]).toEqual([2, []]);
    expect(refused.stderr).toContain('2 items have captions of other settings (another prompt). Give --redo');
    expect((await batch([...other, '--keep'])).stdout).toContain('2 captioned with other settings, kept');
    expect((await batch([...other, '--redo'])).stdout).toContain('2 captioned\n');
    rmSync(join(library, '.avocado'), { recursive: true });
    expect((await batch([library, '--plan'])).stdout).toContain('2 look: the file was touched');
    expect(existsSync(join(library, '.avocado'))).toBe(false);
  });

  it('has a server make the captions, without a model here', async () => {
    const server = new FakeServer();
    const keys = new Set<string | null>();
    server.interfere = (_method, _path, headers) => {
      keys.add(headers.get('authorization'));
      return undefined;
    };
    vi.stubGlobal('fetch', server.fetch);
    try {
      const library = libraryOf('a.mp4');
      server.shared.set('media://m/a.mp4', 'a.mp4');
      const flags = ['--server', 'http://server/v1/', '--api-key', 'k', '--media-root', `m=${library}`, '--json'];
      const { exitCode, stdout, opened } = await batch([library, ...flags, '--segments', 'auto']);
      expect(JSON.parse(stdout)).toMatchObject({ outcomes: { captioned: 1 } });
      expect([exitCode, opened, [...keys], server.jobs.size]).toEqual([0, [], ['Bearer k'], 0]);
      expect(server.captioned).toMatchObject([{ media: 'media://m/a.mp4', segments: 'auto' }]);
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it('says on any stderr, and once, that nothing answers and until when it is tried', async () => {
    const server = new FakeServer();
    let calls = 0;
    server.interfere = () => {
      if (calls++ < 2) throw new TypeError('fetch failed');
      return undefined;
    };
    vi.stubGlobal('fetch', server.fetch);
    try {
      const { exitCode, stderr } = await batch([libraryOf('a.mp4'), '--server', 'http://server']);
      expect(exitCode).toBe(0);
      const told = stderr.split('\n').filter((line) => line.includes('http://server'));
      expect(told).toEqual([
        expect.stringMatching(/^Nothing answers at http:\/\/server\. .* asked again until \d\d:\d\d:\d\d\.$/),
      ]);
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it('writes several captions of a file into JSON, and refuses them for an entry with subtitles', async () => {
    const library = libraryOf('a.mp4');
    const { exitCode } = await batch([library, '--n', '3']);
    expect(exitCode).toBe(0);
    const { captions } = JSON.parse(readFileSync(join(library, 'a.mp4.json'), 'utf8')) as { captions: unknown[] };
    expect(captions).toHaveLength(3);
    const manifest = join(libraryOf('b.mp4'), 'm.jsonl');
    writeFileSync(manifest, '{"path": "b.mp4", "n": 2}');
    const refused = await batch([manifest, '--out', scratch('several'), '--format', 'srt']);
    expect([refused.exitCode, refused.stdout]).toEqual([2, expect.stringContaining('failures: bad_request 1')]);
    expect(refused.stdout).toContain(`each with its reason in ${scratch('several/.avocado/failures.jsonl')}`);
  });

  it.each([
    [[], 'Name a directory'],
    [['x', '--redo', '--keep'], 'exclude each other'],
    [['x', '--format', 'json,pdf'], '--format'],
    [['x', '--top-p', '2'], '--top-p'],
    [['x', '--prompt', 'a', '--prompt-id', '1'], 'exclude each other'],
    [['x', '--server', 'gpu:8080'], 'It must be the URL of a server'],
    [['x', '--server', 'http://gpu', '--media-root', 'films'], 'It must be NAME=DIR'],
    [['x', '--server', 'http://gpu', '--model', 'm'], '--model is a setting of a model here'],
    [['x', '--api-key', 'k'], '--api-key is of --server'],
    [['x', '--format', 'json,vtt', '--n', '3'], 'the format vtt has room for one caption, not for 3'],
    [['x', '--retry-failed', 'films'], 'There is no such error code'],
    [['x', '--extensions', ''], '--extensions'],
    [['x', '--judge', 'http://gpu/v1', '--judge-model', 'm'], '--judge needs --verify'],
  ])('refuses %j before a model is looked at', async (args, sentence) => {
    const { exitCode, stderr, opened } = await batch(args);
    expect([exitCode, opened]).toEqual([2, []]);
    expect(stderr).toContain(sentence);
  });

  it('ends with the code of what stopped it, whatever items failed before', async () => {
    const library = libraryOf('a.mp4', 'b.mp4');
    const undecodable = { code: 'media_undecodable', message: () => 'It is broken.' } as const;
    const full = Object.assign(new Error('full'), { code: 'ENOSPC' });
    const captionerWith = (others: FakeOptions): FakeCaptioner =>
      fakeCaptioner(({ path }) => (path.endsWith('a.mp4') ? { error: undecodable } : others));
    expect((await batch([library], { captioner: captionerWith({}) })).exitCode).toBe(3);
    writeFileSync(join(library, 'a.mp4'), 'another');
    writeFileSync(join(library, 'c.mp4'), 'c');
    const captioner = captionerWith({
      throws: full,
      after: async () => {
        await vi.waitFor(() => {
          expect(captioner.endings).toHaveLength(1);
        });
        await sleep(200); // until the failure is in the journal
      },
    });
    const { exitCode, stdout, stderr } = await batch([library, '--slots', '1'], { captioner });
    expect(stdout).toContain('media_undecodable 1');
    expect(stderr).toContain('error [storage_full]');
    expect(exitCode).toBe(5);
  });

  it('watches a directory until it is interrupted', async () => {
    const library = libraryOf('a.mp4');
    const interruption = new AbortController();
    const captioner = fakeCaptioner(() => {
      if (captioner.seen.length === 0) writeFileSync(join(library, 'b.mp4'), 'later');
      else
        setTimeout(() => {
          interruption.abort();
        }, 200);
      return {};
    });
    const args = [library, '--watch', '--settle', '0.02', '--format', 'none'];
    const { exitCode, stdout } = await batch(args, { captioner, signal: interruption.signal });
    expect(exitCode).toBe(130);
    expect(stdout.match(/1 captioned/g)).toHaveLength(2);
    const lines = readFileSync(join(library, 'captions.jsonl'), 'utf8').trim().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { path: string }).path)).toEqual(['a.mp4', 'b.mp4']);
  });
});
