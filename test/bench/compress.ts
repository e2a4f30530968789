// What leaving out video tokens (--compress dtd) costs and gains on avocado-nano: keypoints and spoken lines at 100,
// 75, 50 and 25 % of the video tokens, and captions a second with 1 and 8 requests at a time, in one run.
//   npx tsx test/bench/compress.ts [--clips 40] [--seconds 6] [--cached] [--model DIR] [--hard]
// --hard: clips of the hard level, for a --model that was trained on it. `--cached`: what the towers gave is kept, so
// that the rates are those of the language model alone.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { captionRequest } from '../../src/captioner/caption-options.ts';
import type { Captioner } from '../../src/captioner/captioner.ts';
import { sampleHardClip } from '../../src/lab/synthetic/hard/sample-hard-clip.ts';
import { sampleClip } from '../../src/lab/synthetic/sample-clip.ts';
import type { CaptionEnd } from '../../src/output/events.ts';
import { captioned, lengthOf, openNano } from './nano-caption.ts';
import { worldScores } from './world-scores.ts';

const FIRST_SEED = 930_000;
const SHARES = [1, 0.75, 0.5, 0.25];
const CLIENTS = [1, 8];
const { signal } = new AbortController();

interface Clip {
  readonly path: string;
  readonly reference: string;
}

/** All clips with so many requests at a time. @returns the ends in their order, and seconds */
async function round(captioner: Captioner, clips: readonly Clip[], share: number, clients: number) {
  const ends: CaptionEnd[] = [];
  const left = clips.entries();
  const started = performance.now();
  const client = async (): Promise<void> => {
    for (const [index, { path }] of left) {
      const options = { ...lengthOf(values.hard), ...(share === 1 ? {} : { compress: `dtd:${share}` }) };
      ends[index] = await captioned(captioner, captionRequest(path, options));
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return { ends, seconds: (performance.now() - started) / 1000 };
}

const { values } = parseArgs({
  options: {
    clips: { type: 'string', default: '40' },
    seconds: { type: 'string' },
    cached: { type: 'boolean', default: false },
    hard: { type: 'boolean', default: false },
    model: { type: 'string' },
  },
});
const directory = await mkdtemp(join(tmpdir(), 'avocado-compress-'));
const cache = values.cached ? { mediaCacheBytes: 2 ** 30 } : {};
const captioner = await openNano(values.model, { slots: 8, ...cache });
try {
  const clips: Clip[] = [];
  for (let seed = FIRST_SEED; seed < FIRST_SEED + Number(values.clips); seed++) {
    const path = join(directory, `${seed}.mp4`);
    const seconds = values.seconds === undefined ? undefined : Number(values.seconds);
    const truth = values.hard
      ? await sampleHardClip({ seed, sound: true }, path, signal)
      : await sampleClip({ seed, sound: true, seconds }, path, signal);
    clips.push({ path, reference: truth.caption });
  }
  await round(captioner, values.cached ? clips : clips.slice(0, 4), 1, 4); // warm
  console.log('| kept | prompt tokens | recall | dynamic | R_D | false claims | captions/s, 1 client | 8 clients |');
  console.log('|---|---|---|---|---|---|---|---|');
  for (const share of SHARES) {
    const rates: string[] = [];
    let ends: readonly CaptionEnd[] = [];
    for (const clients of CLIENTS) {
      const done = await round(captioner, clips, share, clients);
      ends = done.ends;
      rates.push((clips.length / done.seconds).toFixed(2));
    }
    const scores = await worldScores(
      ends.map(({ caption, usage }, index) => ({
        caption,
        reference: clips[index]?.reference ?? '',
        tokens: usage.completionTokens,
        sound: true,
      })),
    );
    const prompt = ends.reduce((sum, { usage }) => sum + usage.promptTokens, 0) / ends.length;
    const shown = (name: string): string => scores[name]?.toFixed(1) ?? '-';
    const told = ['recall', 'dynamic', 'dialogue_reward', 'false_claims'].map(shown);
    console.log(`| ${100 * share} % | ${prompt.toFixed(0)} | ${told.join(' | ')} | ${rates.join(' | ')} |`);
  }
} finally {
  await captioner.close();
  await rm(directory, { recursive: true, force: true });
}
