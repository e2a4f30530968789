// How a display matrix turns the frames of a video. Pure.
import type { FrameSize } from './sampling.ts';
import type { VideoStream } from './types.ts';

type UprightFields = 'storedWidth' | 'storedHeight' | 'rotation' | 'uprightFilters' | 'width' | 'height';

/**
 * The fields of a video that its display matrix decides.
 * @param stored size before it is turned
 * @param matrix as ffprobe prints it: three lines of an address and three numbers; undefined: none
 */
export function upright(stored: FrameSize, matrix: string | undefined): Pick<VideoStream, UprightFields> {
  const { rotation, filters, sideways } = orientationOf(matrix);
  const { width, height } = stored;
  const turned = sideways ? { width: height, height: width } : { width, height };
  return { storedWidth: width, storedHeight: height, rotation, uprightFilters: filters, ...turned };
}

/** Degrees by which ffmpeg takes an angle for a quarter turn. */
const NEARLY = 1;

interface Orientation {
  /** degrees as ffprobe prints them; 0 where the matrix turns nothing */
  readonly rotation: number;
  /** of ffmpeg, for frames of the stored size */
  readonly filters: readonly string[];
  /** width and height are exchanged */
  readonly sideways: boolean;
}

/**
 * What a display matrix does to a frame, decided as the ffmpeg command line does. A matrix that is no rotation (all
 * zero, for one) does nothing.
 */
function orientationOf(printed: string | undefined): Orientation {
  const cells = [...(printed ?? '').matchAll(/-?\d+(?=\s|\\n)/g)].map(([cell]) => Number(cell));
  const [a = 0, b = 0, , c = 0, d = 0] = cells;
  const across = Math.hypot(a, c);
  const down = Math.hypot(b, d);
  if (across === 0 || down === 0) return { rotation: 0, filters: [], sideways: false };
  const clockwise = Math.round((Math.atan2(b / down, a / across) * 180) / Math.PI);
  const rotation = clockwise === 0 ? 0 : -clockwise;
  const angle = (clockwise + 360) % 360;
  const is = (turn: number): boolean => Math.abs(angle - turn) < NEARLY;
  if (is(90)) return { rotation, filters: [`transpose=${c > 0 ? 'cclock_flip' : 'clock'}`], sideways: true };
  if (is(270)) return { rotation, filters: [`transpose=${c < 0 ? 'clock_flip' : 'cclock'}`], sideways: true };
  const flips = [...(a < 0 ? ['hflip'] : []), ...(d < 0 ? ['vflip'] : [])];
  if (is(180)) return { rotation, filters: flips, sideways: false };
  if (is(0)) return { rotation, filters: d < 0 ? ['vflip'] : [], sideways: false };
  return { rotation, filters: [`rotate=${angle}*PI/180`], sideways: false };
}
