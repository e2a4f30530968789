// avocado-nano on films of its world, with what happens in each clip known: in segments, with and without `carry`, in
// one piece where that fits, and clip by clip as if each had been a file, which is what the others are measured by.
//   npx tsx test/bench/films.ts [--minutes 2,5,10] [--seed N]
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { defaultModelDirectory } from '../../src/base/package-files.ts';
import { captionRequest } from '../../src/captioner/caption-options.ts';
import { captionEvents, type Captioner } from '../../src/captioner/captioner.ts';
import { openCaptioner } from '../../src/captioner/open-captioner.ts';
import { sampleFilm, type FilmShot } from '../../src/lab/synthetic/sample-film.ts';
import type { CaptionEnd } from '../../src/output/events.ts';
import { scoreCaption } from '../../src/lab/synthetic/score-caption.ts';
import { captionScript } from '../../src/lab/synthetic/script.ts';
import { engineSettings } from '../../src/settings/engine-settings.ts';
import { worldScores } from './world-scores.ts';

/** Clips of about the same length, so that segments of that length can be clips. The cuts have to be found. */
const CLIP_SECONDS = [8, 14] as const;
const SEGMENT_SECONDS = 11;
const signal = new AbortController().signal;

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '2,5,10' }, seed: { type: 'string', default: '1' } },
});

/** A caption, and the part of the film that it tells of, in seconds. */
interface Told {
  readonly start: number;
  readonly end: number;
  readonly caption: string;
  readonly tokens: number;
}

type Scores = Readonly<Record<string, number | string | null>>;

async function captioned(captioner: Captioner, path: string, options: object): Promise<CaptionEnd | undefined> {
  for await (const event of captionEvents(captioner, captionRequest(path, options))) {
    if (event.type === 'caption-end') return event;
    if (event.type === 'caption-error' && event.code !== 'context_length_exceeded') throw new Error(event.message);
  }
  return undefined;
}

function toldBy(end: CaptionEnd, whole: { readonly start: number; readonly end: number }): Told[] {
  const { caption, usage, segments = [{ ...whole, caption, usage }] } = end;
  return segments.map((one) => ({ ...one, tokens: one.usage?.completionTokens ?? 0 }));
}

/** The caption that tells of the most of a shot. */
function ofShot(shot: FilmShot, told: readonly Told[]): Told {
  const shared = ({ start, end }: Told): number => Math.min(end, shot.end) - Math.max(start, shot.start);
  const [best] = told.toSorted((one, other) => shared(other) - shared(one));
  if (best === undefined) throw new Error('Nothing was told.');
  return best;
}

/** Whether a caption tells of what happens then. */
function tells({ caption }: Told, event: string): boolean {
  const { dynamic, auditory } = scoreCaption(caption, event).categories;
  return dynamic.hits + auditory.hits > 0;
}

/** Of the events that a caption tells, those told by the one whose part of the film holds their time; percent. */
function toldInTheirTime(shots: readonly FilmShot[], told: readonly Told[]): number {
  let [inTime, events] = [0, 0];
  for (const { script, start, end } of shots) {
    const near = told.filter((one) => one.start < end && one.end > start);
    for (const event of script.events) {
      const by = near.filter((one) => tells(one, captionScript({ ...script, events: [event] }, true)));
      const time = start + event.start;
      if (by.length > 0) events += 1;
      if (by.some((one) => one.start <= time && time < one.end)) inTime += 1;
    }
  }
  return (100 * inTime) / Math.max(1, events);
}

async function score(shots: readonly FilmShot[], told: readonly Told[]): Promise<Scores> {
  const captions = shots.map((shot) => {
    const { caption, tokens } = ofShot(shot, told);
    return { caption, reference: shot.caption, tokens, sound: true };
  });
  const { recall, dialogue_reward: dialogue, false_claims: wrong } = await worldScores(captions);
  return {
    captions: told.length,
    recall: recall ?? null,
    dialogue_reward: dialogue ?? null,
    false_claims: wrong ?? null,
    events_in_their_segment: toldInTheirTime(shots, told),
  };
}

async function clipByClip(captioner: Captioner, path: string, shots: readonly FilmShot[]): Promise<Told[]> {
  const told: Told[] = [];
  for (const { start, end } of shots) {
    const isLast = end === shots.at(-1)?.end;
    const one = await captioned(captioner, path, { start, ...(isLast ? {} : { end }) });
    if (one === undefined) throw new Error('A clip does not fit the context.');
    told.push(...toldBy(one, { start, end }));
  }
  return told;
}

const directory = await mkdtemp(join(tmpdir(), 'avocado-bench-films-'));
const captioner = await openCaptioner(
  engineSettings({ modelDir: defaultModelDirectory(), slots: 2, mediaCacheBytes: 0 }),
);
try {
  for (const minutes of values.minutes.split(',').map(Number)) {
    const path = join(directory, `${minutes}.mp4`);
    const shots = await sampleFilm({ seed: Number(values.seed), minutes, clipSeconds: CLIP_SECONDS }, path, signal);
    const whole = { start: 0, end: shots.at(-1)?.end ?? 0 };
    const report = (how: string, scores: Scores | string): void => {
      console.log(
        JSON.stringify({ minutes, clips: shots.length, how, ...(typeof scores === 'string' ? { scores } : scores) }),
      );
    };
    report('clip by clip', await score(shots, await clipByClip(captioner, path, shots)));
    for (const [how, options] of [
      ['segments', { segments: SEGMENT_SECONDS }],
      ['segments, carry', { segments: SEGMENT_SECONDS, carry: true }],
      ['one piece', {}],
    ] as const) {
      const end = await captioned(captioner, path, options);
      report(how, end === undefined ? 'does not fit the context' : await score(shots, toldBy(end, whole)));
    }
  }
} finally {
  await captioner.close();
  await rm(directory, { recursive: true, force: true });
}
