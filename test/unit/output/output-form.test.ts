import { describe, expect, it } from 'vitest';
import { outputForm, type OutputForm } from '../../../src/output/output-form.ts';
import type { OutputFormName } from '../../../src/settings/presets.ts';
import { timelineText } from '../../../src/output/subtitles.ts';

const RANGE = { start: 100, end: 160 };

function read(name: OutputFormName, pieces: readonly string[]): { readonly text: string; readonly form: OutputForm } {
  const form = outputForm(name, RANGE);
  if (form === undefined) throw new Error(`${name} has no form.`);
  return { text: pieces.map((piece) => form.push(piece)).join('') + form.flush(), form };
}

/** The text in one piece, in single characters, and cut at each place. */
function ways(text: string): readonly (readonly string[])[] {
  const cuts = Array.from(text, (_, at) => [text.slice(0, at), text.slice(at)]);
  return [[text], Array.from(text), ...cuts];
}

describe('a plain text', () => {
  it('has no form', () => {
    expect(outputForm('text', RANGE)).toBeUndefined();
  });
});

describe('a level tag', () => {
  it.each([
    ['A ball rolls. <level>A</level>', 'A ball rolls.'],
    ['A ball rolls.\n<level>F</level>\n', 'A ball rolls.'],
    ['<level>B</level>', ''],
    ['A ball. <level>G</level>', 'A ball. <level>G</level>'],
    ['A <level>A</level> ball.', 'A <level>A</level> ball.'],
    ['A <level>A</level><level>B</level>', 'A <level>A</level>'],
    ['1 < 2, and <level>', '1 < 2, and <level>'],
    ['A ball. <level>A</lev', 'A ball. <level>A</lev'],
    ['A ball.  \n', 'A ball.  \n'],
    ['', ''],
  ])('%j is shown as %j, however it is cut', (written, shown) => {
    for (const pieces of ways(written)) expect(read('level-tag', pieces).text).toBe(shown);
  });

  it('holds back nothing that cannot become one', () => {
    const form = outputForm('level-tag', RANGE);
    expect(['A ball', ' rolls <b', 'ig> on.'].map((piece) => form?.push(piece))).toEqual([
      'A ball',
      ' rolls <b',
      'ig> on.',
    ]);
  });
});

const SCENES = [
  { timestamp: '00:00-00:12', segment_detail_caption: 'A "red" ball {rolls}.', speech_content: 'None' },
  { timestamp: '00:12-01:00', segment_detail_caption: 'It stops.', camera_state: 'Still', storyline: '' },
];

describe('timed scenes', () => {
  it.each([
    ['an array', JSON.stringify(SCENES)],
    ['an indented array', `\n${JSON.stringify(SCENES, null, 2)}\n`],
    ['an array in a fence', `\`\`\`json\n${JSON.stringify(SCENES)}\n\`\`\``],
  ])('of %s become segments and a timeline, however it is cut', (_, written) => {
    for (const pieces of ways(written)) {
      const { text, form } = read('timed-scenes', pieces);
      const segments = form.segments();
      expect(segments).toEqual([
        {
          ...{ index: 0, start: 100, end: 112, finishReason: 'stop', timedBy: 'model' },
          caption: 'A "red" ball {rolls}.\nspeech content: None',
          details: { segment_detail_caption: 'A "red" ball {rolls}.', speech_content: 'None' },
        },
        {
          ...{ index: 1, start: 112, end: 160, finishReason: 'stop', timedBy: 'model' },
          caption: 'It stops.\ncamera state: Still',
          details: { segment_detail_caption: 'It stops.', camera_state: 'Still', storyline: '' },
        },
      ]);
      expect(text).toBe(timelineText(segments ?? []));
      expect(form.warnings).toEqual([]);
    }
  });

  it('grow by whole scenes', () => {
    const form = outputForm('timed-scenes', RANGE);
    const [first, second] = SCENES.map((scene) => JSON.stringify(scene));
    expect(form?.push(`[${first}`)).toContain('A "red" ball');
    expect(form?.push(`, ${second?.slice(0, 30)}`)).toBe('');
    expect(form?.push(`${second?.slice(30)}`)).toContain('It stops.');
  });

  it.each(['A ball rolls.', '[unsure] A ball rolls.', '{"timestamp": "00:00-00:01"}', '', '```\nA ball.'])(
    'that are none, %j, are shown as written',
    (written) => {
      for (const pieces of ways(written)) {
        const { text, form } = read('timed-scenes', pieces);
        expect(text).toBe(written);
        expect(form.segments()).toBeUndefined();
      }
    },
  );

  it.each([
    ['in a text', '[{"timestamp": "00:00-00:10", "segment_detail_caption": "A ball ro', 'A ball ro'],
    ['after an escape', '[{"timestamp": "00:00-00:10", "segment_detail_caption": "A \\"ball\\', 'A "ball'],
    ['after a field', '[{"timestamp": "00:00-00:10", "segment_detail_caption": "A ball.", ', 'A ball.'],
    ['behind a name', '[{"timestamp": "00:00-00:10", "segment_detail_caption": "A ball.", "speech":', 'A ball.'],
    ['in a name', '[{"timestamp": "00:00-00:10", "segment_detail_caption": "A ball.", "spee', 'A ball.'],
  ])('that were cut %s are kept as far as they go', (_, written, caption) => {
    const { text, form } = read('timed-scenes', Array.from(written));
    expect(form.segments()).toMatchObject([{ start: 100, end: 110, caption, finishReason: 'length' }]);
    expect(text).toBe(`[00:01:40.000 – 00:01:50.000]\n${caption}`);
  });

  it('that were cut before their text are shown as they stand', () => {
    const { text, form } = read('timed-scenes', ['[{"timestamp": "00:0']);
    expect([text, form.segments()]).toEqual(['[{"timestamp": "00:0', undefined]);
  });

  it.each(['01:10-01:30', '00:30-00:20', '00:10-00:10', 'soon', '', '00:0a-00:10', '1e9-2e9', '-00:01'])(
    'with a time that is none of the file, %j, keep their text and say so',
    (timestamp) => {
      const scene = { timestamp, segment_detail_caption: 'A ball.' };
      const { text, form } = read('timed-scenes', [JSON.stringify([scene, SCENES[0]])]);
      expect(text.startsWith('A ball.\n\n[00:01:40.000 – 00:01:52.000]\n')).toBe(true);
      expect(form.segments()).toHaveLength(1);
      expect(form.warnings).toEqual([expect.stringContaining('as the time of a scene') as string]);
    },
  );

  it('take seconds, hours and decimals, and an end behind the file as its end', () => {
    const times = ['0-5', '5.5 - 00:20', '00:00:20–00:00:30.25', '00:30-09:00'];
    const written = times.map((timestamp) => ({ timestamp, segment_detail_caption: 'x' }));
    const segments = read('timed-scenes', [JSON.stringify(written)]).form.segments() ?? [];
    expect(segments.map(({ start, end }) => [start, end])).toEqual([
      [100, 105],
      [105.5, 120],
      [120, 130.25],
      [130, 160],
    ]);
  });

  it('lose nothing that is no scene', () => {
    const { text } = read('timed-scenes', [`[${JSON.stringify(SCENES[1])}, {bad}, 5] That was all.`]);
    expect(text).toContain('It stops.');
    expect(text).toContain('{bad}');
    expect(text).toContain('That was all.');
  });
});
