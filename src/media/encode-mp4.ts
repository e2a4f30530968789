import { AvocadoError } from '../base/errors.ts';
import { runEncoder } from './ffmpeg.ts';

export interface RawClip {
  /** width and height, pixels, both even */
  readonly size: readonly [number, number];
  readonly fps: number;
  /** rgb24, one piece a frame */
  readonly frames: Iterable<Uint8Array>;
  /** mono, -1 to 1; undefined = no sound track */
  readonly sound: { readonly wave: Float32Array; readonly sampleRate: number } | undefined;
}

/** A clip of seconds takes seconds; this is for a machine that has stopped. */
const ENCODE_SECONDS = 300;

/**
 * Writes a clip as players like it: H.264 and AAC. A file of that name is written over.
 * @throws AvocadoError `ffmpeg_missing` when it lacks an encoder or fails, `media_timeout`, `aborted`
 */
export async function encodeMp4(clip: RawClip, out: string, signal: AbortSignal): Promise<void> {
  const {
    size: [width, height],
    fps,
    frames,
    sound,
  } = clip;
  const pictures = {
    options: ['-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', `${width}x${height}`, '-r', String(fps)],
    pieces: frames,
  };
  const track =
    sound === undefined
      ? []
      : [{ options: ['-f', 's16le', '-ac', '1', '-ar', String(sound.sampleRate)], pieces: [pcm16(sound.wave)] }];
  const codecs = [
    '-c:v',
    'libx264',
    '-preset',
    'veryfast',
    '-crf',
    '20',
    '-pix_fmt',
    'yuv420p',
    ...(sound === undefined ? [] : ['-c:a', 'aac', '-b:a', '64k']),
  ];
  const { exitCode, log } = await runEncoder({
    inputs: [pictures, ...track],
    outputOptions: [...codecs, '-f', 'mp4'],
    out,
    timeoutSeconds: ENCODE_SECONDS,
    signal,
  });
  if (exitCode === 0) return;
  throw new AvocadoError(
    'ffmpeg_missing',
    `ffmpeg could not write the clip (${log.at(-1) ?? `exit code ${exitCode ?? 'unknown'}`}). It needs libx264 and aac: install a complete build, then run: avocado doctor`,
  );
}

function pcm16(wave: Float32Array): Uint8Array {
  const bytes = Buffer.alloc(wave.length * 2);
  wave.forEach((level, index) => bytes.writeInt16LE(Math.round(level * 32767), index * 2));
  return bytes;
}
