import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, vi } from 'vitest';
import { fakeCaptioner, type FakeCaptioner } from '../../fixtures/fake-captioner.ts';
import { fakeJudge } from '../../fixtures/fake-judge.ts';
import { runCli } from '../../fixtures/cli-run.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

// Any file that exists: the fake captioner does not look inside.
const scratch = scratchDirectory();
const HERE = fileURLToPath(import.meta.url);
const CAPTION = 'A red ball rolls.\nMüße 🎈';

describe('avocado caption', () => {
  it('captions standard input by its name, and deletes what it stored of it', async () => {
    let seen: string | undefined;
    const environment = { stdin: () => Readable.from([Buffer.from('a clip')]) };
    const captioner = fakeCaptioner({
      warning: (path) => {
        seen = path;
        return `${path} is ${readFileSync(path, 'utf8')}`;
      },
    });
    const { exitCode, stdout, stderr } = await runCli(['caption', '-'], { captioner, environment });
    expect([exitCode, stdout, stderr]).toEqual([0, `${CAPTION}\n`, 'warning: standard input is a clip\n']);
    expect(existsSync(seen!)).toBe(false);
  });

  it('tells an address it may not fetch its error, and goes on', async () => {
    const files = ['http://127.0.0.1:9/a.mp4', HERE];
    const { exitCode, stdout } = await runCli(['caption', '--json', ...files], { captioner: fakeCaptioner() });
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { file: string; error?: { code: string } });
    expect(lines.map(({ file, error }) => [file, error?.code])).toEqual([
      [files[0], 'media_forbidden_host'],
      [HERE, undefined],
    ]);
    expect(exitCode).not.toBe(0);
  });

  it('prints the caption alone on stdout and nothing on a stderr that is no terminal', async () => {
    const captioner = fakeCaptioner();
    const { exitCode, stdout, stderr } = await runCli(['caption', HERE], { captioner });
    expect([exitCode, stdout, stderr]).toEqual([0, `${CAPTION}\n`, '']);
    expect(captioner.closed).toBe(true);
  });

  it('shows stages and a summary on a terminal, and clears the line before words', async () => {
    const { stdout, stderr } = await runCli(['caption', HERE], { captioner: fakeCaptioner(), terminal: true });
    expect(stdout).toBe(`${CAPTION}\n`);
    expect(stderr).toContain('probe …');
    expect(stderr).toContain('8 frames of 84x56 seen, 4.0 s heard; 150 tokens in, 6 out (stop)');
  });

  it('writes plain lines for a log with --verbose', async () => {
    const { stderr } = await runCli(['caption', '--verbose', HERE], { captioner: fakeCaptioner() });
    expect(stderr.split('\n')[0]).toBe('probe');
    expect(stderr).not.toContain('\u001b');
  });

  it('tells warnings on stderr always', async () => {
    const { stderr } = await runCli(['caption', HERE], {
      captioner: fakeCaptioner({ warning: () => 'The file ends early.' }),
    });
    expect(stderr).toBe('warning: The file ends early.\n');
  });

  it.each([
    ['text', `[00:00:00.000 – 00:00:30.500]\nA <ball>.\n\n[00:00:30.500 – 00:01:01.000]\nA <ball>.\n`],
    [
      'vtt',
      `WEBVTT\n\n1\n00:00:00.000 --> 00:00:30.500\nA &lt;ball&gt;.\n\n2\n00:00:30.500 --> 00:01:01.000\nA &lt;ball&gt;.\n`,
    ],
    ['srt', `1\n00:00:00,000 --> 00:00:30,500\nA <ball>.\n\n2\n00:00:30,500 --> 00:01:01,000\nA <ball>.\n`],
    ['md', `# ${HERE}\n\n## 00:00:00.000 – 00:00:30.500\n\nA <ball>.\n\n## 00:00:30.500 – 00:01:01.000\n\nA <ball>.\n`],
  ])('writes segments with --format %s', async (format, text) => {
    const segments = [
      { start: 0, end: 30.5 },
      { start: 30.5, end: 61 },
    ];
    const captioner = fakeCaptioner({ segments, words: ['A ', '<ball>.'] });
    const { exitCode, stdout } = await runCli(['caption', '--segments', '30', '--format', format, HERE], { captioner });
    expect([exitCode, stdout]).toEqual([0, text]);
    expect(captioner.seen.map(({ request }) => request.segments)).toEqual([{ when: 'always', targetSeconds: 30 }]);
  });

  it('writes a caption in one piece as one cue from its start to its end', async () => {
    const { stdout } = await runCli(['caption', '--format', 'srt', HERE], { captioner: fakeCaptioner() });
    expect(stdout).toBe('1\n00:00:00,000 --> 00:00:04,000\nA red ball rolls.\nMüße 🎈\n');
  });

  it('prints one JSON object with --json, with token ids only when asked', async () => {
    const plain = await runCli(['caption', '--json', HERE], { captioner: fakeCaptioner(), terminal: true });
    const body = JSON.parse(plain.stdout) as Record<string, unknown>;
    expect(body).toMatchObject({
      file: HERE,
      caption: CAPTION,
      finish_reason: 'stop',
      model: 'fake-nano',
      profile: 'nano@1',
      media: { duration_seconds: 4 },
    });
    expect(Object.keys(body)).toEqual([
      'file',
      'caption',
      'finish_reason',
      'usage',
      'media',
      'profile',
      'timings',
      'model',
    ]);
    const full = await runCli(['caption', '--json', '--token-ids', HERE], { captioner: fakeCaptioner() });
    expect(JSON.parse(full.stdout)).toMatchObject({
      token_ids: [0, 1, 2, 3, 4, 151645],
      token_logprobs: [-0.5, -0.5, -0.5, -0.5, -0.5, -0.125],
    });
  });

  it('prints several captions each under its number, once they are done', async () => {
    const text = await runCli(['caption', '--n', '2', HERE], { captioner: fakeCaptioner(), terminal: true });
    expect(text.stdout).toBe(`-- 1 of 2 --\n${CAPTION}\n-- 2 of 2 --\n${CAPTION}\n`);
    expect(text.stderr).toContain('150 tokens in, 12 out (stop, stop)');
    const json = await runCli(['caption', '--n', '2', '--json', HERE], { captioner: fakeCaptioner() });
    const told = { caption: CAPTION, finish_reason: 'stop' };
    expect(JSON.parse(json.stdout)).toMatchObject({
      ...told,
      captions: [
        { index: 0, ...told },
        { index: 1, ...told },
      ],
    });
  });

  it('tells tokens with alternatives in JSON with --logprobs', async () => {
    const { stdout } = await runCli(['caption', '--logprobs', '2', '--json', HERE], { captioner: fakeCaptioner() });
    const { logprobs } = JSON.parse(stdout) as { logprobs: unknown[] };
    expect(logprobs).toHaveLength(6);
    expect(logprobs[1]).toEqual({
      token: 'red ',
      logprob: -0.5,
      bytes: [114, 101, 100, 32],
      top_logprobs: [
        { token: 'red ', logprob: -0.5, bytes: [114, 101, 100, 32] },
        { token: 'red ', logprob: -1.5, bytes: [114, 101, 100, 32] },
      ],
    });
  });

  it('tries all files; the first failure gives the exit code', async () => {
    const other = fileURLToPath(new URL('./program.test.ts', import.meta.url));
    const captioner = fakeCaptioner(({ path }) =>
      path === HERE ? { error: { code: 'media_undecodable', message: (name) => `${name} is broken.` } } : {},
    );
    const text = await runCli(['caption', HERE, other], { captioner });
    expect([text.exitCode, text.stdout, text.stderr]).toEqual([
      3,
      `== ${HERE} ==\n== ${other} ==\n${CAPTION}\n`,
      `error [media_undecodable]: ${HERE} is broken.\n`,
    ]);
    const json = await runCli(['caption', '--json', HERE, other], { captioner });
    const lines = json.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines[0]).toEqual({
      file: HERE,
      error: { code: 'media_undecodable', message: `${HERE} is broken.`, param: null },
    });
    expect(lines[1]).toMatchObject({ file: other, caption: CAPTION });
    expect(captioner.closed).toBe(true);
  });

  it('loads no model when no file exists', async () => {
    const { exitCode, stdout, stderr, opened } = await runCli(['caption', '/none/a.mp4', '--json']);
    expect([exitCode, stderr, opened]).toEqual([
      3,
      'error [media_not_found]: There is no file /none/a.mp4. Check the path.\n',
      [],
    ]);
    expect(JSON.parse(stdout)).toMatchObject({ file: '/none/a.mp4', error: { code: 'media_not_found' } });
  });

  it('ends with 130 and closes the model when it is interrupted between words', async () => {
    const controller = new AbortController();
    const captioner = fakeCaptioner({ words: ['a ', 'b ', 'c '], wordDelayMs: 50 });
    void vi
      .waitFor(() => {
        expect(captioner.seen).toHaveLength(1);
      })
      .then(() =>
        setTimeout(() => {
          controller.abort();
        }, 80),
      );
    const { exitCode, stdout, stderr } = await runCli(['caption', HERE, HERE], {
      captioner,
      signal: controller.signal,
    });
    expect([exitCode, captioner.endings, captioner.closed]).toEqual([130, ['caption-aborted'], true]);
    expect(stdout).toMatch(/^== .* ==\na (b )?\n$/);
    expect(stderr).toBe('error [aborted]: Interrupted: nothing was kept.\n');
  });

  it('does not wait for a model that is still loading when it is interrupted, and closes it when it comes', async () => {
    const captioner = fakeCaptioner();
    const controller = new AbortController();
    let load: (value: typeof captioner) => void = () => undefined;
    const loading = new Promise<typeof captioner>((resolve) => {
      load = resolve;
    });
    setTimeout(() => {
      controller.abort();
    }, 20);
    const { exitCode } = await runCli(['caption', HERE], {
      signal: controller.signal,
      environment: { openCaptioner: () => loading },
    });
    expect([exitCode, captioner.closed]).toEqual([130, false]);
    load(captioner);
    await new Promise((resolve) => setImmediate(resolve));
    expect(captioner.closed).toBe(true);
  });
});

describe('merging', () => {
  const segments = [
    { start: 0, end: 30 },
    { start: 30, end: 61 },
  ];
  const film = (): FakeCaptioner => fakeCaptioner({ segments, words: ['A ball.'] });

  it('prints one text when it is whole, and leaves subtitles those of the segments', async () => {
    const judge = await fakeJudge(({ text }) =>
      text.includes('Find those') ? '[]' : '[{"from": 1, "to": 2, "text": "A ball, all the time."}]',
    );
    const args = ['caption', '--segments', '30', '--merge-url', `${judge.url}/`, '--merge-model', 'm', HERE];
    const text = await runCli(args, { captioner: film() });
    const json = await runCli([...args, '--json'], { captioner: film() });
    const vtt = await runCli([...args, '--format', 'vtt'], { captioner: film() });
    await judge.close();
    const caption = '[00:00:00.000 – 00:01:01.000]\nA ball, all the time.';
    expect([text.exitCode, text.stdout]).toEqual([0, `${caption}\n`]);
    expect(JSON.parse(json.stdout)).toMatchObject({ caption, merge: { status: 'merged', model: 'judge-2026' } });
    expect(vtt.stdout).toContain('00:00:30.000 --> 00:01:01.000\nA ball.');
    expect(judge.asked).toHaveLength(4);
  });

  it('prints the timeline and a summary where the text model is gone', async () => {
    const judge = await fakeJudge(() => ({ status: 401, body: 'no' }));
    const args = ['caption', '--segments', '30', '--merge-url', judge.url, '--merge-model', 'm', '--json', HERE];
    const { exitCode, stdout } = await runCli(args, { captioner: film() });
    await judge.close();
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      caption: '[00:00:00.000 – 00:00:30.000]\nA ball.\n\n[00:00:30.000 – 00:01:01.000]\nA ball.',
      merge: { status: 'failed', reason: 'The text model answers 401: no' },
    });
  });

  it.each([
    [['--merge-url', 'http://127.0.0.1:9/v1'], 'needs --merge-model'],
    [['--merge-model', 'm'], '--merge-model needs --merge-url'],
    [['--merge-url', 'localhost'], '--merge-url must be the base URL'],
    [['--merge'], '--merge needs --segments'],
    [['--merge', '--segments', '30'], 'the operator names one with --merge-url'],
    [['--json', '--format', 'vtt'], '--json and --format vtt exclude each other'],
    [['--format', 'vtt', HERE], 'name one file'],
    [['--format', 'srt', '--n', '2', '--temperature', '1'], 'leave out --n'],
  ])('%j is refused with what to do', async (flags, words) => {
    const { exitCode, stderr } = await runCli(['caption', HERE, ...flags], { captioner: film() });
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining(words) as string]);
  });
});

describe('flags of caption', () => {
  it('all reach the request and the model', async () => {
    const captioner = fakeCaptioner();
    const flags =
      '--no-audio --prompt-id 3 --system S --max-tokens 9 --temperature 0.5 --top-p 0.9 --top-k 40 --seed 1 --repetition-penalty 1.1 --presence-penalty -1 --frequency-penalty 0.5 --repetition-guard --n 2 --logprobs 3 --stop x --stop y --min-tokens 2 --ignore-eos --stop-token-ids 7 --stop-token-ids 8,9 --min-p 0.1 --profile paper' +
      ' --fps 1 --nframes 2 --min-frames 3 --max-frames 4 --min-pixels 5 --max-pixels 6 --total-pixels 7 --processor-min-pixels 8 --processor-max-pixels 9 --processor-fps 1.5' +
      ' --start 1 --end 90 --model M --precision int4 --device cuda:2 --runtime node --threads 3 --context 100 --cache-dir C';
    const { opened, exitCode } = await runCli(['caption', HERE, ...flags.split(' ')], { captioner });
    expect(exitCode).toBe(0);
    expect(captioner.seen[0]!.request).toEqual({
      path: HERE,
      prompt: undefined,
      promptId: 3,
      systemPrompt: 'S',
      useAudio: false,
      profileName: 'paper',
      profile: {
        fps: 1,
        nframes: 2,
        minFrames: 3,
        maxFrames: 4,
        minPixels: 5,
        maxPixels: 6,
        totalPixels: 7,
        processorMinPixels: 8,
        processorMaxPixels: 9,
        processorFps: 1.5,
      },
      maxTokens: 9,
      minTokens: 2,
      ignoreEos: true,
      stopTokenIds: [7, 8, 9],
      stop: ['x', 'y'],
      sampling: {
        temperature: 0.5,
        topP: 0.9,
        topK: 40,
        minP: 0.1,
        repetitionPenalty: 1.1,
        presencePenalty: -1,
        frequencyPenalty: 0.5,
        seed: 1,
      },
      priority: 'interactive',
      samples: 2,
      topLogprobs: 3,
      carry: false,
      part: { rule: 'time', start: 1, end: 90 },
      repetitionGuard: true,
    });
    expect(opened[0]).toMatchObject({
      modelDir: 'M',
      precision: 'int4',
      device: [{ type: 'cuda', index: 2 }],
      runtime: 'node',
      threads: 3,
      context: 100,
      cacheDir: 'C',
      slots: 1,
    });
  });

  it('come before variables, and both before the file of --config', async () => {
    writeFileSync(scratch('settings.json'), JSON.stringify({ threads: 1, context: 64, runtime: 'node', port: 80 }));
    const flags = `--threads 3 --max-media-seconds 20000 --no-spinning --config ${scratch('settings.json')}`;
    const { opened, exitCode } = await runCli(['caption', HERE, ...flags.split(' ')], {
      captioner: fakeCaptioner(),
      variables: {
        AVOCADO_THREADS: '2',
        AVOCADO_CONTEXT: '100',
        AVOCADO_SPINNING: 'true',
        AVOCADO_SLOTS: '9',
        AVOCADO_DECODE_TIMEOUT: '70',
      },
    });
    expect(exitCode).toBe(0);
    expect(opened[0]).toMatchObject({ threads: 3, context: 100, runtime: 'node', spinning: false, slots: 1 });
    expect(opened[0]).toMatchObject({ maxMediaSeconds: 20_000, decodeTimeoutSeconds: 70 });
  });

  it('have defaults: the bundled model, CPU, everything else the model’s own choice', async () => {
    const { opened } = await runCli(['caption', HERE], { captioner: fakeCaptioner() });
    expect(opened[0]).toMatchObject({
      precision: undefined,
      device: [{ type: 'cpu' }],
      runtime: undefined,
      threads: 0,
      context: 32_768,
      cacheDir: undefined,
    });
    expect(opened[0]!.modelDir).toMatch(/models\/avocado-nano$/);
  });

  it.each([
    [['--fps', 'abc'], '--fps', 'fps', 2],
    [['--fps', ''], '--fps', 'fps', 2],
    [['--fps', '0'], '--fps', 'fps', 2],
    [['--fps', 'Infinity'], '--fps', 'fps', 2],
    [['--stop-token-ids', '7,x'], '--stop-token-ids', 'stop_token_ids', 2],
    [['--processor-min-pixels', '1e15'], '--processor-min-pixels', 'processor_min_pixels', 2],
    [['--top-p', '1.5'], '--top-p', 'top_p', 2],
    [['--nframes', '2.5'], '--nframes', 'nframes', 2],
    [['--processor-max-pixels', '-1'], '--processor-max-pixels', 'processor_max_pixels', 2],
    [['--prompt-id', '1001'], '--prompt-id', 'prompt_id', 2],
    [['--prompt', 'x', '--prompt-id', '1'], '--prompt-id', 'prompt_id', 2],
    [['--prompt', ''], '--prompt', 'prompt', 2],
    [['--threads', '-1'], '--threads', 'threads', 2],
    [['--context', '10'], '--context', 'context', 2],
    [['--device', 'tpu'], '--device', 'device', 2],
    [['--runtime', 'wasm'], '--runtime', 'runtime', 2],
    [['--precision', 'int3'], '--precision', 'precision', 4],
    [['--bogus'], '--bogus', 'bogus', 2],
    [['--seed'], '--seed', 'seed', 2],
  ])('%j is refused by name before a model is loaded', async (flags, name, param, code) => {
    const { exitCode, stdout, stderr, opened } = await runCli(['caption', HERE, '--json', ...flags]);
    expect([exitCode, opened]).toEqual([code, []]);
    expect(stderr).toMatch(/^error \[[a-z_]+\]: .*\n$/);
    expect(stderr).toContain(name);
    expect(JSON.parse(stdout)).toMatchObject({ error: { param } });
  });
});
