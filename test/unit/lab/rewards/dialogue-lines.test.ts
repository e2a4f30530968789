import { describe, expect, it } from 'vitest';
import { parseDialogueLines } from '../../../../src/lab/rewards/dialogue-lines.ts';
import { parseSpeakerAnswers } from '../../../../src/lab/rewards/speaker-answers.ts';

describe('parseDialogueLines', () => {
  it.each<[name: string, reply: string, lines: readonly (readonly [string, string])[]]>([
    [
      'one line each',
      'Man in red: "Hello."\n\nWoman: "Hi there!"\n',
      [
        ['Man in red', 'Hello.'],
        ['Woman', 'Hi there!'],
      ],
    ],
    [
      'any quotes, or none',
      "A: “one”\nB: 'two'\nC: 「三」\nD: four",
      [
        ['A', 'one'],
        ['B', 'two'],
        ['C', '三'],
        ['D', 'four'],
      ],
    ],
    ['full-width colons', '男人：“你好”', [['男人', '你好']]],
    [
      'colons in a description, when the words are quoted',
      'Man, text: STAFF: "I said: "no""',
      [['Man, text: STAFF', 'I said: "no"']],
    ],
    ['colons in words without quotes', 'Man: it is 10:30', [['Man', 'it is 10:30']]],
    [
      'words that go on below',
      'Man: "I came\nback home"\nWoman: oh\nreally',
      [
        ['Man', 'I came back home'],
        ['Woman', 'oh really'],
      ],
    ],
    ['nothing after closed quotes', 'Man: "Bye."\n(they leave)', [['Man', 'Bye.']]],
    ['no lines without words', 'Man: "…"\nWoman: "Yes"\nBoy: ""', [['Woman', 'Yes']]],
    ['apostrophes in descriptions', 'Man\'s friend: "it\'s me"', [["Man's friend", "it's me"]]],
  ])('reads %s', (_name, reply, lines) => {
    expect(parseDialogueLines(reply)).toEqual(lines.map(([speaker, content]) => ({ speaker, content })));
  });

  it.each(['None.', 'none', ' "None."'])('takes %s for silence', (reply) => {
    expect(parseDialogueLines(reply)).toEqual([]);
  });

  it.each(['', 'Nobody can be heard', 'Man: "…"'])('cannot read %j, which is to be asked again', (reply) => {
    expect(parseDialogueLines(reply)).toBeUndefined();
  });
});

describe('parseSpeakerAnswers', () => {
  it('reads one word a pair', () => {
    expect(parseSpeakerAnswers('Yes No\nyes, NO.', 4)).toEqual([true, false, true, false]);
    expect(parseSpeakerAnswers('1. Yes 2. No', 2)).toEqual([true, false]);
  });

  it.each([
    ['Yes Yes', 3],
    ['Yes', 0],
    ['Not sure', 1],
    ['', 1],
  ] as const)('cannot read %j for %d pairs', (reply, pairs) => {
    expect(parseSpeakerAnswers(reply, pairs)).toBeUndefined();
  });
});
