// Scores a whole evaluation: what `avocado caption --json` said of clips from `avocado sample`,
// against the truth beside them.
//   npx avocado caption clips/*.mp4 --json > captions.jsonl
//   npx tsx test/bench/score-captions.ts captions.jsonl clips
// A caption and a truth belong together when their files have the same name. Exits with 1 when a clip
// has no caption or no truth.
import { readFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { captionScript } from '../../src/lab/synthetic/script.ts';
import type { Script } from '../../src/lab/synthetic/script.ts';
import { scoreTable, worldScores, type Captioned } from './world-scores.ts';

/** One line of `avocado caption --json`. */
interface Answer {
  readonly file: string;
  readonly error?: { readonly code: string };
  readonly caption: string;
  /** with --n above 1 */
  readonly captions?: readonly { readonly caption: string }[];
  readonly usage: { readonly completion_tokens: number };
  readonly media: { readonly audio: { readonly used: boolean } };
}

/** The file that `avocado sample` or the recipe's mp4.py writes beside a clip. */
interface StoredTruth {
  readonly caption: string;
  readonly script?: Script;
}

async function truthOf({ file }: Answer, directory: string): Promise<StoredTruth | undefined> {
  const path = join(directory, `${basename(file, extname(file))}.json`);
  const text = await readFile(path, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as StoredTruth);
}

/** Who was not allowed to listen is asked for what can be seen. */
function captionedOf({ caption, captions = [{ caption }], usage, media }: Answer, truth: StoredTruth): Captioned[] {
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
  const [answersPath, truths] = parseArgs({ allowPositionals: true }).positionals;
  if (answersPath === undefined || truths === undefined)
    throw new Error('Usage: npx tsx test/bench/score-captions.ts CAPTIONS.jsonl TRUTHS_DIR');
  const answers = (await readFile(answersPath, 'utf8'))
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => JSON.parse(line) as Answer);
  const captioned: Captioned[] = [];
  const failed: string[] = [];
  const unknown: string[] = [];
  for (const answer of answers) {
    const truth = await truthOf(answer, truths);
    if (truth === undefined) unknown.push(answer.file);
    else if (answer.error !== undefined) failed.push(`${answer.file}: ${answer.error.code}`);
    else captioned.push(...captionedOf(answer, truth));
  }
  for (const line of failed) console.error(`no caption: ${line}`);
  for (const file of unknown) console.error(`no truth in ${truths}: ${file}`);
  const scores = {
    clips: answers.length,
    without_caption: failed.length,
    without_truth: unknown.length,
    ...(await worldScores(captioned)),
  };
  console.log(scoreTable(scores));
  console.log(JSON.stringify(scores));
  if (failed.length + unknown.length > 0) process.exitCode = 1;
}

await main();
