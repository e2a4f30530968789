import { readdirSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadTokenizer } from '../../../src/prompt/tokenizer.ts';
import type { Tokenizer } from '../../../src/prompt/tokenizer.ts';
import { Detokenizer } from '../../../src/output/detokenizer.ts';
import { golden, goldenJson } from '../../fixtures/golden.ts';
import { randomTexts } from '../../fixtures/random-texts.ts';
import { SeededRandom } from '../../fixtures/seeded-random.ts';

interface CaseJson {
  readonly greedy?: { readonly tokens: number[]; readonly text: string };
}

describe.each(['tiny-a', 'tiny-b'])('the detokenizer with %s', (checkpoint) => {
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await loadTokenizer(golden(`checkpoints/${checkpoint}`));
  });
  const piecesOf = (ids: readonly number[]): string[] => {
    const detokenizer = new Detokenizer(tokenizer);
    return [...ids.map((id) => detokenizer.push(id)), detokenizer.flush()];
  };

  it('gives the texts of the reference for everything the model said', () => {
    const cases = readdirSync(golden('cases')).filter(
      (file) => file.startsWith(`${checkpoint}.`) && file.endsWith('.json'),
    );
    const said = cases
      .map((file) => goldenJson<CaseJson>(`cases/${file}`).greedy)
      .filter((greedy) => greedy !== undefined);
    expect(said.length).toBeGreaterThan(10);
    for (const { tokens, text } of said) expect(piecesOf(tokens).join('')).toBe(text);
  });

  it('gives random texts back in pieces of whole characters', () => {
    for (const text of randomTexts(300, 5)) {
      const pieces = piecesOf(tokenizer.encodePlain(text));
      expect(pieces.join('')).toBe(text.normalize('NFC'));
      for (const piece of pieces) {
        expect(piece).toBe(Buffer.from(piece, 'utf8').toString('utf8'));
        if (!text.includes('\ufffd')) expect(piece).not.toContain('\ufffd');
      }
      expect(pieces.at(-1)).toBe('');
    }
  });

  it('equals decoding at once for random ids, broken characters and special tokens included', () => {
    const random = new SeededRandom(17);
    for (let run = 0; run < 300; run++) {
      const ids = Array.from({ length: 40 }, () => random.below(random.unit() < 0.5 ? 256 : tokenizer.size + 10));
      expect(piecesOf(ids).join('')).toBe(tokenizer.decode(ids, { skipSpecial: true }));
    }
  });

  it('holds an unfinished character back until it is whole, and shows what broke off at the end', () => {
    const [first, second, third, fourth] = tokenizer
      .encodePlain('🦆')
      .flatMap((id) => [...tokenizer.bytesOf(id)])
      .map((byte) => idOfByte(byte));
    const detokenizer = new Detokenizer(tokenizer);
    expect([first!, second!, third!, fourth!].map((id) => detokenizer.push(id))).toEqual(['', '', '', '🦆']);
    expect([first!, second!].map((id) => detokenizer.push(id))).toEqual(['', '']);
    expect(detokenizer.flush()).toBe('\ufffd');
    expect(detokenizer.push(first!) + detokenizer.flush()).toBe('\ufffd');
    expect(detokenizer.flush()).toBe('');
  });

  it('keeps a byte order mark and does not show special tokens', () => {
    expect(
      piecesOf([
        ...tokenizer.encodePlain('\ufeffa'),
        tokenizer.idOf('<|im_end|>')!,
        ...tokenizer.encodePlain('\ufeffb'),
      ]).join(''),
    ).toBe('\ufeffa\ufeffb');
    expect(piecesOf([tokenizer.idOf('<tool_call>')!]).join('')).toBe('<tool_call>');
  });

  function idOfByte(byte: number): number {
    return Array.from({ length: tokenizer.size }, (_, id) => id).find(
      (id) => tokenizer.bytesOf(id).length === 1 && tokenizer.bytesOf(id)[0] === byte,
    )!;
  }
});
