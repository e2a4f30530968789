// What --verify finds on avocado-nano: false claims and recall of captions before and after their unsupported claims
// are taken out, for each kind of evidence and for all of it. Captions are made in pieces that are gone on with:
//   npx tsx test/bench/verify.ts make OUT.jsonl --clips 100 [--distractors] [--minutes 5] [--model DIR] [--hard]
//   npx tsx test/bench/verify.ts table OUT.jsonl…
// --hard: clips of the hard level, for a --model that was trained on it; a bell there may be seen and not ring, and a
// dog be heard and not seen. The easy level has no bell: --distractors adds what it has no words for: sounds (a bell, a
// dog, a siren) where nothing is heard, and a grey cross among the objects. Captions of the clips are scored as they
// are (greedy), sampled at temperature 1.3, and with a known share of their claims made false.
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { captionRequest } from '../../src/captioner/caption-options.ts';
import { sampleHardClip } from '../../src/lab/synthetic/hard/sample-hard-clip.ts';
import { Rng } from '../../src/lab/synthetic/rng.ts';
import { framesOf, sampleTruth } from '../../src/lab/synthetic/sample-clip.ts';
import { scoreCaption } from '../../src/lab/synthetic/score-caption.ts';
import type { Script } from '../../src/lab/synthetic/script.ts';
import { soundTrack } from '../../src/lab/synthetic/sound-track.ts';
import { WORLD } from '../../src/lab/synthetic/vocabulary.ts';
import { openVoices, type Recording } from '../../src/lab/synthetic/voices.ts';
import { REASONS, type Reason } from '../../src/lab/verify/decide.ts';
import { judgeCaption, verifyCaption, type Recaptions } from '../../src/lab/verify/verify.ts';
import { worldReader } from '../../src/lab/verify/world-reader.ts';
import { encodeMp4 } from '../../src/media/encode-mp4.ts';
import { corruptCaption } from '../fixtures/corrupt-caption.ts';
import { captioned, lengthOf, openNano } from './nano-caption.ts';

const FIRST_SEED = 910_000;
const SAMPLES = 3;
const HOT = 1.3;
const { signal } = new AbortController();

interface ClipRecord {
  readonly seed: number;
  readonly distractors: boolean;
  readonly hard?: boolean;
  readonly reference: string;
  readonly greedy: string;
  readonly hot: string;
  readonly recaptions: Recaptions;
}

// Things that the world has no words for.

/** Partials of a bell, as multiples of its pitch. */
const BELL = [0.5, 1, 1.19, 1.5, 2, 2.74];

function strangeSound(rng: Rng): Float32Array {
  const rate = WORLD.sampleRate;
  const kind = rng.pick(['bell', 'dog', 'siren']);
  const length = Math.floor(rate * rng.between(0.6, 1.2));
  const hertz = rng.between(300, 700);
  return Float32Array.from({ length }, (_, index) => {
    const time = index / rate;
    if (kind === 'bell')
      return (
        0.2 *
        BELL.reduce((sum, part) => sum + Math.sin(2 * Math.PI * hertz * part * time) * Math.exp(-4 * part * time), 0)
      );
    if (kind === 'siren') return 0.3 * Math.sin(2 * Math.PI * (hertz * time + 40 * Math.sin(2 * Math.PI * 3 * time)));
    const bark = time % 0.35;
    return bark > 0.15 ? 0 : 0.5 * Math.exp(-20 * bark) * (Math.sin(2 * Math.PI * hertz * bark) + rng.gaussian(0.5));
  });
}

function addStrangeSounds(wave: Float32Array, script: Script, rng: Rng): void {
  const beats = Math.max(1, Math.floor(Math.floor(script.duration) / 2));
  for (let beat = 0; beat < beats; beat++) {
    if (script.events.some((event) => event.beat === beat && event.kind !== 'visual')) continue;
    const at = Math.floor(((beat + 0.1) * script.duration * WORLD.sampleRate) / beats);
    for (const [index, level] of strangeSound(rng).entries())
      if (at + index < wave.length) wave[at + index] = Math.max(-1, Math.min(1, (wave[at + index] ?? 0) + level));
  }
}

/** A cross where no object is, in every frame. */
function* withCross(frames: Iterable<Uint8Array>, { size: [width, height], objects }: Script, rng: Rng) {
  const free = [...WORLD.slots.keys()].filter((slot) => !objects.some((object) => object.slot === slot));
  const along = WORLD.slots[rng.pick(free.length === 0 ? [1] : free)] ?? 0.5;
  const [x, y] = height > width ? [width / 2, along * height] : [along * width, height / 2];
  for (const frame of frames) {
    for (let row = 0; row < height; row++)
      for (let column = 0; column < width; column++) {
        const [across, down] = [Math.abs(column - x), Math.abs(row - y)];
        if (Math.min(across, down) < 6 && Math.max(across, down) < 26)
          frame.fill(170, 3 * (row * width + column), 3 * (row * width + column) + 3);
      }
    yield frame;
  }
}

interface MakeOptions {
  readonly clips: number;
  readonly distractors: boolean;
  readonly hard: boolean;
  readonly minutes: number;
  readonly model: string | undefined;
}

/** @returns what a caption of it should tell */
async function makeEasyClip(seed: number, distractors: boolean, recording: Recording, path: string): Promise<string> {
  const { script, caption } = sampleTruth({ seed, sound: true });
  const rng = new Rng(seed, 'distractors');
  const wave = soundTrack(script, recording);
  if (distractors) addStrangeSounds(wave, script, rng);
  const frames = distractors ? withCross(framesOf(script), script, rng) : framesOf(script);
  const { size, fps } = script;
  await encodeMp4({ size, fps, frames, sound: { wave, sampleRate: WORLD.sampleRate } }, path, signal);
  return caption;
}

async function make(out: string, options: MakeOptions): Promise<void> {
  const { clips, distractors, hard, minutes, model } = options;
  const known = new Set((await recordsOf(out)).map(({ seed }) => seed));
  const directory = await mkdtemp(join(tmpdir(), 'avocado-verify-bench-'));
  const recording = await openVoices(signal);
  const captioner = await openNano(model, { slots: 4 });
  const deadline = performance.now() + minutes * 60_000;
  try {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + clips && performance.now() < deadline; seed++) {
      if (known.has(seed)) continue;
      const path = join(directory, `${seed}.mp4`);
      const reference = hard
        ? (await sampleHardClip({ seed, sound: true }, path, signal)).caption
        : await makeEasyClip(seed, distractors, recording, path);
      const length = lengthOf(hard);
      const request = captionRequest(path, length);
      const end = await captioned(captioner, request);
      const checks = { samples: SAMPLES, temperature: 0.7, reader: worldReader(), transcribe: undefined };
      const { parts } = await verifyCaption(captioner, request, end, checks, signal);
      const hot = await captioned(captioner, captionRequest(path, { ...length, temperature: HOT, seed }));
      const recaptions = parts[0]?.recaptions ?? { samples: [] };
      const record: ClipRecord = {
        seed,
        distractors,
        hard,
        reference,
        greedy: end.caption,
        hot: hot.caption,
        recaptions,
      };
      await appendFile(out, `${JSON.stringify(record)}\n`);
      await rm(path);
    }
  } finally {
    await captioner.close();
    await rm(directory, { recursive: true, force: true });
  }
  console.log(`${(await recordsOf(out)).length} of ${clips} clips are in ${out}.`);
}

async function recordsOf(path: string): Promise<ClipRecord[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as ClipRecord);
}

// The table.

function kindOf(record: ClipRecord | undefined): string {
  if (record?.hard === true) return ' of the hard level';
  return record?.distractors === true ? ' with distractors' : '';
}

const EVIDENCE: Readonly<Record<string, readonly Reason[]>> = {
  'mute and blind': ['survives_muting', 'survives_blanking'],
  samples: ['not_repeated'],
  all: REASONS,
};

interface Row {
  readonly claims: number;
  readonly falseClaims: number;
  readonly recall: number;
}

function scored(captions: readonly string[], records: readonly ClipRecord[]): Row {
  const scores = captions.map((caption, index) => scoreCaption(caption, records[index]?.reference ?? ''));
  const sum = (value: (score: (typeof scores)[number]) => number): number =>
    scores.reduce((all, score) => all + value(score), 0);
  return {
    claims: sum(({ toldClaims }) => toldClaims),
    falseClaims: sum(({ falseClaims }) => falseClaims),
    recall: (100 * sum(({ recall }) => recall)) / scores.length,
  };
}

/** The captions without the claims against which one of these reasons speaks. */
async function cleaned(
  captions: readonly string[],
  records: readonly ClipRecord[],
  reasons: readonly Reason[],
): Promise<string[]> {
  const reader = worldReader();
  return Promise.all(
    captions.map(async (caption, index) => {
      const recaptions = records[index]?.recaptions ?? { samples: [] };
      const { claims } = await judgeCaption(caption, reader, { recaptions, spoken: undefined, hasSound: true }, signal);
      const dropped = claims.map((claim) => claim.reasons.some((reason) => reasons.includes(reason)));
      return reader.without(caption, claims, dropped, signal);
    }),
  );
}

/** Claims of what the hard level has to mislead: told, false (not in the reference word for word), found. */
async function tellDistractors(records: readonly ClipRecord[]): Promise<void> {
  const reader = worldReader();
  const counts = new Map<string, { told: number; wrong: number; flagged: number }>();
  for (const { greedy, reference, recaptions } of records) {
    const left = (await reader.claims(reference, signal)).map(({ text }) => text);
    const { claims } = await judgeCaption(greedy, reader, { recaptions, spoken: undefined, hasSound: true }, signal);
    for (const { text, sense, reasons } of claims) {
      const at = left.indexOf(text);
      if (at >= 0) left.splice(at, 1);
      const thing = /\b(bell|dog)\b/.exec(text)?.[0];
      if (thing === undefined) continue;
      const name = `${thing}, ${sense}`;
      const count = counts.get(name) ?? { told: 0, wrong: 0, flagged: 0 };
      const isWrong = at < 0;
      count.told++;
      if (isWrong) count.wrong++;
      if (isWrong && reasons.length > 0) count.flagged++;
      counts.set(name, count);
    }
  }
  console.log('\n| claims of greedy captions | told | false | false ones that are found |\n|---|---|---|---|');
  for (const [name, { told, wrong, flagged }] of counts) console.log(`| ${name} | ${told} | ${wrong} | ${flagged} |`);
}

async function table(records: readonly ClipRecord[]): Promise<void> {
  const corrupted = (share: number): Promise<string[]> =>
    Promise.all(records.map(({ greedy, seed }) => corruptCaption(greedy, share, 'falsify', seed)));
  const arms: Readonly<Record<string, readonly string[]>> = {
    greedy: records.map(({ greedy }) => greedy),
    'temperature 1.3': records.map(({ hot }) => hot),
    // Claims of the hard level have no false twins.
    ...(records[0]?.hard === true
      ? {}
      : {
          '10 % made false': await corrupted(0.1),
          '30 % made false': await corrupted(0.3),
          '50 % made false': await corrupted(0.5),
        }),
  };
  console.log('| captions | evidence | claims | false | false, % | recall, % |\n|---|---|---|---|---|---|');
  for (const [arm, captions] of Object.entries(arms)) {
    const tell = (evidence: string, { claims, falseClaims, recall }: Row): void => {
      const share = ((100 * falseClaims) / claims).toFixed(1);
      console.log(`| ${arm} | ${evidence} | ${claims} | ${falseClaims} | ${share} | ${recall.toFixed(1)} |`);
    };
    tell('none', scored(captions, records));
    for (const [name, reasons] of Object.entries(EVIDENCE))
      tell(name, scored(await cleaned(captions, records, reasons), records));
  }
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    clips: { type: 'string', default: '100' },
    distractors: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '1000' },
    hard: { type: 'boolean', default: false },
    model: { type: 'string' },
  },
});
const [command, ...files] = positionals;
if (command === 'make' && files[0] !== undefined)
  await make(files[0], {
    ...{ distractors: values.distractors, hard: values.hard, model: values.model },
    ...{ clips: Number(values.clips), minutes: Number(values.minutes) },
  });
else if (command === 'table' && files.length > 0)
  for (const file of files) {
    const records = await recordsOf(file);
    console.log(`\n${file}: ${records.length} clips${kindOf(records[0])}`);
    await table(records);
    if (records[0]?.hard === true) await tellDistractors(records);
  }
else throw new Error('Usage: npx tsx test/bench/verify.ts make OUT.jsonl | table OUT.jsonl…');
