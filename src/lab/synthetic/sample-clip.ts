// Makes a synthetic clip and the truth about it: what `avocado sample` writes.
import { FramePainter } from './frame-painter.ts';
import { Rng } from './rng.ts';
import { captionScript, sampleGeometry, sampleScript, type Script } from './script.ts';
import { WORLD } from './vocabulary.ts';
import { soundTrack } from './sound-track.ts';
import { openVoices, recordedLines, type Recording } from './voices.ts';
import { paintedFrames, truthOf, writeClip, type Truth } from './write-clip.ts';

export interface ClipOptions {
  /** whole number of at least 0 */
  readonly seed: number;
  /** 3 to 16, the range of the model's training clips; undefined = drawn with the seed, like size and objects */
  readonly seconds?: number | undefined;
  /** a key of WORLD.sizes */
  readonly size?: string | undefined;
  /** exact number, 1 to 3 */
  readonly objects?: number | undefined;
  /** false = no sound track, and a caption that says nothing about sound */
  readonly sound: boolean;
}

export type ClipTruth = Truth<Script>;

const MAX_OBJECTS = 2;

/** Deterministic: the same options give the same truth. */
export function sampleTruth(options: ClipOptions): ClipTruth {
  const { seed, seconds, size, objects, sound } = options;
  const drawn = sampleGeometry(new Rng(seed, 'geometry'));
  const geometry = { ...drawn, duration: seconds ?? drawn.duration, size: WORLD.sizes[size ?? ''] ?? drawn.size };
  const rng = new Rng(seed, 'script');
  const lines = recordedLines();
  let script = sampleScript(seed, geometry, rng, objects ?? MAX_OBJECTS, lines);
  while (objects !== undefined && script.objects.length !== objects)
    script = sampleScript(seed, geometry, rng, objects, lines);
  return truthOf(captionScript(script, sound), sound, script);
}

/**
 * Writes a new clip, and its truth beside it.
 * @param out ends in .mp4; the truth has the same name with .json. Existing files are overwritten.
 * @throws AvocadoError `bad_request` when it cannot be written there, `ffmpeg_missing`, `aborted`
 */
export async function sampleClip(options: ClipOptions, out: string, signal: AbortSignal): Promise<ClipTruth> {
  const truth = sampleTruth(options);
  const { script, sound } = truth;
  await writeClip(truth, out, signal, async () => ({
    size: script.size,
    fps: script.fps,
    frames: framesOf(script),
    sound: sound
      ? { wave: soundTrack(script, await recordingsFor(truth, signal)), sampleRate: WORLD.sampleRate }
      : undefined,
  }));
  return truth;
}

/** The recordings are decoded only for a clip with speech, because that takes a moment. */
async function recordingsFor({ dialogue }: ClipTruth, signal: AbortSignal): Promise<Recording> {
  if (dialogue.length > 0) return openVoices(signal);
  return () => {
    throw new Error('The script has a spoken line that the caption lacks. This is a bug.');
  };
}

/** All frames of a script, rgb24. */
export function framesOf(script: Script): Generator<Uint8Array> {
  return paintedFrames(new FramePainter(script), script);
}
