// The check on a card: `node run-check.js --out FILE [--device cuda] [--seconds 540] [--only STEP,STEP] [--tiny]`. Each
// step is a process of its own, so that a crash or a hang costs one step; the report is written anew after each. It
// needs neither npm packages nor the network. `--tiny` measures a small model: for a rehearsal without a card.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { AvocadoError } from '../../../src/base/errors.ts';
import type { Device, Precision } from '../../../src/settings/engine-settings.ts';
import { isQuantised } from '../../../src/model/export/quantised-weights.ts';
import { SHAPES, type Shape } from '../../bench/checkpoint-shapes.ts';
import { writeModel } from '../../bench/make-checkpoint.ts';
import { captionSamples, SAMPLES } from './captions.ts';
import { outputFiles } from './output-files.ts';
import { compareWithCpu } from './parity.ts';
import type { CheckReport, Finding, StepReport } from './report.ts';
import { FULL, measureSpeed, REHEARSAL } from './speed.ts';

interface Step {
  readonly what: 'parity' | 'speed' | 'transformers';
  readonly precision: Precision;
  readonly attention: StepReport['attention'];
  readonly products?: StepReport['products'];
  readonly launches?: StepReport['launches'];
  readonly cache?: StepReport['cache'];
  readonly heads?: StepReport['heads'];
  /** most seconds it may take */
  readonly limit: number;
}

/** What matters most comes first: time may run out. */
const STEPS: readonly Step[] = [
  { what: 'parity', precision: 'bf16', attention: 'auto', limit: 120 },
  { what: 'speed', precision: 'bf16', attention: 'auto', limit: 180 },
  { what: 'transformers', precision: 'bf16', attention: 'auto', limit: 90 },
  { what: 'parity', precision: 'bf16', attention: 'auto', cache: 'paged', limit: 90 },
  { what: 'speed', precision: 'bf16', attention: 'auto', cache: 'paged', limit: 120 },
  { what: 'parity', precision: 'bf16', attention: 'auto', heads: 'padded', limit: 60 },
  { what: 'speed', precision: 'bf16', attention: 'auto', heads: 'padded', limit: 120 },
  { what: 'parity', precision: 'bf16', attention: 'auto', heads: 'packed', limit: 60 },
  { what: 'speed', precision: 'bf16', attention: 'auto', heads: 'packed', limit: 120 },
  { what: 'parity', precision: 'int4', attention: 'auto', limit: 60 },
  { what: 'speed', precision: 'int4', attention: 'auto', limit: 120 },
  { what: 'speed', precision: 'int4', attention: 'auto', heads: 'padded', limit: 120 },
  { what: 'speed', precision: 'int4', attention: 'auto', heads: 'packed', limit: 120 },
  { what: 'parity', precision: 'int8', attention: 'auto', limit: 60 },
  { what: 'speed', precision: 'int8', attention: 'auto', limit: 120 },
  { what: 'parity', precision: 'fp16', attention: 'auto', limit: 60 },
  { what: 'speed', precision: 'bf16', attention: 'auto', launches: 'one by one', limit: 120 },
  { what: 'speed', precision: 'int4', attention: 'auto', products: 'default', limit: 120 },
  { what: 'parity', precision: 'int4', attention: 'auto', products: 'default', limit: 60 },
  { what: 'parity', precision: 'bf16', attention: 'flash', limit: 90 },
  { what: 'speed', precision: 'bf16', attention: 'flash', limit: 150 },
  { what: 'speed', precision: 'fp16', attention: 'auto', limit: 120 },
];

const ON_CPU: readonly Step[] = [
  { what: 'parity', precision: 'int4', attention: 'auto', limit: 300 },
  { what: 'speed', precision: 'fp32', attention: 'auto', limit: 300 },
  { what: 'speed', precision: 'fp32', attention: 'auto', cache: 'paged', limit: 300 },
  { what: 'parity', precision: 'fp32', attention: 'auto', heads: 'padded', limit: 300 },
  { what: 'transformers', precision: 'bf16', attention: 'auto', limit: 90 },
];

const LEAST_SECONDS = 15;
/** The checkpoint, and its exports in int8, in int4 and in int4 with padded and with packed heads. */
const SPEED_CHECKPOINT_GIB = 43;
/** 32 streams of the 7B shape with two blocks of 8,192 tokens each. */
const SPEED_CACHE_GIB = 32;
const WHOLE_SHAPE = 'nano-shape';
/** The heads of the 7B model, twice seven of 128. */
const SEVEN_HEADS = 'seven-heads';
const MARK = 'FINDING ';
const NANO = fileURLToPath(new URL('../../../models/avocado-nano', import.meta.url));
/** beside this file */
const TRANSFORMERS_SCRIPT = 'transformers_speed.py';

interface Options {
  readonly out: string;
  readonly device: Device;
  readonly seconds: number;
  readonly tiny: boolean;
  /** such as `parity int8` or `speed int4 default`: only these steps; empty: all */
  readonly only: readonly string[];
  /** folder of the small checkpoints tiny-a and tiny-b */
  readonly checkpoints: string;
  readonly commit: string;
}

function say(text: string): void {
  process.stderr.write(`gpu-check: ${text}\n`);
}

/** The same work by transformers on the same device, where python3 has it. Its findings go straight to stdout. */
function runTransformers({ device, tiny }: Options, checkpoint: string): void {
  const { clip, context, streams, decodeSteps } = REHEARSAL;
  const sizes = {
    steps: clip.steps,
    grid: clip.gridH,
    frames: clip.melFrames,
    prompt: 114,
    context,
    streams,
    decodeSteps,
  };
  const script = join(dirname(fileURLToPath(import.meta.url)), TRANSFORMERS_SCRIPT);
  const args = [script, checkpoint, '--mark', MARK, ...(tiny ? ['--sizes', JSON.stringify(sizes)] : [])];
  const on = ['--device', device.type === 'cpu' ? 'cpu' : `cuda:${device.index}`];
  const { error, status } = spawnSync('python3', [...args, ...on], {
    stdio: ['ignore', 'inherit', 'inherit'],
    timeout: 80_000,
    killSignal: 'SIGKILL',
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${TRANSFORMERS_SCRIPT} ended with ${String(status)}.`);
}

/** Names and folders of the models whose numbers are compared; those that are not in `golden` are written. */
function parityCheckpoints(
  precision: Precision,
  padHeads: boolean,
  folder: string,
  golden: string,
): (readonly [name: string, directory: string])[] {
  const written = (name: string, shape: Shape): (readonly [string, string])[] => {
    writeModel(join(folder, name), shape, 'bf16', shape.vocab - 500);
    return [[name, join(folder, name)]];
  };
  const { headDim, mropeSection, vocab } = SHAPES['7b'];
  if (padHeads) {
    const sizes = { hidden: 14 * headDim, heads: 14, kvHeads: 2, headDim, mropeSection, layers: 2 };
    return written(SEVEN_HEADS, { ...SHAPES.nano, ...sizes });
  }
  const found = ['tiny-b', 'tiny-a'].map((name) => [name, join(golden, name)] as const);
  // Of these, only the last one has no matrix that the kernels for quantised weights refuse.
  return isQuantised(precision) ? [...found, ...written(WHOLE_SHAPE, { ...SHAPES.nano, vocab })] : found;
}

/** Yields the findings of one step, in its own process. */
async function* runStep(
  { what, precision, products, launches, cache, heads }: Step,
  options: Options,
  checkpoint: string,
): AsyncGenerator<Finding> {
  const { device, tiny, checkpoints } = options;
  if (what === 'transformers') {
    runTransformers(options, checkpoint);
    return;
  }
  const cacheDir = mkdtempSync(join(roomFor(0), 'avocado-check-'));
  const kvCacheBytes = cache === undefined ? undefined : 2 ** 30 * (what === 'speed' && !tiny ? SPEED_CACHE_GIB : 4);
  const decoder = heads === undefined ? undefined : { padHeads: true, packHeads: heads === 'packed' };
  try {
    if (what === 'speed') {
      // Beside the checkpoint, so that the next step with this precision finds the export.
      const exports = tiny ? cacheDir : join(checkpoint, 'exports');
      const recordSteps = launches === undefined;
      const place = { checkpoint, cacheDir: exports, device, precision, recordSteps, kvCacheBytes, decoder };
      const part = products === undefined && launches === undefined ? 'all' : 'decode';
      yield* measureSpeed(place, tiny ? REHEARSAL : FULL, part);
      return;
    }
    for (const [name, checkpoint] of parityCheckpoints(precision, decoder !== undefined, cacheDir, checkpoints)) {
      const parts = await compareWithCpu({ checkpoint, cacheDir, device, precision, kvCacheBytes, decoder });
      for (const part of ['decoder', 'towers'] as const)
        yield { kind: 'parity', checkpoint: name, part, precision, ...parts[part] };
    }
    if (decoder !== undefined) return;
    const samples = join(checkpoints, '..', SAMPLES);
    yield* await captionSamples({ checkpoint: NANO, samples, cacheDir, device, precision, kvCacheBytes });
  } catch (error) {
    if (!(error instanceof AvocadoError) || error.code !== 'precision_unsupported') throw error;
    yield { kind: 'refused', precision, code: error.code, message: error.message };
  } finally {
    rmSync(cacheDir, { recursive: true, force: true });
  }
}

/** What nvidia-smi says, one text per field; empty where there is no such program. */
function askCard(...fields: string[]): string[] {
  try {
    const query = [`--query-gpu=${fields.join(',')}`, '--format=csv,noheader,nounits'];
    const answer = execFileSync('nvidia-smi', query, { encoding: 'utf8', timeout: 10_000, stdio: 'pipe' });
    return (answer.split('\n')[0] ?? '').split(',').map((field) => field.trim());
  } catch {
    return [];
  }
}

/** How often the provider said that it took each kernel for attention and for products with quantised weights. */
function kernelsIn(output: string): Finding[] {
  const counts: Record<string, number> = {};
  for (const [, operator = '', kernel = ''] of output.matchAll(/Operator=(\w+).*?SdpaKernel=(\w+)/g))
    counts[`${operator} ${kernel}`] = (counts[`${operator} ${kernel}`] ?? 0) + 1;
  for (const [, shape = '', bits = '', kernel = '', tactic = ''] of output.matchAll(
    /\[fpA_intB_debug\] (M=\d+ N=\d+ K=\d+) nbits=(\d).* kernel=(\S+).*? tactic=(.*)/g,
  )) {
    const name = `${shape} int${bits} ${kernel} ${tactic}`.trim();
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return Object.keys(counts).length === 0 ? [] : [{ kind: 'kernels', counts }];
}

function findingsIn(output: string): Finding[] {
  const lines = output.split('\n').filter((line) => line.startsWith(MARK));
  return lines.map((line) => JSON.parse(line.slice(MARK.length)) as Finding);
}

/** Without what the provider says for every attention node. */
function lastWords(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '' && !/SdpaKernel=|fpA_intB_debug/.test(line));
  return lines.slice(-12).join('\n').slice(-1500);
}

/** Runs this file again for one step. */
function runProcess(step: Step, seconds: number, checkpoint: string): Promise<StepReport> {
  const started = performance.now();
  const env = {
    ...process.env,
    ...(step.what === 'parity' ? { ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO: '1' } : {}),
    ...(isQuantised(step.precision) ? { ORT_FPA_INTB_DEBUG: '1' } : {}),
    ...(step.attention === 'flash' ? { ORT_ENABLE_CUDNN_FLASH_ATTENTION: '0' } : {}),
    ...(step.products === 'default' ? { ORT_FPA_INTB_GEMM: '0' } : {}),
    ...(step.heads === 'packed' ? { ORT_DISABLE_FLASH_DECODE: '1' } : {}),
  };
  const args = [...process.execArgv, fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  const one = ['--step', JSON.stringify(step), '--checkpoint', checkpoint];
  return new Promise((resolve) => {
    const output = outputFiles();
    const child = spawn(process.execPath, [...args, ...one], { env, stdio: output.stdio });
    let peakMiB = 0;
    const memory = setInterval(() => (peakMiB = Math.max(peakMiB, Number(askCard('memory.used')[0] ?? 0))), 2000);
    const limit = setTimeout(() => child.kill('SIGKILL'), 1000 * seconds);
    child.on('close', (code, signal) => {
      clearInterval(memory);
      clearTimeout(limit);
      const { stdout: found, stderr: said } = output.take();
      const late =
        signal === 'SIGKILL' ? `stopped after ${seconds.toFixed(0)} s` : `ended with ${signal ?? String(code)}`;
      resolve({
        name: `${step.what} ${step.precision}`,
        attention: step.attention,
        ...(step.products === undefined ? {} : { products: step.products }),
        ...(step.launches === undefined ? {} : { launches: step.launches }),
        ...(step.cache === undefined ? {} : { cache: step.cache }),
        ...(step.heads === undefined ? {} : { heads: step.heads }),
        seconds: (performance.now() - started) / 1000,
        ...(code === 0 ? {} : { problem: `${late}\n${lastWords(said)}` }),
        findings: [
          ...findingsIn(found),
          ...kernelsIn(found + said),
          ...(peakMiB > 0 ? [{ kind: 'memory', peakMiB } as const] : []),
        ],
      });
    });
  });
}

/** Memory where it is large enough, else the temporary folder. */
function roomFor(gibibytes: number): string {
  const fits = (folder: string): boolean => {
    if (!existsSync(folder)) return false;
    const { bavail, bsize } = statfsSync(folder);
    return (bavail * bsize) / 2 ** 30 >= gibibytes;
  };
  return fits('/dev/shm') ? '/dev/shm' : tmpdir();
}

/** A checkpoint of the 7B shape with random weights, in a process beside the first steps. */
function makeSpeedCheckpoint(): { readonly directory: string; readonly done: Promise<void> } {
  const directory = mkdtempSync(join(roomFor(SPEED_CHECKPOINT_GIB), 'avocado-7b-'));
  const args = [...process.execArgv, fileURLToPath(import.meta.url), '--make', directory];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const done = new Promise<void>((resolve) => {
    child.on('close', (code) => {
      say(`the 7B shape is written${code === 0 ? '' : ` (not: exit code ${String(code)})`}`);
      resolve();
    });
  });
  return { directory, done };
}

function writeReport(report: CheckReport, path: string): void {
  writeFileSync(`${path}.part`, `${JSON.stringify(report, undefined, 1)}\n`);
  renameSync(`${path}.part`, path);
}

function wantedSteps({ device, only }: Options): readonly Step[] {
  const steps = device.type === 'cpu' ? ON_CPU : STEPS;
  const nameOf = ({ what, precision, attention, products, launches, cache, heads }: Step): string =>
    [what, precision, attention === 'auto' ? [] : attention, products ?? [], launches ?? [], cache ?? [], heads ?? []]
      .flat()
      .join(' ');
  return only.length === 0 ? steps : steps.filter((step) => only.includes(nameOf(step)));
}

/** Runs the steps for which there is time. @returns the report, which is also in the file `out` */
async function runCheck(options: Options): Promise<CheckReport> {
  const ends = performance.now() + 1000 * options.seconds;
  const [name, driver, memory] = askCard('name', 'driver_version', 'memory.total');
  const onCpu = options.device.type === 'cpu';
  const processor = cpus()[0]?.model ?? 'unknown';
  const head = {
    format: 'avocado-gpu-check',
    commit: options.commit,
    date: new Date().toISOString(),
    device: onCpu ? processor : (name ?? 'unknown card'),
    machine: { processor, cores: String(cpus().length), driver: driver ?? '', memoryMiB: memory ?? '' },
  } as const;
  const tiny = join(options.checkpoints, 'tiny-b');
  const wanted = wantedSteps(options);
  const isSmall = options.tiny || wanted.every(({ what }) => what === 'parity');
  const large = isSmall ? { directory: tiny, done: Promise.resolve() } : makeSpeedCheckpoint();
  const steps: StepReport[] = [];
  try {
    for (const step of wanted) {
      if (step.what !== 'parity') await large.done;
      const seconds = Math.min(step.limit, (ends - performance.now()) / 1000);
      const name = `${step.what} ${step.precision}`;
      say([name, step.attention, step.cache ?? [], step.heads ?? []].flat().join(', '));
      const report =
        seconds < LEAST_SECONDS
          ? { name, attention: step.attention, seconds: 0, problem: 'no time was left for it', findings: [] }
          : await runProcess(step, seconds, large.directory);
      say(`${report.problem ?? 'ended'} after ${report.seconds.toFixed(1)} s`);
      for (const finding of report.findings) say(JSON.stringify(finding));
      steps.push(report);
      writeReport({ ...head, steps }, options.out);
    }
  } finally {
    if (!isSmall) rmSync(large.directory, { recursive: true, force: true });
  }
  return { ...head, steps };
}

function deviceOf(text: string): Device {
  return text === 'cpu' ? { type: 'cpu' } : { type: 'cuda', index: Number(/^cuda:(\d+)$/.exec(text)?.[1] ?? 0) };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: 'gpu-check.json' },
      device: { type: 'string', default: 'cuda' },
      seconds: { type: 'string', default: '540' },
      tiny: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      checkpoints: {
        type: 'string',
        default: fileURLToPath(new URL('../../fixtures/golden/checkpoints', import.meta.url)),
      },
      commit: { type: 'string', default: 'unknown' },
      step: { type: 'string' },
      checkpoint: { type: 'string', default: '' },
      make: { type: 'string' },
    },
  });
  if (values.make !== undefined) {
    writeModel(values.make, SHAPES['7b'], 'bf16');
    return;
  }
  const only = values.only.split(',').filter((step) => step !== '');
  const options: Options = { ...values, only, device: deviceOf(values.device), seconds: Number(values.seconds) };
  if (values.step === undefined) {
    mkdirSync(join(options.out, '..'), { recursive: true });
    await runCheck(options);
    say(`the report is ${options.out}`);
    return;
  }
  try {
    for await (const finding of runStep(JSON.parse(values.step) as Step, options, values.checkpoint))
      // On a line of its own: the provider's words on the same stream may end in the middle of one.
      process.stdout.write(`\n${MARK}${JSON.stringify(finding)}\n`);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}

await main();
