// Whether scores fall as captions get worse by known amounts: captions of avocado-nano, some of whose claims are made
// false or left out.
//   npx tsx test/bench/ranking.ts make test/fixtures/world/nano-captions.jsonl --clips 300   (goes on where it stopped)
//   npx tsx test/bench/ranking.ts table test/fixtures/world/nano-captions.jsonl
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { captionRequest } from '../../src/captioner/caption-options.ts';
import { captionEvents } from '../../src/captioner/captioner.ts';
import { openCaptioner } from '../../src/captioner/open-captioner.ts';
import { sampleClip, sampleTruth } from '../../src/lab/synthetic/sample-clip.ts';
import { nanoSettings } from '../fixtures/nano.ts';
import { benchmarkScores, rewardMeans, SHARES, WAYS, worse, type Captioned } from '../fixtures/ranking.ts';

const FIRST_SEED = 920_000;
const { signal } = new AbortController();

async function captionsOf(path: string): Promise<Captioned[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const { seed, caption } = JSON.parse(line) as { readonly seed: number; readonly caption: string };
      return { seed, caption, reference: sampleTruth({ seed, sound: true }).caption };
    });
}

async function make(out: string, clips: number, minutes: number): Promise<void> {
  const known = new Set((await captionsOf(out)).map(({ seed }) => seed));
  const directory = await mkdtemp(join(tmpdir(), 'avocado-ranking-'));
  const captioner = await openCaptioner(nanoSettings({ slots: 1, threads: 2 }));
  const deadline = performance.now() + minutes * 60_000;
  try {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + clips && performance.now() < deadline; seed++) {
      if (known.has(seed)) continue;
      const path = join(directory, `${seed}.mp4`);
      await sampleClip({ seed, sound: true }, path, signal);
      for await (const event of captionEvents(captioner, captionRequest(path, {}), signal)) {
        if (event.type === 'caption-error') throw new Error(event.message);
        if (event.type === 'caption-end')
          await appendFile(out, `${JSON.stringify({ seed, caption: event.caption })}\n`);
      }
      await rm(path);
    }
  } finally {
    await captioner.close();
    await rm(directory, { recursive: true, force: true });
  }
  console.log(`${(await captionsOf(out)).length} of ${clips} captions are in ${out}.`);
}

async function table(captioned: readonly Captioned[]): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'avocado-ranking-'));
  try {
    for (const way of WAYS) {
      const rows: Record<string, number[]> = {};
      for (const share of SHARES) {
        const captions = await worse(captioned, share, way);
        const benchmarks = await benchmarkScores(captions, join(directory, `${way}-${share}`));
        const scores = Object.entries(benchmarks).map(([name, { score }]) => [name, score] as const);
        for (const [name, score] of [...Object.entries(await rewardMeans(captions)), ...scores])
          (rows[name] ??= []).push(score);
      }
      console.log(`\n${captioned.length} captions, claims ${way === 'omit' ? 'left out' : 'made false'}`);
      console.log(
        `| score | ${SHARES.map((share) => `${100 * share} %`).join(' | ')} |\n|---|${'---|'.repeat(SHARES.length)}`,
      );
      for (const [name, values] of Object.entries(rows))
        console.log(`| ${name} | ${values.map((value) => value.toFixed(value > 4 ? 1 : 3)).join(' | ')} |`);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { clips: { type: 'string', default: '300' }, minutes: { type: 'string', default: '1000' } },
});
const [command, file] = positionals;
if (command === 'make' && file !== undefined) await make(file, Number(values.clips), Number(values.minutes));
else if (command === 'table' && file !== undefined) await table(await captionsOf(file));
else throw new Error('Usage: npx tsx test/bench/ranking.ts make|table CAPTIONS.jsonl');
