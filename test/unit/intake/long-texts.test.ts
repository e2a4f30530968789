import { Buffer } from 'node:buffer';
import { describe, expect, it } from 'vitest';
import { LongTexts } from '../../../src/intake/long-texts.ts';

const LONG = 'data:video/mp4;base64,' + 'QUJD'.repeat(100_000);

function parse(texts: LongTexts, value: unknown): { value: unknown; release: () => void } {
  return texts.parse(Buffer.from(JSON.stringify(value)));
}

function bytesOf(text: string | Buffer): string {
  return typeof text === 'string' ? text : text.toString('latin1');
}

describe('LongTexts', () => {
  it('takes files out of JSON and leaves everything else as JSON.parse would', () => {
    const texts = new LongTexts();
    const rest = { a: [1, 'quo"te \\', { 'ke"y': 'Müße 🎈\u0000' }], b: null };
    const { value } = parse(texts, { ...rest, media: LONG, list: [{ url: `${LONG}x` }] });
    const { media, list, ...others } = value as { media: string; list: { url: string }[] };
    expect(others).toEqual(rest);
    expect(media.length).toBeLessThan(400);
    expect(media.startsWith('data:video/mp4;base64,QUJD')).toBe(true);
    expect(bytesOf(texts.read(media)) === LONG).toBe(true);
    expect(bytesOf(texts.read(list[0]?.url ?? '')) === `${LONG}x`).toBe(true);
  });

  it('knows a text until it is released, and its own marks only', () => {
    const [texts, others] = [new LongTexts(), new LongTexts()];
    const { value, release } = parse(texts, { media: LONG });
    const { media } = value as { media: string };
    expect(texts.read('short')).toBe('short');
    expect(others.read(media)).toBe(media);
    release();
    expect([texts.size, texts.read(media)]).toEqual([0, media]);
  });

  it('leaves texts with escapes to the parser, whatever stands before the quote', () => {
    const texts = new LongTexts();
    for (const odd of [`${LONG}\\`, `"${LONG}"`, `${LONG}\n\\"`])
      expect((parse(texts, { media: odd }).value as { media: string }).media === odd).toBe(true);
    expect(texts.size).toBe(0);
  });

  it('refuses a body that is large without a file', () => {
    const keys = Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [`key number ${index}`, index]));
    expect(() => parse(new LongTexts(), { ...keys, media: LONG })).toThrow(/beside its files/);
  });

  it('refuses a long text where no file may be, __proto__, and what is no JSON; keeps nothing', () => {
    const texts = new LongTexts();
    expect(() => parse(texts, { prompt: LONG })).toThrow(/prompt is longer than/);
    expect(() => texts.parse(Buffer.from(`{"media":"${LONG}","__proto__":{"a":1}}`))).toThrow(/__proto__/);
    expect(() => texts.parse(Buffer.from(`{"media":"${LONG}"`))).toThrow(/not JSON/);
    expect(() => texts.parse(Buffer.from(`{"media":"${LONG}`))).toThrow(/not JSON/);
    expect(texts.size).toBe(0);
  });
});
