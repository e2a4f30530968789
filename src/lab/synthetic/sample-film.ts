// A film of the synthetic world: clips one after the other, as a long video with known contents.
import { Rng } from './rng.ts';
import { framesOf, sampleTruth, type ClipTruth } from './sample-clip.ts';
import { soundTrack } from './sound-track.ts';
import { WORLD } from './vocabulary.ts';
import { openVoices } from './voices.ts';
import { writeClip } from './write-clip.ts';

export interface FilmOptions {
  readonly seed: number;
  readonly minutes: number;
  /** a key of WORLD.sizes */
  readonly size?: string | undefined;
  /** of each clip, least and most; undefined: as a single clip is drawn, 3 to 16 */
  readonly clipSeconds?: readonly [least: number, most: number] | undefined;
}

/** A clip of the film and its time there, seconds. */
export interface FilmShot extends ClipTruth {
  readonly start: number;
  readonly end: number;
}

const FILM_FPS = 25;
const DEFAULT_SIZE = '16:9';

/** Seeds of clips that belong to one film. */
const SEEDS_OF_FILM = 1000;

/**
 * The clips of a film, each with the times at which it is shown. Those that follow each other differ in their
 * background: else an object that comes and a cut would look the same. Deterministic.
 */
export function filmTruth({ seed, minutes, size = DEFAULT_SIZE, clipSeconds }: FilmOptions): FilmShot[] {
  const shots: FilmShot[] = [];
  const lengths = new Rng(seed, 'lengths');
  let clip = 0;
  for (let start = 0; start < minutes * 60;) {
    const seconds = clipSeconds && lengths.between(...clipSeconds);
    const before = shots.at(-1)?.script.background;
    let drawn: ClipTruth;
    do drawn = sampleTruth({ seed: seed * SEEDS_OF_FILM + clip++, size, sound: true, seconds });
    while (drawn.script.background === before);
    // A whole number of frames, so that each clip begins at one.
    const frames = Math.round(drawn.script.duration * FILM_FPS);
    const truth = { ...drawn, script: { ...drawn.script, fps: FILM_FPS, duration: frames / FILM_FPS } };
    const end = start + frames / FILM_FPS;
    shots.push({ ...truth, start, end });
    start = end;
  }
  return shots;
}

/**
 * Writes a film, and the truth about its clips beside it.
 * @param out ends in .mp4; existing files are overwritten
 * @throws AvocadoError `ffmpeg_missing`, `aborted`
 */
export async function sampleFilm(options: FilmOptions, out: string, signal: AbortSignal): Promise<FilmShot[]> {
  const shots = filmTruth(options);
  const recording = await openVoices(signal);
  const pieces = shots.map(({ script }) => soundTrack(script, recording));
  const wave = new Float32Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    wave.set(piece, at);
    at += piece.length;
  }
  function* frames(): Generator<Uint8Array> {
    for (const { script } of shots) yield* framesOf(script);
  }
  await writeClip({ shots }, out, signal, () =>
    Promise.resolve({
      size: WORLD.sizes[options.size ?? DEFAULT_SIZE] ?? [320, 180],
      fps: FILM_FPS,
      frames: frames(),
      sound: { wave, sampleRate: WORLD.sampleRate },
      seconds: shots.at(-1)?.end ?? 0,
    }),
  );
  return shots;
}
