import type { InspectReport } from '../captioner/inspect.ts';

type Row = readonly [name: string, value: string];

function indices(all: readonly number[]): string {
  return all.length <= 24 ? all.join(' ') : `${all.slice(0, 12).join(' ')} … ${all.slice(-6).join(' ')}`;
}

function mediaRows({ probe }: InspectReport): Row[] {
  const { video, audio } = probe;
  return [
    ['file', `${probe.path} (${probe.container}, ${probe.sizeBytes} bytes, ${probe.durationSeconds.toFixed(3)} s)`],
    [
      'video',
      video === undefined
        ? 'none'
        : `${video.codec} ${video.width}x${video.height}, ${video.totalFrames} frames at ${video.averageFps.toFixed(3)} fps${video.rotation === 0 ? '' : `, rotated ${video.rotation}°`}`,
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

/** The report for people: one line a fact. */
export function inspectTable(report: InspectReport): string {
  const { profile } = report;
  const rows: Row[] = [
    ['model', report.model],
    ['profile', `${profile.name}@${profile.version}`],
    ...mediaRows(report),
    ...visionRows(report),
    ...tokenRows(report),
    ...workRows(report),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}
