import fluent from 'fluent-ffmpeg';
import { AvocadoError } from '../base/errors.ts';
import { ffmpegVersion, fileUrl, quietly } from './ffmpeg.ts';
import { descriptor, runProcess } from './ffmpeg-process.ts';

export interface RawClip {
  /** width and height, pixels, both even */
  readonly size: readonly [number, number];
  readonly fps: number;
  /** rgb24, one item per frame */
  readonly frames: Iterable<Uint8Array>;
  /** mono, -1 to 1; undefined = no sound track */
  readonly sound: { readonly wave: Float32Array; readonly sampleRate: number } | undefined;
  /** how long it lasts, where that is minutes */
  readonly seconds?: number | undefined;
}

/** Encoding takes about as long as the clip lasts; this deadline only ends an ffmpeg that hangs. */
const ENCODE_SECONDS = 300;
const ENCODE_SECONDS_PER_SECOND = 4;

/**
 * Writes a clip that common players play: H.264 and AAC in mp4. Overwrites a file of that name.
 * @throws AvocadoError `ffmpeg_missing` when ffmpeg lacks an encoder or fails, `media_timeout`, `aborted`; or what
 *   `frames` threw
 */
export async function encodeMp4(clip: RawClip, out: string, signal: AbortSignal): Promise<void> {
  const { fps, frames, sound, seconds = 0 } = clip;
  const timeoutSeconds = Math.max(ENCODE_SECONDS, ENCODE_SECONDS_PER_SECOND * seconds);
  const [width, height] = clip.size;
  const { ffmpeg } = await ffmpegVersion();
  const fromPipe = ['-protocol_whitelist', 'pipe', '-f'];
  const command = fluent()
    .input(`pipe:${descriptor(0)}`)
    .inputOptions(...quietly('error'), ...fromPipe, 'rawvideo', '-pix_fmt', 'rgb24')
    .inputOptions('-s', `${width}x${height}`, '-r', String(fps))
    .outputOptions('-c:v', 'libx264', '-preset', 'veryfast', '-crf', '20', '-pix_fmt', 'yuv420p');
  const inputs = [frames];
  if (sound !== undefined) {
    command
      .input(`pipe:${descriptor(1)}`)
      .inputOptions(...fromPipe, 's16le', '-ac', '1', '-ar', String(sound.sampleRate))
      .outputOptions('-c:a', 'aac', '-b:a', '64k');
    inputs.push([pcm16(sound.wave)]);
  }
  const { exitCode, log } = await runProcess({
    program: ffmpeg,
    args: command.outputOptions('-f', 'mp4', '-y').output(fileUrl(out))._getArguments(),
    timeoutSeconds,
    timeoutMessage: `Encoding took longer than ${timeoutSeconds} s and was stopped. Make a shorter clip.`,
    signal,
    inputs,
  });
  if (exitCode === 0) return;
  const reason = log.at(-1) ?? `exit code ${exitCode ?? 'unknown'}`;
  throw new AvocadoError(
    'ffmpeg_missing',
    `ffmpeg could not write the clip (${reason}). ` +
      'It needs libx264 and aac: install a complete build, then run: avocado doctor',
  );
}

function pcm16(wave: Float32Array): Uint8Array {
  const bytes = Buffer.alloc(wave.length * 2);
  wave.forEach((level, index) => bytes.writeInt16LE(Math.round(level * 32767), index * 2));
  return bytes;
}
