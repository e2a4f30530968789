// The parts of --verify that decide: claims and how they are taken out, entailment by rules and by a judge, error
// rates of spoken lines, and verdicts from evidence.
import { describe, expect, it } from 'vitest';
import type { Claim, ClaimReader } from '../../../../src/lab/verify/claims.ts';
import { countClaims, judgeClaim, type Evidence } from '../../../../src/lab/verify/decide.ts';
import { judgeReader, parseClaims } from '../../../../src/lab/verify/judge-reader.ts';
import { lineErrorRate, wordErrorRate, wordsOf } from '../../../../src/lab/verify/transcript.ts';
import { cleanedEnd, judgeCaption, type Verification } from '../../../../src/lab/verify/verify.ts';
import type { CaptionEnd } from '../../../../src/output/events.ts';
import { wordsReader } from '../../../../src/lab/verify/words-reader.ts';
import { isOfWorld, worldReader } from '../../../../src/lab/verify/world-reader.ts';
import { scoreCaption } from '../../../../src/lab/synthetic/score-caption.ts';
import { CAPTIONS } from '../synthetic/captions.ts';

const { signal } = new AbortController();

const WORLD_CAPTION =
  'On a plain gray background there is a small red circle on the left, a large blue star in the center and a small ' +
  'pink square on the right. The word "STOP" is shown at the top. At first, the red circle moves up while a man says ' +
  '"wait while one". Then, a high beep is heard.';

/** The caption without the claims whose text holds one of these words. */
async function without(reader: ClaimReader, caption: string, words: readonly string[]): Promise<string> {
  const claims = await reader.claims(caption, signal);
  const dropped = claims.map(({ text }) => words.some((word) => text.includes(word)));
  return reader.without(caption, claims, dropped, signal);
}

it('a cleaned caption keeps its numbers and abbreviations whole', async () => {
  const caption = 'A 3.5 m red pole stands at example.com. A dog barks. A man waves at 10.15 a.m., etc., and leaves.';
  const left = 'A 3.5 m red pole stands at example.com. A man waves at 10.15 a.m., etc., and leaves.';
  expect(await without(wordsReader(), caption, ['dog'])).toBe(left);
});

describe('captions of the synthetic world', () => {
  const reader = worldReader();

  it('are split into what they state, each with its sense', async () => {
    const claims = await reader.claims(WORLD_CAPTION, signal);
    expect(claims.map(({ text, sentence, sense, line }) => [sentence, sense, text, line])).toEqual([
      [0, 'sight', 'a plain gray background', undefined],
      [0, 'sight', 'a small red circle on the left', undefined],
      [0, 'sight', 'a large blue star in the center', undefined],
      [0, 'sight', 'a small pink square on the right', undefined],
      [1, 'sight', 'The word "STOP" is shown at the top.', undefined],
      [2, 'sight', 'the red circle moves up', undefined],
      [2, 'speech', 'a man says "wait while one"', 'wait while one'],
      [3, 'sound', 'a high beep is heard', undefined],
    ]);
    const [silence] = await reader.claims('There is no sound.', signal);
    expect(silence?.sense).toBe('absence');
  });

  it.each([
    [[], WORLD_CAPTION],
    [['star'], WORLD_CAPTION.replace(', a large blue star in the center', '')],
    [['pink', 'star'], WORLD_CAPTION.replace(/, a large blue star in the center and .*? right/, '')],
    [['gray'], WORLD_CAPTION.replace('On a plain gray background there', 'There')],
    [['STOP', 'moves'], WORLD_CAPTION.replace(/The word.*?top\. /, '').replace('the red circle moves up while ', '')],
    [['beep', 'says'], WORLD_CAPTION.replace(' while a man says "wait while one"', '').replace(/ Then.*/, '')],
    [['small', 'large'], 'There is a plain gray background.' + WORLD_CAPTION.slice(WORLD_CAPTION.indexOf(' The word'))],
  ])('lose %j and nothing else', async (words, expected) => {
    expect(await without(reader, WORLD_CAPTION, words)).toBe(expected);
  });

  it('have as many claims as the score counts, and keep exactly those that are not dropped', async () => {
    for (const { reference } of CAPTIONS) {
      const claims = await reader.claims(reference, signal);
      expect(claims.length).toBe(scoreCaption(reference, reference).toldClaims);
      expect(await reader.stated(claims, reference, signal)).toEqual(claims.map(() => true));
      for (const index of claims.keys()) {
        const dropped = claims.map((_, place) => place === index);
        const left = await reader.without(reference, claims, dropped, signal);
        const { toldClaims, falseClaims } = scoreCaption(left, reference);
        expect([toldClaims, falseClaims], left).toEqual([claims.length - 1, 0]);
      }
    }
  });

  it('are told from other captions, also when they are cut off', () => {
    expect([WORLD_CAPTION, WORLD_CAPTION.slice(0, -20), 'There is no sound.'].map(isOfWorld)).toEqual([
      true,
      true,
      true,
    ]);
    expect(['', 'A man walks. He says "hello".'].map(isOfWorld)).toEqual([false, false]);
  });
});

const CAPTION =
  'A man in a red coat walks along a beach. Loud music is playing. He says: "We should go home now." There is no wind ' +
  'to be heard.';

describe('captions in any words, by rules', () => {
  const reader = wordsReader();

  it('are split into sentences and quoted lines', async () => {
    const claims = await reader.claims(CAPTION, signal);
    expect(claims.map(({ sentence, sense, line }) => [sentence, sense, line])).toEqual([
      [0, 'sight', undefined],
      [1, 'sound', undefined],
      [2, 'speech', 'We should go home now.'],
      [3, 'absence', undefined],
    ]);
  });

  it('state what shares most of its words, and lines that are alike', async () => {
    const claims = await reader.claims(CAPTION, signal);
    const other = 'On the beach a man walks who wears a red coat. A woman says "We should go home!"';
    expect(await reader.stated(claims, other, signal)).toEqual([true, false, true, false]);
  });

  it('lose the sentence of a claim that is dropped', async () => {
    expect(await without(reader, CAPTION, ['music', 'home'])).toBe(
      'A man in a red coat walks along a beach. There is no wind to be heard.',
    );
  });
});

describe('a judge that reads captions', () => {
  const claimsReply = JSON.stringify([
    { sentence: 1, claim: 'A man walks along a beach', sense: 'sight' },
    { sentence: 1, claim: 'His coat is red', sense: 'Sight' },
    { sentence: 3, claim: 'He says that they should go home', sense: 'speech', words: '"We should go home now."' },
  ]);

  const judgeOf = (answer: (question: string, repeats: number) => string): ClaimReader =>
    judgeReader({
      model: 'judge-1',
      droppedFields: [],
      ask: async (content, repeats) => answer(content as string, repeats),
    });

  it('splits, compares and rewrites, and is asked again for what cannot be read', async () => {
    const asked: string[] = [];
    const reader = judgeOf((question, repeats) => {
      asked.push(question);
      if (question.includes('Split them')) return repeats === 0 ? 'Sure!' : `Here: ${claimsReply}`;
      return question.includes('Rewrite') ? '["A man walks along a beach."]' : 'Yes, No, Yes.';
    });
    const claims = await reader.claims(CAPTION, signal);
    expect(claims.map(({ sentence, sense, line }) => [sentence, sense, line])).toEqual([
      [0, 'sight', undefined],
      [0, 'sight', undefined],
      [2, 'speech', 'We should go home now.'],
    ]);
    expect(asked.length).toBe(2);
    expect(await reader.stated(claims, 'A man walks.', signal)).toEqual([true, false, true]);
    expect(await reader.without(CAPTION, claims, [false, true, true], signal)).toBe(
      'A man walks along a beach. Loud music is playing. There is no wind to be heard.',
    );
    expect(asked.at(-1)).toContain('must not say: His coat is red');
    expect(reader.describe()).toMatchObject({ kind: 'judge', model: 'judge-1' });
  });

  it('drops a sentence that it does not rewrite, and asks nothing about an empty caption', async () => {
    let asked = 0;
    const reader = judgeOf((question) => {
      asked += 1;
      return question.includes('Split them') ? claimsReply : 'I would rather not.';
    });
    const claims = await reader.claims(CAPTION, signal);
    expect(await reader.without(CAPTION, claims, [true, false, false], signal)).not.toContain('beach');
    const before = asked;
    expect(await reader.stated(claims, ' ', signal)).toEqual([false, false, false]);
    expect([asked, await reader.claims('', signal)]).toEqual([before, []]);
    await expect(reader.stated(claims, CAPTION, signal)).rejects.toMatchObject({ code: 'parse_failed' });
  });

  it.each([
    ['no list', '{"claims": "none"}'],
    ['a sentence that is not there', '[{"sentence": 9, "claim": "x", "sense": "sight"}]'],
    ['an unknown sense', '[{"sentence": 1, "claim": "x", "sense": "smell"}]'],
    ['no number', '[{"sentence": {"toString": 1}, "claim": "x", "sense": "sight"}]'],
    ['no text', '[{"sentence": 1, "claim": " ", "sense": "sight"}]'],
  ])('is not understood when it gives %s', (_, reply) => {
    expect(parseClaims(reply, 4)).toBeUndefined();
  });
});

describe('spoken lines against a transcript', () => {
  it('are compared by words, without case and marks', () => {
    expect(wordsOf('Don’t GO—now, 今天 ok?')).toEqual(["don't", 'go', 'now', '今', '天', 'ok']);
    expect(wordErrorRate(wordsOf('we go home'), wordsOf('We should go home.'))).toBeCloseTo(1 / 4);
    expect(wordErrorRate(wordsOf('a b c'), wordsOf('x b'))).toBeCloseTo(2 / 2);
    expect([wordErrorRate([], []), wordErrorRate(['a', 'b'], [])]).toEqual([undefined, 2]);
  });

  it('are looked for anywhere in it', () => {
    const transcript = wordsOf('Good morning. We should go home now, said the man.');
    expect(lineErrorRate(wordsOf('We should go home now!'), transcript)).toBe(0);
    expect(lineErrorRate(wordsOf('We should come home now'), transcript)).toBeCloseTo(1 / 5);
    expect(lineErrorRate(wordsOf('buy this car'), transcript)).toBe(1);
    expect([lineErrorRate([], transcript), lineErrorRate(['a'], [])]).toEqual([undefined, 1]);
  });
});

describe('verdicts', () => {
  const claim = (sense: Claim['sense']): Claim => ({ text: 'x', sentence: 0, sense });
  const rules = { samples: 3, agreement: 0.5, mostLineErrors: 0.5, hasSound: true };

  it.each<[Claim['sense'], Evidence, string, readonly string[]]>([
    ['sound', { muted: true, blanked: true }, 'unsupported', ['survives_muting']],
    ['sound', { muted: false, blanked: true }, 'supported', []],
    ['sight', { muted: true, blanked: false }, 'supported', []],
    ['sight', { blanked: true, repeated: 3 }, 'unsupported', ['survives_blanking']],
    ['absence', { muted: true, blanked: true }, 'unchecked', []],
    ['absence', { muted: true, repeated: 1 }, 'unsupported', ['not_repeated']],
    ['other', { muted: true, blanked: true, repeated: 2 }, 'supported', []],
    ['speech', { muted: false, repeated: 1, lineErrorRate: 0.6 }, 'unsupported', ['not_repeated', 'not_in_transcript']],
    ['speech', { lineErrorRate: 0.5 }, 'supported', []],
    ['sight', {}, 'unchecked', []],
  ])('%s with %j is %s', (sense, evidence, verdict, reasons) => {
    expect(judgeClaim(claim(sense), evidence, rules)).toMatchObject({ verdict, reasons });
  });

  it('are against every sound that is told of a clip without sound', () => {
    const judged = [claim('sound'), claim('sight')].map((one) => judgeClaim(one, {}, { ...rules, hasSound: false }));
    expect(judged.map(({ reasons }) => reasons)).toEqual([['no_sound'], []]);
    expect(countClaims(judged)).toEqual({ claims: 2, supported: 0, unsupported: 1, unchecked: 1 });
  });

  it('of a whole caption take out what only it says, and what it says of a clip without that sense', async () => {
    const truth = WORLD_CAPTION.replace(' Then, a high beep is heard.', ' Then, a drum rhythm is heard.');
    const found = {
      recaptions: { muted: 'At first, a high beep is heard.', blanked: 'The word "STOP" is shown.', samples: [truth] },
      spoken: wordsOf('wait'),
      hasSound: true,
    };
    const { claims, cleanedCaption } = await judgeCaption(WORLD_CAPTION, worldReader(), found, signal);
    expect(claims.flatMap(({ text, reasons }) => (reasons.length === 0 ? [] : [[text, reasons]]))).toEqual([
      ['The word "STOP" is shown at the top.', ['survives_blanking']],
      ['a man says "wait while one"', ['not_in_transcript']],
      ['a high beep is heard', ['survives_muting', 'not_repeated']],
    ]);
    expect(cleanedCaption).toBe(
      `${WORLD_CAPTION.slice(0, WORLD_CAPTION.indexOf(' The word'))} At first, the red circle moves up.`,
    );
  });
});

describe('a cleaned caption', () => {
  const merge = { status: 'merged', model: 'text-1' } as const;
  const end = {
    caption: 'One text of both.',
    merge,
    segments: [
      { start: 0, end: 20, caption: 'A dog barks.' },
      { start: 20, end: 41, caption: 'A bell rings.' },
    ],
  } as unknown as CaptionEnd;
  const verification = (unsupported: number): Verification =>
    ({
      counts: { supported: 1, unsupported, unchecked: 0 },
      cleanedCaption: 'the timeline',
      parts: [
        { start: 0, cleanedCaption: 'A dog barks.' },
        { start: 20, cleanedCaption: '' },
      ],
    }) as unknown as Verification;

  it('is the timeline where a text model merged segments that told too much, and says so', () => {
    const cleaned = cleanedEnd(end, verification(1));
    expect(cleaned.caption).toBe('the timeline');
    expect(cleaned.segments?.map(({ caption }) => caption)).toEqual(['A dog barks.', '']);
    expect(cleaned.merge).toMatchObject({
      status: 'refused',
      model: 'text-1',
      reason: expect.stringContaining('unsupported') as string,
    });
  });

  it('loses the scenes and fields of a segment that loses a claim, also where two begin at once', () => {
    const scenes = [{ start: 0, end: 9, caption: 'A dog flies.' }];
    const segments = [
      { start: 0, end: 9, caption: 'lost', error: { code: 'media_undecodable', message: '' } },
      { start: 0, end: 20, caption: 'A dog barks.', scenes },
      { start: 0, end: 41, caption: 'A bell rings.', scenes, details: { sound: 'A bell rings.' } },
    ];
    const cleaned = cleanedEnd({ ...end, segments } as unknown as CaptionEnd, verification(1)).segments!;
    expect(cleaned.map(({ caption }) => caption)).toEqual(['lost', 'A dog barks.', '']);
    expect(cleaned.map((segment) => segment.scenes ?? segment.details)).toEqual([undefined, scenes, undefined]);
  });

  it('is the caption where nothing was found unsupported', () => {
    expect(cleanedEnd(end, verification(0))).toBe(end);
  });
});
