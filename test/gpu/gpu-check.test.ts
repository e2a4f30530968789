// The check that runs on a card, rehearsed where there is none: on the CPU with a small model. Its report and tables.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { defaultModelDirectory } from '../../src/base/package-files.ts';
import { golden } from '../fixtures/golden.ts';
import { keepReport, withGpuTables } from './check/add-result.ts';
import { captionSamples } from './check/captions.ts';
import { CARRIED_PACKAGES, importedPackages } from './check/make-packs.ts';
import { compareWithCpu, deviation } from './check/parity.ts';
import { pruneFatbin } from './check/prune-fatbin.ts';
import type { CheckReport, Finding } from './check/report.ts';
import { writeSampleRequests } from './check/sample-requests.ts';
import { measureSpeed, REHEARSAL } from './check/speed.ts';

const scratch = mkdtempSync(join(tmpdir(), 'gpu-check-'));
afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});
const place = { checkpoint: golden('checkpoints/tiny-b'), cacheDir: scratch, device: { type: 'cpu' } } as const;

describe('the check on a card, rehearsed on the CPU', () => {
  it('finds that fp32 is fp32, number for number', async () => {
    const { decoder, towers } = await compareWithCpu({ ...place, precision: 'fp32' });
    expect(decoder).toEqual({ rows: 24, worstRelative: 0, worstAbsolute: 0, sameLargest: 24, notFinite: 0 });
    expect(towers).toEqual({ rows: 5, worstRelative: 0, worstAbsolute: 0, sameLargest: 5, notFinite: 0 });
  });

  it('finds that a KV cache in pages gives the same numbers', async () => {
    const { decoder } = await compareWithCpu({ ...place, precision: 'fp32', kvCacheBytes: 2 ** 28 });
    expect(decoder).toMatchObject({ worstRelative: 0, sameLargest: 24 });
  });

  it('finds that more query heads a KV head, whose results are left out, give the same numbers', async () => {
    const tinyA = { ...place, checkpoint: golden('checkpoints/tiny-a'), precision: 'fp32' } as const;
    const { decoder } = await compareWithCpu({ ...tinyA, decoder: { padHeads: true } });
    expect(decoder).toEqual({ rows: 24, worstRelative: 0, worstAbsolute: 0, sameLargest: 24, notFinite: 0 });
  });

  it.each([false, true])(
    'finds that attention which rotates gives the same numbers, heads padded: %s',
    async (padHeads) => {
      const tinyA = { ...place, checkpoint: golden('checkpoints/tiny-a'), precision: 'fp32', runtime: 'node' } as const;
      const { decoder } = await compareWithCpu({ ...tinyA, decoder: { padHeads, packHeads: true } });
      expect(decoder).toMatchObject({ rows: 24, sameLargest: 24, notFinite: 0 });
      expect(decoder.worstRelative).toBeLessThan(1e-5);
    },
  );

  it('sees a wrong number, a missing one and a wrong best token', () => {
    const expected = [Float32Array.of(3, 4), Float32Array.of(0, 1)];
    expect(deviation(expected, [Float32Array.of(3, 4.5), Float32Array.of(1, 0)])).toEqual({
      rows: 2,
      worstRelative: Math.SQRT2,
      worstAbsolute: 1,
      sameLargest: 1,
      notFinite: 0,
    });
    expect(deviation(expected, [Float32Array.of(3, NaN)]).notFinite).toBe(3);
  });

  it('measures each thing once, and its report becomes a table', async () => {
    const findings: Finding[] = [];
    for await (const finding of measureSpeed({ ...place, precision: 'fp32' }, REHEARSAL)) findings.push(finding);
    expect(findings.map(({ kind }) => kind)).toEqual([
      'load',
      'first-token',
      'prefix-copies',
      'decode',
      'decode',
      'decode',
    ]);
    const paged: Finding[] = [];
    const inPages = { ...place, precision: 'fp32', kvCacheBytes: 2 ** 28 } as const;
    for await (const finding of measureSpeed(inPages, REHEARSAL)) paged.push(finding);
    expect(paged.map(({ kind }) => kind)).toEqual(['load', 'allocation', ...findings.map(({ kind }) => kind).slice(1)]);
    const parity = { kind: 'parity', checkpoint: 'tiny-b', part: 'decoder', precision: 'bf16', rows: 24 } as const;
    const wrong = { ...parity, worstRelative: 0.3, worstAbsolute: 1, sameLargest: 3, notFinite: 0 };
    const decode = { precision: 'bf16', streams: 8, context: 8192, runMs: 10, runMsBest: 9, runMsSlow: 11 } as const;
    const ours: Finding[] = [
      { kind: 'decode', ...decode, samplerMs: 2 },
      { ...decode, kind: 'first-token', tokens: 9, chunk: 512, visionSeconds: 18, audioSeconds: 2, prefillSeconds: 5 },
    ];
    const captions = { kind: 'captions', precision: 'int8', captions: 4, same: 3, tokens: 50, seconds: 2 } as const;
    const theirs: Finding[] = [
      { kind: 'transformers', what: 'load', seconds: 4, versions: 'transformers 5' },
      { kind: 'transformers', what: 'vision', seconds: 60 },
      { kind: 'transformers', what: 'audio', seconds: 30 },
      { kind: 'transformers', what: 'prefill', seconds: 10 },
      { kind: 'transformers', what: 'decode', streams: 1, problem: 'OutOfMemoryError: so | so' },
      { kind: 'transformers', what: 'decode', streams: 8, context: 8192, cache: 'static', ms: 36 },
    ];
    const steps = [
      { name: 'speed bf16', attention: 'auto', seconds: 9, findings: [...findings, wrong, ...ours] },
      { name: 'parity int8', attention: 'auto', seconds: 9, findings: [{ ...captions, different: ['a.mp4'] }] },
      { name: 'transformers bf16', attention: 'auto', seconds: 9, findings: theirs },
      { name: 'speed fp32', attention: 'auto', cache: 'paged', seconds: 9, findings: paged },
      { name: 'speed fp16', attention: 'flash', seconds: 9, problem: 'stopped after 9 s\nmore', findings: [] },
    ] as const;
    const report: CheckReport = {
      format: 'avocado-gpu-check',
      commit: '0123456789abcdef',
      date: '2026-12-01T10:00:00.000Z',
      device: 'NVIDIA H100 80GB HBM3',
      machine: {},
      steps,
    };
    const [file, results] = [join(scratch, 'report.json'), join(scratch, 'results')];
    writeFileSync(file, JSON.stringify(report));
    mkdirSync(results);
    const page = readFileSync(fileURLToPath(new URL('../../.github/docs/numbers.md', import.meta.url)), 'utf8');
    expect(withGpuTables(page, results)).toContain('Not yet measured');
    expect(keepReport(file, results)).toBe(join(results, 'nvidia-h100-80gb-hbm3.json'));
    const told = withGpuTables(page, results);
    expect(told).not.toContain('Not yet measured');
    expect(told).toContain('NVIDIA H100 80GB HBM3, 2026-12-01, commit 012345678:');
    expect(told).toMatch(/^\| first token of 114 tokens, fp32, chunks of 32 \| [\d.]+ s \(towers/m);
    expect(told).toMatch(
      /^\| decode, fp32, 2 streams of 64 tokens \| [\d.]+ ms a step \(sampling [\d.]+, all logits of 8 of 8 rows\); [\d,]+ tokens\/s \|$/m,
    );
    expect(told).toMatch(
      /^\| memory of a slot for 114 tokens, fp32, KV cache in pages \| [\d.]+ ms to give, [\d.]+ ms to take back \|$/m,
    );
    expect(told).toContain('| **outside**: 3.0e-1 from fp32 on the CPU, same best token in 3 of 24 (limit 5.5e-2) |');
    expect(told).toContain('| speed fp16, flash attention | **did not end**: stopped after 9 s |');
    expect(told).toContain('| transformers: load | 4.00 s (transformers 5) |');
    expect(told).toContain('stream of 0 tokens,  cache | failed: OutOfMemoryError: so so |');
    expect(told).toContain('| transformers: prefill | 10.00 s: 2.0 × ours in bf16 |');
    expect(told).toContain('| transformers: first token (vision, audio, prefill) | 100.00 s: 4.0 × ours in bf16 |');
    expect(told).toContain(
      '| avocado-nano captions its sample clips, int8 | 3 of 4 with the tokens of fp32 on the CPU (others: a.mp4); 50 tokens in 2.00 s |',
    );
    expect(told).toContain(
      '| transformers: decode, 8 streams of 8,192 tokens, static cache | 36.00 ms a step: 3.0 × ours in bf16 |',
    );
    writeFileSync(file, JSON.stringify({ ...report, device: 'unknown card' }));
    expect(() => keepReport(file, results)).toThrow('not of a card');
  });

  it('gives a caption among sixteen the tokens that it has alone', async () => {
    const samples = join(scratch, 'sample-requests.bin');
    await writeSampleRequests(samples, ['square-4s.mp4', 'portrait-5s.mp4', 'no-sound-6s.mp4', 'silent-5s.mp4']);
    const checkpoint = defaultModelDirectory();
    const [found] = await captionSamples({ ...place, checkpoint, samples, precision: 'fp32' });
    expect(found).toMatchObject({ kind: 'captions', captions: 16, same: 16, different: [] });
    expect(await captionSamples({ ...place, checkpoint, samples: 'not carried', precision: 'fp32' })).toEqual([]);
  });

  it('stands in the documents as the kept reports say', () => {
    const page = readFileSync(fileURLToPath(new URL('../../.github/docs/numbers.md', import.meta.url)), 'utf8');
    expect(withGpuTables(page)).toBe(page);
  });

  it('imports only packages that are carried to the card', () => {
    expect([...importedPackages()].sort()).toEqual([...CARRIED_PACKAGES].sort());
  });
});

/** One fatbin with a code for each [kind, architecture], all of 16 bytes of 7. */
function fatbin(codes: readonly (readonly [number, number])[]): Buffer {
  const bodies = codes.map(([kind, architecture]) => {
    const body = Buffer.alloc(48, 7);
    body.fill(0, 0, 32);
    body.writeUInt16LE(kind, 0);
    body.writeUInt32LE(32, 4);
    body.writeBigUInt64LE(16n, 8);
    body.writeUInt32LE(architecture, 28);
    return body;
  });
  const header = Buffer.alloc(16);
  header.writeUInt32LE(0xba55ed50, 0);
  header.writeUInt16LE(16, 6);
  header.writeBigUInt64LE(BigInt(48 * codes.length), 8);
  return Buffer.concat([header, ...bodies]);
}

/** An ELF file with one section, and one for the sections' names. */
function elfWith(name: string, content: Buffer): Buffer {
  const names = Buffer.from(`\0${name}\0`.padEnd(24, '\0'));
  const sections = Buffer.alloc(128);
  const table = 64 + content.length + names.length;
  [content, names].forEach(({ length }, index) => {
    sections.writeUInt32LE(index === 0 ? 1 : 0, 64 * index);
    sections.writeBigUInt64LE(BigInt(index === 0 ? 64 : 64 + content.length), 64 * index + 24);
    sections.writeBigUInt64LE(BigInt(length), 64 * index + 32);
  });
  const header = Buffer.alloc(64);
  header.write('\x7fELF\x02\x01', 'latin1');
  header.writeBigUInt64LE(BigInt(table), 0x28);
  [64, 2, 1].forEach((value, index) => header.writeUInt16LE(value, 0x3a + 2 * index));
  return Buffer.concat([header, content, names, sections]);
}

describe('pruneFatbin', () => {
  it('keeps the code that the card takes, and all of a fatbin without any', () => {
    const library = elfWith(
      '.nv_fatbin',
      Buffer.concat([
        fatbin([
          [2, 80],
          [2, 86],
          [2, 90],
          [1, 90],
        ]),
        fatbin([
          [1, 75],
          [2, 80],
        ]),
      ]),
    );
    const kept = (at: number) => library.subarray(at, at + 16).every((byte) => byte === 7);
    expect(pruneFatbin(library, 90)).toBe(48);
    const [first, second] = [64 + 16 + 32, 64 + 16 + 4 * 48 + 16 + 32];
    expect([0, 1, 2, 3].map((code) => kept(first + 48 * code))).toEqual([false, false, true, false]);
    expect([0, 1].map((code) => kept(second + 48 * code))).toEqual([true, true]);
  });

  it('refuses a library without CUDA code', () => {
    expect(() => pruneFatbin(elfWith('.text', Buffer.alloc(16)), 90)).toThrow('no section .nv_fatbin');
  });
});
