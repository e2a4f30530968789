import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { AvocadoError } from '../../base/errors.ts';
import { encodeMp4 } from '../../media/encode-mp4.ts';
import { captionScript } from './caption-script.ts';
import { Dice } from './dice.ts';
import { FramePainter } from './frame-painter.ts';
import { keypointsOf, type Keypoint } from './keypoints.ts';
import { readCaption } from './read-caption.ts';
import { dialogueOf, type Line } from './score-caption.ts';
import { sampleGeometry, sampleScript, type Script } from './script.ts';
import { soundTrack } from './sound-track.ts';
import { WORLD } from './vocabulary.ts';
import { openVoices, recordedLines, type Recording } from './voices.ts';

export interface SampleOptions {
  /** whole number of at least 0 */
  readonly seed: number;
  /** 3 to 16, which is what the model has seen; left out, as the seed says, like size and objects */
  readonly seconds?: number | undefined;
  /** a key of WORLD.sizes */
  readonly size?: string | undefined;
  /** exactly so many, 1 to 3 */
  readonly objects?: number | undefined;
  /** false = no sound track, and a caption that speaks of no sound */
  readonly sound: boolean;
}

/** What a caption of the clip is compared with. */
export interface Truth {
  readonly caption: string;
  readonly dialogue: readonly Line[];
  readonly keypoints: readonly Keypoint[];
  readonly sound: boolean;
  readonly script: Script;
}

const MOST_OBJECTS = 2;

/** The same options, the same truth. */
export function sampleTruth(options: SampleOptions): Truth {
  const { seed, seconds, size, objects, sound } = options;
  const drawn = sampleGeometry(new Dice(seed, 'geometry'));
  const geometry = { ...drawn, duration: seconds ?? drawn.duration, size: WORLD.sizes[size ?? ''] ?? drawn.size };
  const dice = new Dice(seed, 'script');
  const lines = recordedLines();
  let script = sampleScript(seed, geometry, dice, objects ?? MOST_OBJECTS, lines);
  while (objects !== undefined && script.objects.length !== objects)
    script = sampleScript(seed, geometry, dice, objects, lines);
  const caption = captionScript(script, sound);
  return { caption, dialogue: dialogueOf(caption), keypoints: keypointsOf(readCaption(caption)), sound, script };
}

/**
 * Writes a clip that nobody has seen, and its truth beside it.
 * @param out ends in .mp4; the truth has the same name with .json. Both are written over.
 * @throws AvocadoError `bad_request` when it cannot be written there, `ffmpeg_missing`, `aborted`
 */
export async function sampleClip(options: SampleOptions, out: string, signal: AbortSignal): Promise<Truth> {
  const truth = sampleTruth(options);
  const { script } = truth;
  const unfinished = `${out}.part`;
  await written(unfinished, writeFile(unfinished, ''));
  try {
    await refuseDirectory(out);
    const sound = truth.sound
      ? { wave: soundTrack(script, await voicesFor(truth, signal)), sampleRate: WORLD.sampleRate }
      : undefined;
    await encodeMp4({ size: script.size, fps: script.fps, frames: framesOf(script), sound }, unfinished, signal);
    await written(truthPath(out), writeFile(truthPath(out), `${JSON.stringify(truth, null, 1)}\n`));
    await written(out, rename(unfinished, out));
  } finally {
    await rm(unfinished, { force: true });
  }
  return truth;
}

/** `clip.mp4` → `clip.json` */
export function truthPath(out: string): string {
  return out.replace(/\.mp4$/i, '.json');
}

/** Decoding the voices takes a moment: not for a clip in which nobody speaks. */
async function voicesFor({ dialogue }: Truth, signal: AbortSignal): Promise<Recording> {
  if (dialogue.length > 0) return openVoices(signal);
  return () => {
    throw new Error('A line is said that the caption does not tell. This is a bug.');
  };
}

function* framesOf(script: Script): Generator<Uint8Array> {
  const painter = new FramePainter(script);
  const count = Math.round(script.duration * script.fps);
  for (let index = 0; index < count; index++) yield painter.frameAt(index / script.fps);
}

async function refuseDirectory(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() === true)
    throw new AvocadoError('bad_request', `${path} is a directory. Name a file.`, { param: 'file' });
}

async function written(path: string, writing: Promise<void>): Promise<void> {
  await writing.catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AvocadoError(
      'bad_request',
      `${path} cannot be written: ${why}. Name a file in a directory that exists and is yours.`,
      { cause, param: 'file' },
    );
  });
}
