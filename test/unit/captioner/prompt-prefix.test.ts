import { describe, expect, it } from 'vitest';
import type { TokenIds } from '../../../src/model/checkpoint/config-types.ts';
import { promptPrefix } from '../../../src/captioner/generate.ts';

const TOKENS = { visionStart: 1, visionEnd: 2, audioStart: 3, audioEnd: 4, video: 5, audio: 6, image: 7 } as TokenIds;
const IDS = [90, 91, 1, 3, 5, 5, 6, 6, 4, 2, 80, 81, 82];

function prompt(
  ids: readonly number[],
  positions = ids.map((_, index) => index),
): { ids: Int32Array; positions: Int32Array } {
  return { ids: Int32Array.from(ids), positions: Int32Array.from([...positions, ...positions, ...positions]) };
}

describe('promptPrefix', () => {
  it('reaches from the first token to the one that closes the media', () => {
    expect(promptPrefix(prompt(IDS), TOKENS, 'clip')?.tokens).toBe(10);
    expect(promptPrefix(prompt([90, 1, 7, 7, 2, 80]), TOKENS, 'clip')?.tokens).toBe(5);
  });

  it('is the same whatever is asked behind it', () => {
    const other = prompt([...IDS.slice(0, 10), 70, 71, 72, 73, 74]);
    expect(promptPrefix(other, TOKENS, 'clip')).toEqual(promptPrefix(prompt(IDS), TOKENS, 'clip'));
  });

  it('is another one for another clip, another start, other positions', () => {
    const positions = IDS.map((_, index) => (index === 7 ? 8 : index));
    const keys = [
      promptPrefix(prompt(IDS), TOKENS, 'clip'),
      promptPrefix(prompt(IDS), TOKENS, 'another clip'),
      promptPrefix(prompt([99, ...IDS.slice(1)]), TOKENS, 'clip'),
      promptPrefix(prompt(IDS, positions), TOKENS, 'clip'),
    ].map((prefix) => prefix?.key);
    expect(new Set(keys).size).toBe(4);
  });

  it('is nothing for media nobody knows again, or without media', () => {
    expect(promptPrefix(prompt(IDS), TOKENS, undefined)).toBeUndefined();
    expect(promptPrefix(prompt([90, 80]), TOKENS, 'clip')).toBeUndefined();
  });
});
