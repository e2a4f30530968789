// A library whose results and state are on a disk that is full again and again.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Layout } from '../../../src/batch/layout.ts';
import { sidecarText } from '../../../src/batch/render-sidecar.ts';
import { Batch } from '../../../src/batch/run-batch.ts';
import type { ResultLine } from '../../../src/batch/types.ts';
import { asAvocadoError } from '../../../src/base/errors.ts';
import { batchOptions } from '../../fixtures/batch-run.ts';
import { jsonLines } from '../../fixtures/clip-library.ts';
import { fakeCaptioner } from '../../fixtures/fake-captioner.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';
import { makeSmallDisk, noSmallDisk } from '../../fixtures/small-disk.ts';

const scratch = scratchDirectory();
const FILES = Array.from({ length: 12 }, (_, n) => `${n}.mp4`);

/** @returns what ended it early */
async function run(directory: string, out: string): Promise<string | undefined> {
  let batch: Batch | undefined;
  try {
    batch = await Batch.open({
      ...batchOptions(directory),
      layout: new Layout({ root: directory, out, shortNames: false }),
      openCaptioner: () => Promise.resolve(fakeCaptioner()),
    });
    const total = FILES.length;
    const options = { keepsOthers: false, total, toCaption: total, onProgress: () => undefined };
    await batch.run(options, () => Promise.resolve());
    return undefined;
  } catch (thrown) {
    const { code, message } = asAvocadoError(thrown);
    return `${code}: ${message}`;
  } finally {
    await batch?.close();
  }
}

const why = noSmallDisk();
it.skipIf(why !== undefined)(
  why === undefined ? 'a full disk is told, loses nothing, and the next run goes on' : `a full disk (skipped: ${why})`,
  async () => {
    const directory = scratch('library');
    mkdirSync(directory);
    for (const name of FILES) writeFileSync(join(directory, name), name);
    let kilobytes = 16;
    const disk = makeSmallDisk(scratch('disk'), kilobytes);
    try {
      const told: string[] = [];
      for (;;) {
        const ending = await run(directory, disk.path);
        if (ending === undefined) break;
        told.push(ending);
        jsonLines(join(disk.path, 'captions.jsonl')); // no torn line
        disk.resize((kilobytes += 8));
      }
      expect(told.length).toBeGreaterThan(3);
      for (const one of told) expect(one).toMatch(/^(storage_full|directory_unwritable): .*\(ENOSPC\).*make room/is);
      expect(told.join()).toContain('storage_full');
      const lines = jsonLines<ResultLine>(join(disk.path, 'captions.jsonl'));
      expect(lines.map(({ path }) => path).sort()).toEqual(FILES.toSorted());
      for (const line of lines)
        expect(readFileSync(join(disk.path, `${line.path}.txt`), 'utf8')).toBe(sidecarText('txt', line));
      jsonLines(join(disk.path, '.avocado', 'journal.jsonl'));
      expect(readdirSync(join(disk.path, '.avocado', 'claims'))).toEqual([]);
      expect(readdirSync(disk.path).filter((name) => name.includes('avocado-tmp'))).toEqual([]);
    } finally {
      disk.remove();
    }
  },
);
