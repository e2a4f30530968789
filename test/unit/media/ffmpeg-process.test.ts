import { expect, test } from 'vitest';
import { DecoderLog, shortage } from '../../../src/media/ffmpeg-process.ts';

test('the log keeps the last lines, counts all errors, and drops info lines and addresses', () => {
  const log = new DecoderLog();
  log.add('  Duration: 00:00:04.00 [info]');
  log.add('');
  for (let i = 0; i < 3000; i++) log.add(`[h264 @ 0x55d9f28f4980] [error] bad block ${i}`);
  log.add('[mp4 @ 0x1] [warning] odd');
  log.add(`[error] ${'x'.repeat(10_000)}`);
  expect(log.errors).toBe(3001);
  expect(log.lines().length).toBe(20);
  expect(log.lines().at(-3)).toBe('[h264] [error] bad block 2999');
  expect(log.lines().at(-1)?.length).toBe(300);
});

test('a program for which there is no room at the moment may be tried again; one that is not there may not', () => {
  const failed = (code: string): Error => Object.assign(new Error(`spawn ffmpeg ${code}`), { code });
  expect(['EAGAIN', 'ENOMEM', 'EMFILE'].map((code) => shortage('ffmpeg', failed(code))?.code)).toEqual(
    Array(3).fill('engine_error'),
  );
  expect(['ENOENT', 'EACCES'].map((code) => shortage('ffmpeg', failed(code)))).toEqual([undefined, undefined]);
});
