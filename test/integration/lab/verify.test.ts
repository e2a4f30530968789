// --verify with avocado-nano: captions without sound, without pictures and by sampling, and a transcript over HTTP.
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { defaultModelDirectory } from '../../../src/base/package-files.ts';
import { captionRequest } from '../../../src/captioner/caption-options.ts';
import { captionEvents, type Captioner } from '../../../src/captioner/captioner.ts';
import { openCaptioner } from '../../../src/captioner/open-captioner.ts';
import { verifyCaption } from '../../../src/lab/verify/verify.ts';
import type { CaptionEnd, CaptionRequest } from '../../../src/output/events.ts';
import { runCli } from '../../fixtures/cli-run.ts';
import { jsonLines } from '../../fixtures/clip-library.ts';
import { examplePath } from '../../fixtures/examples.ts';
import { nanoSettings } from '../../fixtures/nano.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const CLIP = 'square-4s.mp4';
const scratch = scratchDirectory();
const { signal } = new AbortController();
let captioner: Captioner;
let server: Server;
/** what the transcriber hears; the first question is answered with 503 */
let transcript = '';
const posted: string[] = [];

beforeAll(async () => {
  captioner = await openCaptioner(nanoSettings({ slots: 4 }));
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request
      .on('data', (chunk: Buffer) => chunks.push(chunk))
      .on('end', () => {
        posted.push(Buffer.concat(chunks).toString('latin1'));
        const isFirst = posted.length === 1;
        if (request.url?.endsWith('/chat/completions') === true) response.writeHead(401).end('no such key');
        else if (isFirst) response.writeHead(503, { 'retry-after': '0' }).end('warming up');
        else response.end(JSON.stringify({ text: transcript }));
      });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  server.close();
  await captioner.close();
});

/** The one captioner of this file, which no command closes. */
function shared(): Captioner {
  return {
    model: captioner.model,
    submit: (request, options) => captioner.submit(request, options),
    estimate: (request, aborts) => captioner.estimate(request, aborts),
    status: () => captioner.status(),
    stats: () => captioner.stats(),
    close: async () => undefined,
  };
}

async function captioned(request: CaptionRequest): Promise<CaptionEnd> {
  for await (const event of captionEvents(captioner, request, signal)) if (event.type === 'caption-end') return event;
  throw new Error('There is no caption.');
}

const flaggedIn = ({ parts }: Awaited<ReturnType<typeof verifyCaption>>): unknown =>
  parts.flatMap(({ claims }) => claims.flatMap(({ text, reasons }) => (reasons.length === 0 ? [] : [[text, reasons]])));

it('finds the claims that were made false, and keeps the true ones', async () => {
  const request = captionRequest(examplePath(CLIP), {});
  const end = await captioned(request);
  const options = { samples: 3, temperature: 0.7, reader: undefined, transcribe: undefined };
  const honest = await verifyCaption(captioner, request, end, options, signal);
  expect(flaggedIn(honest)).toEqual([]);
  expect([honest.decidedBy.kind, honest.notes, honest.cleanedCaption]).toEqual(['world', [], end.caption]);
  const { recaptions } = honest.parts[0]!;
  expect([recaptions.samples.length, recaptions.muted === recaptions.blanked]).toEqual([3, false]);

  const lie = 'At last, the white star vanishes while a short melody is heard.';
  const told = { ...end, caption: `${end.caption} ${lie}` };
  const caught = await verifyCaption(captioner, request, told, options, signal);
  expect(flaggedIn(caught)).toEqual([
    ['the white star vanishes', ['not_repeated']],
    ['a short melody is heard', ['not_repeated']],
  ]);
  expect(caught.cleanedCaption).toBe(end.caption);
  // What survives muting is told of any clip.
  const heardAnyway = { ...end, caption: `At first, a man says "hello". ${recaptions.muted!}` };
  const muted = await verifyCaption(captioner, request, heardAnyway, { ...options, samples: 0 }, signal);
  expect(muted.parts[0]!.claims[0]).toMatchObject({ sense: 'speech', evidence: { muted: false } });

  const silent = captionRequest(examplePath(CLIP), { audio: false });
  const deaf = await verifyCaption(captioner, silent, { ...(await captioned(silent)), caption: lie }, options, signal);
  expect(flaggedIn(deaf)).toContainEqual(['a short melody is heard', ['no_sound', 'not_repeated']]);
});

it('checks the segments of a long file by themselves, and their lines against a transcript', async () => {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  transcript = 'buy this car';
  const flags = ['--segments', '5', '--verify', '--verify-samples', '1', '--json'];
  const asks = ['--transcriber', url, '--transcriber-model', 'ears'];
  const { stdout, exitCode } = await runCli(['caption', examplePath('dialogue-8s.mp4'), ...flags, ...asks], {
    captioner: shared(),
  });
  interface Part {
    readonly start: number;
    readonly claims: readonly { readonly sense: string; readonly reasons: readonly string[] }[];
    readonly transcript: { readonly text: string; readonly word_error_rate: number };
  }
  const answer = JSON.parse(stdout) as { segments: Part[]; verification: { parts: Part[]; cleaned_caption: string } };
  expect(exitCode).toBe(0);
  const { parts } = answer.verification;
  expect(parts.map(({ start }) => start)).toEqual(answer.segments.map(({ start }) => start));
  expect(parts.length).toBeGreaterThan(1);
  expect(parts.every(({ transcript: heard }) => heard.text === 'buy this car' && heard.word_error_rate > 0)).toBe(true);
  const lines = parts.flatMap(({ claims }) => claims).filter(({ sense }) => sense === 'speech');
  expect(lines.length).toBeGreaterThan(0);
  for (const { reasons } of lines) expect(reasons).toContain('not_in_transcript');
  expect(answer.verification.cleaned_caption).not.toContain(' says "');
  expect(posted.length).toBe(parts.length + 1);
  expect(posted[1]).toMatch(/RIFF[^]*name="model"\r\n\r\nears/);
});

it('is a part of a batch: verdicts in the results, cleaned captions in the sidecars, done once', async () => {
  const library = scratch('library');
  await mkdir(library);
  await copyFile(examplePath('silent-5s.mp4'), join(library, 'a.mp4'));
  const environment = { describeModel: async () => ({ ...captioner.model, directory: defaultModelDirectory() }) };
  const args = ['batch', library, '--verify', '--clean', '--verify-samples', '1', '--format', 'txt'];
  const first = await runCli(args, { captioner: shared(), environment });
  expect([first.exitCode, first.stderr]).toEqual([0, expect.stringContaining('1 entries')]);
  const [line] = jsonLines<{ caption: string; verification: { cleaned_caption: string; counts: object } }>(
    join(library, 'captions.jsonl'),
  );
  expect(line!.caption).toBe(line!.verification.cleaned_caption);
  expect(line!.verification.counts).toMatchObject({ unsupported: 0 });
  const again = await runCli(args, { captioner: shared(), environment });
  expect(again.stdout).toContain('1 done before');
  const unverified = await runCli(['batch', library, '--format', 'txt'], { captioner: shared(), environment });
  expect(unverified.stderr).toContain('captions of other settings');
});

it('tells a caption whose check fails all the same, and says what is wrong with flags', async () => {
  const judge = ['--judge', `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`];
  const wrong = await runCli(['caption', examplePath(CLIP), '--clean'], { captioner: shared() });
  expect(wrong.stderr).toContain('--clean needs --verify.');
  const missing = await runCli(['caption', examplePath(CLIP), '--verify', ...judge], { captioner: shared() });
  expect(missing.stderr).toContain('needs --judge-model');
  const refused = await runCli(
    ['caption', examplePath(CLIP), '--verify', '--verify-samples', '0', '--json', ...judge, '--judge-model', 'x'],
    { captioner: shared() },
  );
  expect(refused.exitCode).toBe(5);
  const told = JSON.parse(refused.stdout) as {
    readonly caption: string;
    readonly verification: { readonly error: { readonly code: string; readonly message: string } };
  };
  expect(told.caption).toContain(' background ');
  expect(told.verification.error.code).toBe('engine_error');
  expect(told.verification.error.message).toContain('no such key');
  const notMedia = scratch('no.mp4');
  await writeFile(notMedia, 'no clip');
  const broken = await runCli(['caption', notMedia, '--verify', '--json'], { captioner: shared() });
  expect([broken.exitCode, broken.stdout]).toEqual([3, expect.stringContaining('"error"')]);
});
