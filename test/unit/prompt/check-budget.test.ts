import { describe, expect, it } from 'vitest';
import { checkBudget } from '../../../src/prompt/build-prompt.ts';
import type { TokenCounts } from '../../../src/prompt/types.ts';

const counts = (part: Partial<TokenCounts>): TokenCounts => {
  const whole = { text: 96, video: 0, image: 0, audio: 0, ...part };
  return { ...whole, total: whole.text + whole.video + whole.image + whole.audio };
};

describe('the token budget', () => {
  it('accepts a prompt that fits to the last token', () => {
    expect(() => {
      checkBudget(counts({ video: 28_000, audio: 2_500 }), 2_172, 32_768);
    }).not.toThrow();
  });

  it('refuses one token more, telling tokens by kind, the limit, the excess and what to lower', () => {
    const ask = (): void => {
      checkBudget(counts({ video: 28_000, audio: 2_500 }), 2_173, 32_768);
    };
    expect(ask).toThrow(
      'The prompt has 30,596 tokens (28,000 video, 2,500 audio, 96 text) and the answer may take 2,173: 32,769 together, ' +
        '1 over the limit of 32,768. Lower fps, max pixels or total pixels, take a shorter clip, or ask for fewer new tokens.',
    );
    expect(ask).toThrow(expect.objectContaining({ code: 'context_length_exceeded', param: 'max_tokens' }));
  });

  it('blames no field when the prompt alone is too long', () => {
    const ask = (): void => {
      checkBudget(counts({ video: 32_768 }), 1, 32_768);
    };
    expect(ask).toThrow(expect.objectContaining({ code: 'context_length_exceeded', param: undefined }));
  });

  it.each([
    [counts({ audio: 2_000 }), 'Take a shorter clip'],
    [counts({ image: 2_000 }), 'Lower max pixels'],
    [counts({ text: 2_000, video: 100 }), 'Shorten the prompt'],
  ])('advises by what the prompt holds', (prompt, advice) => {
    expect(() => {
      checkBudget(prompt, 16, 1_024);
    }).toThrow(advice);
  });
});
