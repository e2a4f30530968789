// Which ffmpeg and ffprobe are used, and whether they are recent enough.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { readVariable } from '../base/env.ts';
import { AvocadoError } from '../base/errors.ts';

export interface FfmpegVersion {
  /** programs as they are started */
  readonly ffmpeg: string;
  readonly ffprobe: string;
  /** as it calls itself, such as 5.1.9-0+deb12u1 */
  readonly version: string;
  /** built with libsoxr, the reference's resampler */
  readonly soxr: boolean;
}

const run = promisify(execFile);

/** libavutil of ffmpeg 5.1: builds from git name no release, but every build names its libraries. */
const NEEDED = { major: 57, minor: 28 };

const HOW_TO_GET = 'Install it with: sudo apt-get install -y ffmpeg (or set FFMPEG_PATH and FFPROBE_PATH).';

const found = new Map<string, Promise<FfmpegVersion>>();

/**
 * Finds ffmpeg and ffprobe and checks their age; asked once per process and pair of paths.
 * @throws AvocadoError `ffmpeg_missing` when either is absent, does not run, or is older than 5.1
 */
export function ffmpegVersion(): Promise<FfmpegVersion> {
  const ffmpeg = readVariable('FFMPEG_PATH') ?? 'ffmpeg';
  const ffprobe = readVariable('FFPROBE_PATH') ?? 'ffprobe';
  const key = `${ffmpeg}\n${ffprobe}`;
  const known = found.get(key);
  if (known !== undefined) return known;
  const asked = Promise.all([banner(ffmpeg), banner(ffprobe)]).then(([text]) => ({
    ffmpeg,
    ffprobe,
    version: /^ffmpeg version (\S+)/.exec(text)?.[1] ?? 'unknown',
    soxr: text.includes('--enable-libsoxr'),
  }));
  found.set(key, asked);
  // Someone may install it while we run.
  asked.catch(() => found.delete(key));
  return asked;
}

async function banner(program: string): Promise<string> {
  let text: string;
  try {
    text = (await run(program, ['-version'], { timeout: 10_000, killSignal: 'SIGKILL' })).stdout;
  } catch (cause) {
    throw new AvocadoError('ffmpeg_missing', `${program} cannot be run; ffmpeg 5.1 or newer is needed. ${HOW_TO_GET}`, {
      cause,
    });
  }
  const [, major = 0, minor = 0] = (/^libavutil\s+(\d+)\.\s*(\d+)\./m.exec(text) ?? []).map(Number);
  if (major > NEEDED.major || (major === NEEDED.major && minor >= NEEDED.minor)) return text;
  throw new AvocadoError(
    'ffmpeg_missing',
    `${program} is too old (${text.split('\n')[0] ?? ''}); ffmpeg 5.1 or newer is needed. ${HOW_TO_GET}`,
  );
}
