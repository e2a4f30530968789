// What the served default model says of its sample clips, against what is true of them: wrong frames, a lost sound or
// another prompt would be seen here.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openEngineProcess, type EngineProcess } from '../../src/engine-process/open-engine-process.ts';
import { captionScript } from '../../src/lab/synthetic/script.ts';
import { mentionsSound } from '../../src/lab/synthetic/read-caption.ts';
import { sampleTruth, type ClipTruth } from '../../src/lab/synthetic/sample-clip.ts';
import { dialogueOf, HARD_SKILLS, scoreCaption } from '../../src/lab/synthetic/score-caption.ts';
import type { Share } from '../../src/lab/synthetic/score-caption.ts';
import { runCli } from '../fixtures/cli-run.ts';
import { EXAMPLES, exampleOf, examplePath, WIDE } from '../fixtures/examples.ts';
import { makeClip } from '../fixtures/make-clip.ts';
import { NANO_EXAMPLES, nanoSettings } from '../fixtures/nano.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { form, serveApp, type ServedApp } from '../fixtures/served-app.ts';

interface Answer {
  readonly caption: string;
  readonly finish_reason: string;
  readonly media: { readonly audio: { readonly present: boolean; readonly used: boolean } };
  readonly usage: { readonly prompt_tokens_details: { readonly text_tokens: number } };
}

/**
 * Qwen's system prompt and AVoCaDO's first prompt in the model's tokens, with the marks around
 * pictures, and around sound.
 */
const PROMPT_TOKENS = { heard: 93, unheard: 91 };
const DIALOGUE = 'dialogue-8s.mp4';
const SILENCE = 'There is no sound.';

const scratch = scratchDirectory();
let engine: EngineProcess;
let app: ServedApp;

beforeAll(async () => {
  engine = await openEngineProcess({ settings: nanoSettings() });
  await engine.ready();
  app = await serveApp(engine, { mediaRoots: [`clips=${NANO_EXAMPLES}`] });
});
afterAll(async () => {
  await app.close();
  await engine.close();
});

async function answerOf(body: FormData | string): Promise<Answer> {
  const headers = new Headers(typeof body === 'string' ? { 'content-type': 'application/json' } : undefined);
  const response = await fetch(`${app.url}/v1/captions`, { method: 'POST', body, headers });
  expect(response.status).toBe(200);
  const answer = (await response.json()) as Answer;
  expect(answer.finish_reason).toBe('stop');
  return answer;
}

const upload = (path: string, fields: Readonly<Record<string, string>> = {}): Promise<Answer> =>
  answerOf(form(readFileSync(path), fields));

/** Names of what is not told whole. */
function lacking(shares: Readonly<Record<string, Share>>): string[] {
  return Object.entries(shares).flatMap(([name, { hits, total }]) => (hits < total ? [name] : []));
}

describe('a sample clip', () => {
  it.each(Object.entries(EXAMPLES))(
    '%s: all that is seen and heard, in order, with what happens meanwhile',
    async (name, { caption: truth, sample }) => {
      const { caption, media, usage } = await upload(examplePath(name));
      const { categories, skills, falseClaims, dialogue, recall } = scoreCaption(caption, truth);
      expect({ recall, falseClaims, lacking: [...lacking(categories), ...lacking(skills)] }, caption).toEqual({
        recall: 1,
        falseClaims: 0,
        lacking: [],
      });
      expect(dialogue.caption).toEqual(dialogue.reference);
      expect(media.audio).toMatchObject({ present: sample.sound, used: sample.sound });
      expect(usage.prompt_tokens_details.text_tokens).toBe(sample.sound ? PROMPT_TOKENS.heard : PROMPT_TOKENS.unheard);
    },
  );

  it('together they ask for everything that a caption can tell', () => {
    const asked = Object.values(EXAMPLES).map(({ caption }) => scoreCaption('', caption));
    const totals = asked.flatMap(({ categories, skills }) => [
      ...Object.entries(categories),
      ...Object.entries(skills),
    ]);
    const ofHard: ReadonlySet<string> = new Set(HARD_SKILLS);
    const names = new Set(totals.map(([name]) => name).filter((name) => !ofHard.has(name)));
    expect(new Set(totals.flatMap(([name, { total }]) => (total > 0 ? [name] : [])))).toEqual(names);
  });

  it('says the same under a media root as uploaded', async () => {
    expect((await answerOf(JSON.stringify({ media: `media://clips/${WIDE}` }))).caption).toBe(exampleOf(WIDE).caption);
  });
});

describe('sound', () => {
  it('that is not there is not spoken of', async () => {
    const { caption, media } = await upload(examplePath('no-sound-6s.mp4'));
    expect(mentionsSound(caption)).toBe(false);
    expect(media.audio.present).toBe(false);
  });

  it('that is there and silent is told to be silent', async () => {
    expect((await upload(examplePath('silent-5s.mp4'))).caption).toContain(SILENCE);
  });

  it.each([WIDE, DIALOGUE, 'silent-5s.mp4'])('of %s is not spoken of when the request turns it off', async (name) => {
    const { caption, media, usage } = await upload(examplePath(name), { audio: 'false' });
    expect(caption).toBe(captionScript(sampleTruth(exampleOf(name).sample).script, false));
    expect(mentionsSound(caption)).toBe(false);
    expect(media.audio).toMatchObject({ present: true, used: false });
    expect(usage.prompt_tokens_details.text_tokens).toBe(PROMPT_TOKENS.unheard);
  });

  it('is what the track has, not what the pictures suggest', async () => {
    const swapped = await makeClip(scratch('swapped.mp4'), [
      '-i',
      examplePath('no-sound-6s.mp4'),
      '-i',
      examplePath(DIALOGUE),
      '-map',
      '0:v',
      '-map',
      '1:a',
      '-c',
      'copy',
      '-t',
      '6',
    ]);
    const { caption } = await upload(swapped);
    // the third line comes after 6 s
    expect(dialogueOf(caption)).toEqual(dialogueOf(exampleOf(DIALOGUE).caption).slice(0, 2));
    expect(scoreCaption(caption, exampleOf('no-sound-6s.mp4').caption).skills.background).toEqual({
      hits: 1,
      total: 1,
    });
  });
});

it('fewer frames are told as fewer events: the words come from what is seen', async () => {
  const { caption } = await upload(examplePath(WIDE), { nframes: '4' });
  expect(scoreCaption(caption, exampleOf(WIDE).caption).categories.dynamic).toEqual({ hits: 1, total: 2 });
});

it('captions a clip that nobody has seen before', async () => {
  expect(
    (await runCli(['sample', scratch('fresh.mp4'), '--seed', '2026', '--size', '16:9', '--seconds', '7'])).exitCode,
  ).toBe(0);
  const truth = JSON.parse(readFileSync(scratch('fresh.json'), 'utf8')) as ClipTruth;
  expect(Object.values(EXAMPLES).map(({ caption }) => caption)).not.toContain(truth.caption);
  expect(truth.keypoints.length).toBeGreaterThan(6);
  expect((await upload(scratch('fresh.mp4'))).caption).toBe(truth.caption);
});
