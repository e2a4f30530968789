import { expect, test } from 'vitest';
import {
  clockTime,
  markdownText,
  srtText,
  timelineText,
  vttText,
  wholeCaption,
} from '../../../src/output/subtitles.ts';

const PARTS = [
  { start: 0, end: 44.9996, caption: 'A <b>red</b> circle & a star.\n\nIt says "a --> b".' },
  { start: 44.9996, end: 44.9998, caption: 'shorter than a millisecond' },
  { start: 45, end: 3661.5, caption: '  Rain is heard.\r\n' },
  { start: 3661.5, end: 3700, caption: ' \n ' },
];

test('a time is written to the nearest millisecond, with carries', () => {
  expect([0, 0.0004, 59.9996, 3599.9999, 360_000.25, -1].map((seconds) => clockTime(seconds))).toEqual([
    '00:00:00.000',
    '00:00:00.000',
    '00:01:00.000',
    '01:00:00.000',
    '100:00:00.250',
    '00:00:00.000',
  ]);
});

test('WebVTT escapes text, and holds no empty line, empty cue or cue without a duration', () => {
  expect(vttText(PARTS)).toBe(
    'WEBVTT\n\n1\n00:00:00.000 --> 00:00:45.000\nA &lt;b&gt;red&lt;/b&gt; circle &amp; a star.\n' +
      'It says "a --&gt; b".\n\n2\n00:00:45.000 --> 01:01:01.500\nRain is heard.\n',
  );
  expect(vttText([])).toBe('WEBVTT\n');
});

test('SubRip has commas in its times and no arrow in its text', () => {
  expect(srtText(PARTS)).toBe(
    '1\n00:00:00,000 --> 00:00:45,000\nA <b>red</b> circle & a star.\nIt says "a → b".\n\n' +
      '2\n00:00:45,000 --> 01:01:01,500\nRain is heard.\n',
  );
});

test('a caption in one piece is one cue over its part of the file; that of a picture lasts a second', () => {
  const cue = (durationSeconds: number, part?: { start: number; end: number }): string =>
    vttText([wholeCaption('A star.', { durationSeconds, ...(part === undefined ? {} : { part }) })]);
  expect(cue(4)).toContain('00:00:00.000 --> 00:00:04.000\nA star.');
  expect(cue(2, { start: 60, end: 62 })).toContain('00:01:00.000 --> 00:01:02.000\nA star.');
  expect(cue(0)).toContain('00:00:00.000 --> 00:00:01.000\nA star.');
});

test('a timeline and Markdown keep every part, also an empty one', () => {
  expect(timelineText(PARTS.slice(2))).toBe(
    '[00:00:45.000 – 01:01:01.500]\nRain is heard.\n\n[01:01:01.500 – 01:01:40.000]\n',
  );
  expect(markdownText(PARTS.slice(2, 3), 'clip\n1.mp4')).toBe(
    '# clip 1.mp4\n\n## 00:00:45.000 – 01:01:01.500\n\nRain is heard.\n',
  );
});
