// `avocado serve` as people run it: a process with an engine process, started and stopped by signals.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { BUILT_CLI } from '../fixtures/built-cli.ts';
import { examplePath, WIDE } from '../fixtures/examples.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { form, parseEvents } from '../fixtures/served-app.ts';
import { processesWith, spawnCli } from '../fixtures/spawned-cli.ts';
import { spawnServer, type SpawnedServer } from '../fixtures/spawned-server.ts';

const CLIP = examplePath(WIDE);
const KEY = 'the-secret-key-of-anna';
const scratch = scratchDirectory();
const START_MS = 120_000;

let server: SpawnedServer | undefined;
let directories = 0;

function temporary(): string {
  directories += 1;
  return scratch(`run-${directories}`);
}

async function start(
  args: readonly string[],
  directory = temporary(),
  environment: NodeJS.ProcessEnv = {},
): Promise<SpawnedServer> {
  server = await spawnServer(args, directory, environment);
  return server;
}

afterEach(async () => {
  server?.kill('SIGKILL');
  await server?.ended;
  server = undefined;
});

function upload(fields: Record<string, string> = {}): FormData {
  return form(readFileSync(CLIP), fields, 'my-holiday-film.mp4');
}

function post(
  url: string,
  fields: Record<string, string> = {},
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(`${url}/v1/captions`, { method: 'POST', body: upload(fields), headers });
}

interface Line {
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

function logLines(text: string): Line[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Line);
}

describe('avocado serve', () => {
  it(
    'leaves no temporary files when it is stopped while it starts',
    async () => {
      const directory = temporary();
      mkdirSync(directory);
      const env = { ...process.env, TMPDIR: directory };
      const child = spawn(process.execPath, [BUILT_CLI, 'serve', '--port', '0'], { env, stdio: 'ignore' });
      const ended = once(child, 'close');
      while (readdirSync(directory).length === 0) await sleep(1);
      child.kill('SIGTERM');
      const [code] = (await ended) as [number | null];
      expect([code === 0 || code === 143, readdirSync(directory)]).toEqual([true, []]);
    },
    START_MS,
  );

  it(
    'prints a curl line that works as printed, warns of other machines, and ends what a stop does not wait for once',
    async () => {
      const { url, stdout, stderr, kill, ended } = await start([
        ...['--host', '0.0.0.0', '--drain-seconds', '0', '--slots', '1'],
      ]);
      expect(stderr()).toMatch(/^warning: 0\.0\.0\.0 can be reached from other machines.*--api-keys FILE\.$/m);
      const line = /try\s+(curl .+)$/m.exec(stdout())?.[1] ?? '';
      expect(line).toContain('http://127.0.0.1:');
      const answer = await promisify(execFile)('sh', ['-c', line]);
      expect((JSON.parse(answer.stdout) as { caption: string }).caption.length).toBeGreaterThan(20);

      const streams = await Promise.all([1, 2, 3, 4].map(() => post(url, { stream: 'true' })));
      const texts = Promise.all(streams.map((stream) => stream.text()));
      kill('SIGTERM');
      for (const text of await texts) {
        const endings = parseEvents(text).events.filter(({ event }) => event.startsWith('caption-'));
        expect(endings).toHaveLength(1);
      }
      expect(await ended).toBe(0);
    },
    START_MS,
  );

  it(
    'logs a line a request with its key’s name and numbers, and never a file, a word, a caption or a key',
    async () => {
      const { url, stderr } = await start(['--log-level', 'info'], temporary(), { AVOCADO_API_KEYS: `anna:${KEY}` });
      const headers = { authorization: `Bearer ${KEY}`, 'x-request-id': 'my-own-request' };
      const { caption } = (await (await post(url, { prompt: 'What about Müller?' }, headers)).json()) as {
        caption: string;
      };
      expect(caption.length).toBeGreaterThan(0);
      await (await post(url, { fps: '-1' }, headers)).text();
      await (
        await fetch(`${url}/v1/captions`, {
          method: 'POST',
          body: form('no film at all', {}, 'my-holiday-film.mp4'),
          headers,
        })
      ).text();
      await (
        await fetch(`${url}/v1/captions`, {
          method: 'POST',
          headers: { ...headers, 'content-type': 'application/json' },
          body: JSON.stringify({ media: 'media://films/my-holiday-film.mp4' }),
        })
      ).text();
      await fetch(`${url}/my-holiday-film`, { headers: { authorization: 'Bearer someone-elses-secret' } });
      await vi.waitFor(() => {
        expect(logLines(stderr()).filter(({ msg }) => msg === 'request')).toHaveLength(5);
      });
      const [line, ...others] = logLines(stderr()).filter(({ msg }) => msg === 'request');
      expect(line).toMatchObject({
        reqId: 'my-own-request',
        method: 'POST',
        route: '/v1/captions',
        status: 200,
        key: 'anna',
        outcome: 'ok',
        class: 'interactive',
        source: 'upload',
        media: 'video',
      });
      expect(line!['stages']).toMatchObject({
        decode: expect.any(Number) as number,
        generate: expect.any(Number) as number,
        queue: expect.any(Number) as number,
      });
      expect(line!['prompt_tokens']).toBeGreaterThan(100);
      expect(line!['generated_tokens']).toBeGreaterThan(10);
      expect(others.map(({ status, code }) => [status, code])).toEqual([
        [400, 'bad_request'],
        [415, 'media_unsupported'],
        [403, 'media_forbidden_path'],
        [401, undefined],
      ]);
      for (const secret of ['my-holiday-film', 'Müller', caption.slice(0, 20), KEY, 'someone-elses-secret', CLIP])
        expect(stderr()).not.toContain(secret);
    },
    START_MS,
  );
});

describe('a stop', () => {
  it(
    'lets a caption that streams end, refuses new ones, logs what it may, leaves nothing and exits with 0',
    async () => {
      const directory = temporary();
      const args = ['--drain-seconds', '60', '--log-level', 'info', '--log-content'];
      const { url, kill, ended, stderr } = await start(args, directory, { AVOCADO_API_KEYS: `anna:${KEY}` });
      const stream = await post(url, { stream: 'true', prompt: 'Who?' }, { authorization: `Bearer ${KEY}` });
      const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader();
      let text = (await reader.read()).value ?? '';
      kill('SIGTERM');
      const seen: number[] = [];
      const watching = vi.waitFor(
        async () => {
          seen.push((await fetch(`${url}/readyz`).catch(() => ({ status: 0 }))).status);
          expect([503, 0]).toContain(seen.at(-1));
        },
        { timeout: 10_000 },
      );
      try {
        for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value;
      } catch (error) {
        throw new Error(`The stream broke; the server ended with ${await ended}: ${text}${stderr()}`, { cause: error });
      }
      await watching;
      const { events } = parseEvents(text);
      expect(events.filter(({ event }) => event.startsWith('caption-')).map(({ event }) => event)).toEqual([
        'caption-end',
      ]);
      expect(await ended).toBe(0);
      // With --log-content the log also tells files, prompts and captions, still no keys.
      const caption = events.at(-1)?.data['caption'];
      expect(logLines(stderr()).find(({ msg, file }) => msg === 'request' && file !== undefined)).toMatchObject({
        file: 'my-holiday-film.mp4',
        prompt: 'Who?',
        caption,
      });
      expect(stderr()).not.toContain(KEY);
      expect(readdirSync(directory)).toEqual([]);
      expect(await processesWith(`TMPDIR=${directory}\0`)).toEqual([]);
    },
    START_MS,
  );

  it(
    'asked for twice does not wait',
    async () => {
      // A host that never answers keeps the request alive for as long as the server waits.
      const silent = createServer(() => undefined);
      await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
      const address = silent.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      const { url, kill, ended } = await start([
        '--drain-seconds',
        '100',
        '--url-host',
        `127.0.0.1:${port}`,
        '--allow-cidr',
        '127.0.0.0/8',
      ]);
      const asked = new Promise((resolve) => silent.once('request', resolve));
      const request = fetch(`${url}/v1/captions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ media: `http://127.0.0.1:${port}/a.mp4` }),
      }).catch(() => undefined);
      await asked;
      kill('SIGTERM');
      await vi.waitFor(async () => {
        expect((await fetch(`${url}/readyz`)).status).toBe(503);
      });
      kill('SIGTERM');
      expect(await ended).toBe(1);
      await request;
      silent.closeAllConnections();
      silent.close();
    },
    START_MS,
  );
});

describe('a start that cannot be', () => {
  it(
    'of a model that is not there exits with its error’s code',
    async () => {
      const { code, stdout, stderr, leftProcesses } = await spawnCli(
        ['serve', '--port', '0', '--model', scratch('nothing-here')],
        temporary(),
      );
      expect([code, stdout]).toEqual([4, '']);
      expect(stderr).toContain('error [checkpoint_not_found]');
      expect(leftProcesses).toEqual([]);
    },
    START_MS,
  );

  it(
    'of flags that are wrong tells all of them at once, before a model is loaded',
    async () => {
      const { code, stderr } = await spawnCli(
        ['serve', '--media-root', 'x', '--url-host', 'a/b', '--allow-cidr', '1.2.3', '--api-keys', scratch('no-file')],
        temporary(),
      );
      expect(code).toBe(2);
      for (const flag of ['--media-root x', '--url-host a/b', '--allow-cidr 1.2.3', '--api-keys'])
        expect(stderr).toContain(flag);
      expect(stderr).not.toContain('Loading');
    },
    START_MS,
  );

  it(
    'on a port in use says so and leaves no engine behind',
    async () => {
      const other = createServer();
      await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
      const address = other.address();
      const { code, stderr, leftProcesses } = await spawnCli(
        ['serve', '--port', String(typeof address === 'object' ? address?.port : 0)],
        temporary(),
      );
      expect(code).toBe(2);
      expect(stderr).toMatch(/error \[bad_request\]: Port \d+ of 127\.0\.0\.1 is in use/);
      expect(leftProcesses).toEqual([]);
      other.close();
    },
    START_MS,
  );
});
