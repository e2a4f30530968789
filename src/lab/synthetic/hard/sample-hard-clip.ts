// Makes a clip of the hard level and the truth about it: what `avocado sample --level hard` writes.
import { Rng } from '../rng.ts';
import { WORLD } from '../vocabulary.ts';
import { openVoices, recordedLines } from '../voices.ts';
import { paintedFrames, truthOf, writeClip, type Truth } from '../write-clip.ts';
import { hardCaption } from './hard-caption.ts';
import { HardPainter } from './hard-painter.ts';
import { sampleHardScript, type HardScript } from './hard-script.ts';
import { hardSoundTrack } from './hard-sound.ts';

export interface HardClipOptions {
  /** whole number of at least 0 */
  readonly seed: number;
  /** a key of WORLD.sizes; undefined = drawn with the seed */
  readonly size?: string | undefined;
  /** false = no sound track, and a caption that says nothing about sound */
  readonly sound: boolean;
}

export type HardTruth = Truth<HardScript>;

/** Deterministic: the same options give the same truth. */
export function hardTruth({ seed, size, sound }: HardClipOptions): HardTruth {
  const picture = WORLD.sizes[size ?? ''];
  const fixed = picture === undefined ? {} : { size: picture };
  const script = sampleHardScript(seed, new Rng(seed, 'hard script'), recordedLines(), fixed);
  return truthOf(hardCaption(script, sound), sound, script);
}

/**
 * Writes a new clip, and its truth beside it.
 * @param out ends in .mp4; the truth has the same name with .json. Existing files are overwritten.
 * @throws AvocadoError `bad_request` when it cannot be written there, `ffmpeg_missing`, `aborted`
 */
export async function sampleHardClip(options: HardClipOptions, out: string, signal: AbortSignal): Promise<HardTruth> {
  const truth = hardTruth(options);
  const { script } = truth;
  await writeClip(truth, out, signal, async () => {
    const voices = options.sound ? await Promise.all([openVoices(signal), openVoices(signal, 'accents')]) : [];
    const sound = options.sound
      ? { wave: hardSoundTrack(script, voices).wave, sampleRate: WORLD.sampleRate }
      : undefined;
    const frames = paintedFrames(new HardPainter(script), script);
    return { size: script.size, fps: script.fps, frames, sound, seconds: script.duration };
  });
  return truth;
}
