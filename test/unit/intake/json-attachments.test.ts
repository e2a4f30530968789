import { Buffer } from 'node:buffer';
import { describe, expect, it } from 'vitest';
import { JsonAttachments } from '../../../src/intake/json-attachments.ts';

const LONG = 'data:video/mp4;base64,' + 'QUJD'.repeat(100_000);

function parse(attachments: JsonAttachments, value: unknown): { value: unknown; release: () => void } {
  return attachments.parse(Buffer.from(JSON.stringify(value)));
}

function bytesOf(text: string | Buffer): string {
  return typeof text === 'string' ? text : text.toString('latin1');
}

describe('JsonAttachments', () => {
  it('cuts files out of JSON and parses everything else as JSON.parse does', () => {
    const attachments = new JsonAttachments();
    const rest = { a: [1, 'quo"te \\', { 'ke"y': 'Müße 🎈\u0000' }], b: null };
    const { value } = parse(attachments, { ...rest, media: LONG, list: [{ url: `${LONG}x` }] });
    const { media, list, ...others } = value as { media: string; list: { url: string }[] };
    expect(others).toEqual(rest);
    expect(media.length).toBeLessThan(400);
    expect(media.startsWith('data:video/mp4;base64,QUJD')).toBe(true);
    expect(bytesOf(attachments.read(media)) === LONG).toBe(true);
    expect(bytesOf(attachments.read(list[0]?.url ?? '')) === `${LONG}x`).toBe(true);
  });

  it('resolves its own markers only, until they are released', () => {
    const [attachments, others] = [new JsonAttachments(), new JsonAttachments()];
    const { value, release } = parse(attachments, { media: LONG });
    const { media } = value as { media: string };
    expect(attachments.read('short')).toBe('short');
    expect(others.read(media)).toBe(media);
    release();
    expect([attachments.size, attachments.read(media)]).toEqual([0, media]);
  });

  it('leaves strings with escapes to the parser', () => {
    const attachments = new JsonAttachments();
    for (const odd of [`${LONG}\\`, `"${LONG}"`, `${LONG}\n\\"`])
      expect((parse(attachments, { media: odd }).value as { media: string }).media === odd).toBe(true);
    expect(attachments.size).toBe(0);
  });

  it('refuses a body whose rest is large', () => {
    const keys = Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [`key number ${index}`, index]));
    expect(() => parse(new JsonAttachments(), { ...keys, media: LONG })).toThrow(/beside its files/);
  });

  it('refuses a long string in a field without files, __proto__, and what is not JSON; keeps nothing', () => {
    const attachments = new JsonAttachments();
    expect(() => parse(attachments, { prompt: LONG })).toThrow(/prompt is longer than/);
    expect(() => attachments.parse(Buffer.from(`{"media":"${LONG}","__proto__":{"a":1}}`))).toThrow(/__proto__/);
    expect(() => attachments.parse(Buffer.from(`{"media":"${LONG}"`))).toThrow(/not JSON/);
    expect(() => attachments.parse(Buffer.from(`{"media":"${LONG}`))).toThrow(/not JSON/);
    expect(attachments.size).toBe(0);
  });
});
