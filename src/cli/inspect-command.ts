import { Option, type Command } from 'commander';
import { AvocadoError } from '../base/errors.ts';
import type { InspectReport, InspectStage } from '../captioner/inspect.ts';
import { snakeCase } from '../output/caption-answer.ts';
import { MODEL_SETTINGS } from '../settings/schema.ts';
import type { CliEnvironment } from './cli-environment.ts';
import { isPath } from './command-files.ts';
import {
  addRequestFlags,
  addSettingFlags,
  FILE_LIMITS,
  oneCaptionSettings,
  requestFromFlags,
  type Flags,
} from './flags.ts';
import { ProgressLine, write, writeJson } from './terminal.ts';

interface InspectFlags extends Flags {
  readonly json: boolean;
  readonly verbose: boolean;
  readonly dump?: string;
  readonly stage?: InspectStage;
}

const STAGES: readonly InspectStage[] = ['plan', 'features', 'towers', 'logits'];

export function addInspectCommand(program: Command, environment: CliEnvironment): void {
  const command = program
    .command('inspect')
    .description('show what would be fed to the model, without a caption')
    .argument('<file>');
  addSettingFlags(addRequestFlags(command), [...MODEL_SETTINGS, ...FILE_LIMITS])
    .option('--json', 'one JSON object on stdout, nothing else', false)
    .option('--dump <file>', 'write the tensors to a safetensors file')
    .addOption(new Option('--stage <name>', 'how far to go (default: plan; logits with --dump)').choices(STAGES))
    .option('--verbose', 'progress on stderr even when it is not a terminal', false)
    .action(async (file: string, flags: InspectFlags) => {
      await inspectFile(file, flags, environment);
    });
}

async function inspectFile(file: string, flags: InspectFlags, environment: CliEnvironment): Promise<void> {
  if (!isPath(file))
    throw new AvocadoError('bad_request', `inspect reads a file, not ${file}: save it here and give its path.`);
  const request = requestFromFlags(file, flags);
  const settings = await oneCaptionSettings(flags, environment);
  const progress = new ProgressLine(environment, flags);
  const asked = flags.stage ?? (flags.dump === undefined ? 'plan' : 'logits');
  // A plan has no tensors, so its dump goes on to the first stage that has some.
  const stage = asked === 'plan' && flags.dump !== undefined ? 'features' : asked;
  const options = { settings, stage, dump: flags.dump, onProgress: progress.show };
  const report = await environment.inspect(request, options, environment.interruption()).finally(progress.clear);
  if (flags.json) await writeJson(environment.stdout, snakeCase(report));
  else await write(environment.stdout, inspectTable(report));
}

type Row = readonly [name: string, value: string];

function indices(all: readonly number[]): string {
  return all.length <= 24 ? all.join(' ') : `${all.slice(0, 12).join(' ')} … ${all.slice(-6).join(' ')}`;
}

function mediaRows({ probe: { path, container, sizeBytes, durationSeconds, video, audio } }: InspectReport): Row[] {
  const rotated = video === undefined || video.rotation === 0 ? '' : `, rotated ${video.rotation}°`;
  return [
    ['file', `${path} (${container}, ${sizeBytes} bytes, ${durationSeconds.toFixed(3)} s)`],
    [
      'video',
      video === undefined
        ? 'none'
        : `${video.codec} ${video.width}x${video.height}, ${video.totalFrames} frames` +
          ` at ${video.averageFps.toFixed(3)} fps${rotated}`,
    ],
    [
      'sound',
      audio === undefined
        ? 'none'
        : `${audio.codec} ${audio.sampleRate} Hz, ${audio.channels} channels, ${audio.durationSeconds.toFixed(3)} s`,
    ],
  ];
}

function visionRows({ frames, sizes, grid, secondPerGrid }: InspectReport): Row[] {
  const rows: Row[] = [];
  if (frames !== undefined)
    rows.push(['frames', `${frames.count} at ${frames.sampleFps.toFixed(3)} fps: ${indices(frames.indices)}`]);
  if (sizes !== undefined)
    rows.push(['size', `${sizes.stageA.width}x${sizes.stageA.height} → ${sizes.final.width}x${sizes.final.height}`]);
  if (grid !== undefined)
    rows.push(['grid (t h w)', `${grid.join(' ')}${secondPerGrid === undefined ? '' : `, ${secondPerGrid} s a step`}`]);
  return rows;
}

function tokenRows({ tokens, tokensExact, budget, runLengths, ropeDelta }: InspectReport): Row[] {
  const kinds = (['text', 'video', 'image', 'audio'] as const)
    .filter((kind) => tokens[kind] > 0)
    .map((kind) => `${tokens[kind]} ${kind}`);
  return [
    ['tokens', `${tokens.total} = ${kinds.join(' + ')}${tokensExact ? '' : ' (sound: as its container says)'}`],
    [
      'budget',
      `${budget.prompt} + up to ${budget.maxTokens} of ${budget.context}: ${budget.fits ? 'fits' : 'DOES NOT FIT'}`,
    ],
    ['rope delta', String(ropeDelta)],
    ['run lengths', runLengths],
  ];
}

function workRows({ topTokens, dump, timings, warnings }: InspectReport): Row[] {
  const rows: Row[] = [];
  if (topTokens !== undefined)
    rows.push([
      'next token',
      topTokens.map(({ text, logit }) => `${JSON.stringify(text)} ${logit.toFixed(3)}`).join(', '),
    ]);
  if (dump !== undefined) rows.push(['dump', `${dump.path}: ${dump.tensors.join(', ')}`]);
  rows.push([
    'seconds',
    Object.entries(timings)
      .map(([stage, seconds]) => `${stage} ${seconds.toFixed(3)}`)
      .join(', '),
  ]);
  for (const warning of warnings) rows.push(['warning', warning]);
  return rows;
}

/** The report as text: one line a fact. */
function inspectTable(report: InspectReport): string {
  const { profile } = report;
  const rows: Row[] = [
    ['model', report.model],
    ['preset', report.preset],
    ['profile', `${profile.name}@${profile.version}`],
    ...mediaRows(report),
    ...visionRows(report),
    ...tokenRows(report),
    ...workRows(report),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}
