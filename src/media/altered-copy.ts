// Copies of a file with one of its two sides taken away: for telling what a caption was made from.
import { AvocadoError } from '../base/errors.ts';
import { convertFile } from './ffmpeg.ts';
import { DEFAULT_LIMITS } from './types.ts';

/**
 * `muted`: the same pictures, and a sound track that is silent. `blanked`: the same sound, and black pictures.
 * `sound`: only the sound, mono at 16 kHz, as WAV.
 */
export type Alteration = 'muted' | 'blanked' | 'sound';

/** V is a video that is no cover picture. A packet that is copied needs no decoder, so the pictures stay the same. */
const OPTIONS = {
  muted: ['-map', '0:V?', '-map', '0:a', '-c:v', 'copy', '-af', 'volume=0', '-c:a', 'pcm_s16le', '-f', 'matroska'],
  blanked: [
    ...['-map', '0:V', '-map', '0:a?', '-c:a', 'copy'],
    // yuv444p: H.264 with half of the colours needs even sizes.
    ...['-vf', 'format=yuv444p,drawbox=color=black:t=fill', '-fps_mode', 'passthrough'],
    ...['-c:v', 'libx264', '-preset', 'ultrafast', '-f', 'matroska'],
  ],
  sound: ['-vn', '-sn', '-dn', '-ac', '1', '-ar', '16000', '-c:a', 'pcm_s16le', '-f', 'wav'],
} as const satisfies Record<Alteration, readonly string[]>;

/** Decoding and encoding a film takes a while; a clip, a second. */
const TIMEOUT_SECONDS = 3600;

/**
 * Writes an altered copy of a whole file.
 * @param part only this part of it, in seconds; the copy begins at its first packet or sample
 * @throws AvocadoError `media_undecodable` when ffmpeg cannot make it, `ffmpeg_missing`, `media_timeout`, `aborted`
 */
export async function alteredCopy(
  path: string,
  alteration: Alteration,
  out: string,
  signal: AbortSignal,
  part?: { readonly start: number; readonly end: number },
): Promise<void> {
  const limits = part === undefined ? [] : ['-ss', String(part.start), '-to', String(part.end)];
  const { exitCode, log } = await convertFile({
    path,
    out,
    outputOptions: [...limits, ...OPTIONS[alteration]],
    maxPixels: DEFAULT_LIMITS.maxPixels,
    timeoutSeconds: TIMEOUT_SECONDS,
    signal,
  });
  if (exitCode === 0) return;
  const reason = log.at(-1) ?? `exit code ${exitCode ?? 'unknown'}`;
  throw new AvocadoError('media_undecodable', `No ${alteration} copy of the file could be made: ${reason}`);
}
