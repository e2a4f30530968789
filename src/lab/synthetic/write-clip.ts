// Writes a clip of the world and the truth about it, both or neither.
import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { AvocadoError } from '../../base/errors.ts';
import { unfinishedName } from '../../base/replace-file.ts';
import { encodeMp4, type RawClip } from '../../media/encode-mp4.ts';
import { readCaption } from './read-caption.ts';
import { dialogueOf, keypointsOf, type Keypoint, type SpokenLine } from './score-caption.ts';

/** The contents of a clip, with which a caption of it is compared. */
export interface Truth<Script> {
  readonly caption: string;
  readonly dialogue: readonly SpokenLine[];
  readonly keypoints: readonly Keypoint[];
  readonly sound: boolean;
  readonly script: Script;
}

/** @param sound whether the clip has a sound track, which the caption then describes */
export function truthOf<Script>(caption: string, sound: boolean, script: Script): Truth<Script> {
  return { caption, dialogue: dialogueOf(caption), keypoints: keypointsOf(readCaption(caption)), sound, script };
}

/** All frames of a clip, rgb24. @param painter by the time in seconds */
export function* paintedFrames(
  painter: { frameAt(time: number): Uint8Array },
  { duration, fps }: { readonly duration: number; readonly fps: number },
): Generator<Uint8Array> {
  const count = Math.round(duration * fps);
  for (let index = 0; index < count; index++) yield painter.frameAt(index / fps);
}

/** `clip.mp4` → `clip.json` */
export function truthPath(out: string): string {
  return out.replace(/\.mp4$/i, '.json');
}

/**
 * Existing files are overwritten, but not before the new clip is complete.
 * @param out ends in .mp4
 * @param clip makes the clip; called once it is known that `out` can be written
 * @throws AvocadoError `bad_request` when it cannot be written there, `ffmpeg_missing`, `aborted`
 */
export async function writeClip(
  truth: object,
  out: string,
  signal: AbortSignal,
  clip: () => Promise<RawClip>,
): Promise<void> {
  const unfinished = unfinishedName(out);
  await wrapWriteError(out, writeFile(unfinished, ''));
  try {
    await refuseDirectory(out);
    await encodeMp4(await clip(), unfinished, signal);
    await wrapWriteError(truthPath(out), writeFile(truthPath(out), `${JSON.stringify(truth, null, 1)}\n`));
    await wrapWriteError(out, rename(unfinished, out));
  } finally {
    await rm(unfinished, { force: true });
  }
}

async function refuseDirectory(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() === true)
    throw new AvocadoError('bad_request', `${path} is a directory. Name a file.`, { param: 'file' });
}

async function wrapWriteError(path: string, writing: Promise<void>): Promise<void> {
  await writing.catch((cause: unknown) => {
    const { code = String(cause) } = cause as NodeJS.ErrnoException;
    throw new AvocadoError(
      'bad_request',
      `${path} cannot be written (${code}). Name a file in a directory that exists and that you may write to.`,
      { cause, param: 'file' },
    );
  });
}
