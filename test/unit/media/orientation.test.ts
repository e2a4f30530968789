import { expect, test } from 'vitest';
import { upright } from '../../../src/media/orientation.ts';

/** Nine numbers as ffprobe prints them. */
function printed(a: number, b: number, c: number, d: number): string {
  const row = (at: number, ...cells: number[]): string =>
    `0000000${at}: ${cells.map((cell) => String(Math.round(cell * 65_536)).padStart(12)).join('')}\\n`;
  return `\\n${row(0, a, b, 0)}${row(1, c, d, 0)}00000002:            0           0  1073741824\\n`;
}

const cos = (degrees: number): number => Math.cos((degrees * Math.PI) / 180);
const sin = (degrees: number): number => Math.sin((degrees * Math.PI) / 180);
const turned = (degrees: number): string => printed(cos(degrees), sin(degrees), -sin(degrees), cos(degrees));

// What the ffmpeg command line does with each.
test.each([
  ['nothing', undefined, 0, [], false],
  ['the identity', turned(0), 0, [], false],
  ['zeros', printed(0, 0, 0, 0), 0, [], false],
  ['a row of zeros', printed(1, 0, 0, 0), 0, [], false],
  ['90 degrees', turned(90), -90, ['transpose=clock'], true],
  ['180 degrees', turned(180), -180, ['hflip', 'vflip'], false],
  ['270 degrees', turned(270), 90, ['transpose=cclock'], true],
  ['10 degrees', turned(10), -10, ['rotate=10*PI/180'], false],
  ['45 degrees to the left', turned(-45), 45, ['rotate=315*PI/180'], false],
  ['a mirror', printed(-1, 0, 0, 1), -180, ['hflip'], false],
  ['upside down', printed(1, 0, 0, -1), 0, ['vflip'], false],
  ['a mirrored quarter turn', printed(0, 1, 1, 0), -90, ['transpose=cclock_flip'], true],
])('a matrix of %s', (_, matrix, rotation, uprightFilters, sideways) => {
  expect(upright({ width: 320, height: 180 }, matrix)).toEqual({
    storedWidth: 320,
    storedHeight: 180,
    rotation,
    uprightFilters,
    width: sideways ? 180 : 320,
    height: sideways ? 320 : 180,
  });
});
