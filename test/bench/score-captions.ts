// Scores captions of a test set: the output of `avocado caption --json` for clips of `avocado sample`, against their
// truths.
//   npx avocado caption clips/*.mp4 --json > captions.jsonl
//   npx tsx test/bench/score-captions.ts captions.jsonl clips
//   npx tsx test/bench/score-captions.ts said.jsonl        (lines of the recipe's evaluate.py --said)
// A caption and a truth belong together when their files have the same name. Exits with 1 when a clip
// has no caption or no truth.
import { readFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { captionScript } from '../../src/lab/synthetic/script.ts';
import type { Script } from '../../src/lab/synthetic/script.ts';
import { scoreTable, worldScores, type Captioned } from './world-scores.ts';

/** One line of `avocado caption --json`. */
interface CaptionLine {
  readonly file: string;
  readonly error?: { readonly code: string };
  readonly caption: string;
  /** with --n above 1 */
  readonly captions?: readonly { readonly caption: string }[];
  readonly usage: { readonly completion_tokens: number };
  readonly media: { readonly audio: { readonly used: boolean } };
}

/** The JSON file that `avocado sample` or the recipe's mp4.py writes with a clip. */
interface StoredTruth {
  readonly caption: string;
  readonly script?: Script;
}

async function truthOf({ file }: CaptionLine, directory: string): Promise<StoredTruth | undefined> {
  const path = join(directory, `${basename(file, extname(file))}.json`);
  const text = await readFile(path, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as StoredTruth);
}

/** A caption made without sound is compared with a reference without sound. */
function captionedOf(
  { caption, captions = [{ caption }], usage, media }: CaptionLine,
  truth: StoredTruth,
): Captioned[] {
  const sound = media.audio.used;
  const reference = sound || truth.script === undefined ? truth.caption : captionScript(truth.script, false);
  return captions.map((one) => ({
    caption: one.caption,
    reference,
    tokens: usage.completion_tokens / captions.length,
    sound,
  }));
}

async function main(): Promise<void> {
  const [captionsPath, truths] = parseArgs({ allowPositionals: true }).positionals;
  if (captionsPath === undefined)
    throw new Error('Usage: npx tsx test/bench/score-captions.ts CAPTIONS.jsonl [TRUTHS_DIR]');
  const read = (await readFile(captionsPath, 'utf8')).split('\n').filter((line) => line.trim() !== '');
  if (truths === undefined) {
    const scores = await worldScores(read.map((line) => JSON.parse(line) as Captioned));
    console.log(scoreTable(scores));
    console.log(JSON.stringify(scores));
    return;
  }
  const lines = read.map((line) => JSON.parse(line) as CaptionLine);
  const captioned: Captioned[] = [];
  const failed: string[] = [];
  const unknown: string[] = [];
  for (const line of lines) {
    const truth = await truthOf(line, truths);
    if (truth === undefined) unknown.push(line.file);
    else if (line.error !== undefined) failed.push(`${line.file}: ${line.error.code}`);
    else captioned.push(...captionedOf(line, truth));
  }
  for (const failure of failed) console.error(`no caption: ${failure}`);
  for (const file of unknown) console.error(`no truth in ${truths}: ${file}`);
  const scores = {
    clips: lines.length,
    without_caption: failed.length,
    without_truth: unknown.length,
    ...(await worldScores(captioned)),
  };
  console.log(scoreTable(scores));
  console.log(JSON.stringify(scores));
  if (failed.length + unknown.length > 0) process.exitCode = 1;
}

await main();
