// Time, disk and memory of a zero-copy export:
// tsx test/bench/graph-build.ts --model CHECKPOINT [--precision bf16] [--repeat 3]
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { exportModel } from '../../src/model/export/export.ts';

/** Peak resident memory of this process so far, in bytes. */
function peakMemory(): number {
  return process.resourceUsage().maxRSS * 1024;
}

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    precision: { type: 'string', default: 'bf16' },
    repeat: { type: 'string', default: '3' },
  },
});
const { model } = values;
if (model === undefined)
  throw new Error('Usage: tsx test/bench/graph-build.ts --model CHECKPOINT [--precision bf16] [--repeat 3]');
const directory = mkdtempSync(join(tmpdir(), 'avocado-graph-build-'));
const before = peakMemory();
const seconds: number[] = [];
try {
  for (let run = 0; run < Number(values.repeat); run++) {
    const start = performance.now();
    await exportModel(model, values.precision, join(directory, 'export'));
    seconds.push((performance.now() - start) / 1000);
  }
  const files = readdirSync(join(directory, 'export')).map((name) => ({
    file: name,
    bytes: statSync(join(directory, 'export', name)).size,
  }));
  console.table(files);
  const diskBytes = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const best = Math.min(...seconds);
  const peakBytes = peakMemory();
  console.log(
    `${values.precision}: ${best.toFixed(2)} s (first ${(seconds[0] ?? 0).toFixed(2)} s), ${(diskBytes / 1e6).toFixed(1)} MB on disk, peak memory ${(peakBytes / 1e6).toFixed(0)} MB`,
  );
  console.log(
    JSON.stringify({
      bench: 'graph-build',
      precision: values.precision,
      seconds: best,
      firstSeconds: seconds[0],
      diskBytes,
      peakBytes,
      idlePeakBytes: before,
    }),
  );
} finally {
  rmSync(directory, { recursive: true, force: true });
}
