// What the check on a card finds, as one JSON file, and the table that the documents make of such files.
import type { Precision } from '../../../src/settings/engine-settings.ts';

/** How far rows of numbers are from those of fp32 on the CPU. */
export interface Deviation {
  readonly rows: number;
  /** largest |found - expected| / |expected| of a row, as Euclidean norms */
  readonly worstRelative: number;
  readonly worstAbsolute: number;
  /** rows whose largest value is at the same place */
  readonly sameLargest: number;
  readonly notFinite: number;
}

export type Finding =
  | ({ readonly kind: 'parity'; readonly checkpoint: string; readonly part: 'decoder' | 'towers' } & {
      readonly precision: Precision;
      /** what is wrong in shortlists, beside all logits of the same rows; absent where there are none */
      readonly shortlistProblems?: readonly string[];
    } & Deviation)
  | { readonly kind: 'refused'; readonly precision: Precision; readonly code: string; readonly message: string }
  | { readonly kind: 'load'; readonly precision: Precision; readonly seconds: number }
  | {
      readonly kind: 'first-token';
      readonly precision: Precision;
      readonly tokens: number;
      readonly chunk: number;
      readonly visionSeconds: number;
      readonly audioSeconds: number;
      readonly prefillSeconds: number;
    }
  | {
      readonly kind: 'decode';
      readonly precision: Precision;
      readonly streams: number;
      /** tokens of each stream */
      readonly context: number;
      /** the first step of this size, which chooses kernels and records them */
      readonly firstMs?: number;
      /** median of a step without sampling */
      readonly runMs: number;
      readonly runMsBest: number;
      /** nine of ten steps are faster */
      readonly runMsSlow: number;
      readonly samplerMs: number;
      /** absent in reports from before shortlists */
      readonly sampling?: 'greedy' | 'top-p';
      /** sampled in all steps, and how many of them needed all their logits */
      readonly rows?: number;
      readonly fullRows?: number;
    }
  /** the bundled model's captions of its sample clips, all at once, against fp32 on the CPU */
  | {
      readonly kind: 'captions';
      readonly precision: Precision;
      readonly captions: number;
      /** captions with the same tokens */
      readonly same: number;
      readonly tokens: number;
      readonly seconds: number;
      /** clips whose captions have other tokens */
      readonly different: readonly string[];
    }
  | { readonly kind: 'prefix-copies'; readonly tokens: number; readonly copies: number; readonly seconds: number }
  /** memory given to a slot for so many tokens, and taken back; only where the KV cache is paged */
  | {
      readonly kind: 'allocation';
      readonly precision: Precision;
      readonly tokens: number;
      readonly allocateMs: number;
      readonly freeMs: number;
    }
  /** what transformers needs for the same work on the same card; of what failed, the problem */
  | {
      readonly kind: 'transformers';
      readonly what: 'load' | 'vision' | 'audio' | 'prefill' | 'decode';
      readonly seconds?: number;
      /** median of a decode step */
      readonly ms?: number;
      readonly streams?: number;
      readonly context?: number;
      readonly cache?: 'dynamic' | 'static';
      readonly versions?: string;
      readonly problem?: string;
    }
  /** how often each kernel was chosen for attention and for products with quantised weights, as the provider says it */
  | { readonly kind: 'kernels'; readonly counts: Readonly<Record<string, number>> }
  | { readonly kind: 'memory'; readonly peakMiB: number };

export interface StepReport {
  /** such as `parity bf16` */
  readonly name: string;
  /** `auto`: the provider chooses the attention kernel; `flash`: cuDNN's is switched off */
  readonly attention: 'auto' | 'flash';
  /** `default`: the provider's default kernels for quantised weights, not those that we choose */
  readonly products?: 'default';
  /** `one by one`: decode steps are not recorded as CUDA graphs */
  readonly launches?: 'one by one';
  /** `paged`: slots get memory as they need it (`--kv-cache-bytes`) */
  readonly cache?: 'paged';
  /** other forms of attention (AttentionOptions): `padded`, so that XQA takes decode steps; `packed`, and padded too */
  readonly heads?: 'padded' | 'packed';
  readonly seconds: number;
  /** why the step did not end, with the last words of its process */
  readonly problem?: string;
  readonly findings: readonly Finding[];
}

export interface CheckReport {
  readonly format: 'avocado-gpu-check';
  /** commit that was tested, or `unknown` */
  readonly commit: string;
  /** ISO date of the run */
  readonly date: string;
  readonly device: string;
  readonly machine: Readonly<Record<string, string>>;
  readonly steps: readonly StepReport[];
}

/**
 * Largest relative deviation that counts as the same model, half as much again as an H100 gave for the small random
 * checkpoints. That is rounding: fp16 has three bits more than bf16, and deviates by an eighth. int8 and int4 are
 * compared with fp32 of the same quantised weights: what remains is the rounding of bf16, also of each weight that a
 * kernel makes a number again.
 */
const TOLERANCE: Readonly<Partial<Record<Precision, number>>> = {
  bf16: 5.5e-2,
  fp16: 6e-3,
  int8: 7.5e-2,
  int4: 7.5e-2,
};

/** @throws Error when the text is no report of this check */
export function parseReport(text: string): CheckReport {
  const report = JSON.parse(text) as Partial<CheckReport>;
  if (report.format !== 'avocado-gpu-check' || !Array.isArray(report.steps) || report.device === undefined)
    throw new Error('This is no report of the GPU check.');
  return report as CheckReport;
}

function rowOf(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

function parityRow(name: string, finding: Extract<Finding, { kind: 'parity' }>): string[] {
  const { precision, rows, worstRelative, sameLargest, notFinite } = finding;
  const limit = TOLERANCE[precision];
  const problems = finding.shortlistProblems ?? [];
  const within = notFinite === 0 && problems.length === 0 && (limit === undefined || worstRelative <= limit);
  const largest = finding.part === 'decoder' ? `, same best token in ${sameLargest} of ${rows}` : '';
  const deviates = `${worstRelative.toExponential(1)} from fp32 on the CPU${largest}`;
  const verdict = limit === undefined ? '' : ` (limit ${limit.toExponential(1)})`;
  const lists = problems.length === 0 ? '' : `; ${problems.length} wrong shortlists: ${problems[0] ?? ''}`;
  const told = `${within ? '' : '**outside**: '}${deviates}${verdict}${lists}`;
  return [`${finding.part} of ${finding.checkpoint}, ${precision}${name}`, told];
}

type TransformersFinding = Extract<Finding, { kind: 'transformers' }>;

/** Our seconds for what transformers did, in the same precision with the same attention: the best of several. */
function ourSeconds(
  { what, streams, context }: Pick<TransformersFinding, 'streams' | 'context'> & { readonly what: string },
  { steps }: CheckReport,
): number | undefined {
  const usual = steps.filter(
    ({ attention, cache, heads }) => attention === 'auto' && cache === undefined && heads === undefined,
  );
  const findings = usual.flatMap((step) => step.findings);
  const found = findings.flatMap((finding) => {
    if (finding.kind === 'first-token' && finding.precision === 'bf16') {
      const { visionSeconds, audioSeconds, prefillSeconds } = finding;
      // Our towers run at once, so that neither has a time of its own.
      if (what === 'first token') return [visionSeconds + audioSeconds + prefillSeconds];
      return what === 'prefill' ? [prefillSeconds] : [];
    }
    if (what !== 'decode' || finding.kind !== 'decode' || finding.precision !== 'bf16') return [];
    const isSame = finding.streams === streams && finding.context === context;
    return isSame ? [(finding.runMs + finding.samplerMs) / 1000] : [];
  });
  return found.length === 0 ? undefined : Math.min(...found);
}

function transformersRow(finding: TransformersFinding, report: CheckReport): string[] {
  const { what, seconds, ms, streams = 1, context = 0, cache = '', versions, problem } = finding;
  const many = `${streams} ${streams === 1 ? 'stream' : 'streams'} of ${context.toLocaleString('en')} tokens`;
  const name = `transformers: ${what === 'decode' ? `decode, ${many}, ${cache} cache` : what}`;
  if (problem !== undefined) return [name, `failed: ${problem.replaceAll(/[|\s]+/g, ' ')}`];
  const theirs = seconds ?? (ms ?? NaN) / 1000;
  const ours = ourSeconds(finding, report);
  const told = ms === undefined ? `${theirs.toFixed(2)} s` : `${ms.toFixed(2)} ms a step`;
  const ratio = ours === undefined ? '' : `: ${(theirs / ours).toFixed(1)} × ours in bf16`;
  return [name, `${told}${ratio}${versions === undefined ? '' : ` (${versions})`}`];
}

/** What transformers needs for all of the first token; nothing where a part failed. */
function firstTokenRows(findings: readonly Finding[], report: CheckReport): string[] {
  const seconds = findings.flatMap((finding) =>
    finding.kind === 'transformers' && ['vision', 'audio', 'prefill'].includes(finding.what)
      ? [finding.seconds ?? NaN]
      : [],
  );
  const theirs = seconds.reduce((sum, part) => sum + part, 0);
  const ours = ourSeconds({ what: 'first token' }, report);
  if (seconds.length !== 3 || !Number.isFinite(theirs) || ours === undefined) return [];
  const told = `${theirs.toFixed(2)} s: ${(theirs / ours).toFixed(1)} × ours in bf16`;
  return [rowOf(['transformers: first token (vision, audio, prefill)', told])];
}

function cellsOf(finding: Finding, name: string, report: CheckReport): string[] | undefined {
  switch (finding.kind) {
    case 'parity':
      return parityRow(name, finding);
    case 'refused':
      return [`${finding.precision}${name}`, `refused: ${finding.message}`];
    case 'first-token': {
      const { tokens, chunk, visionSeconds, audioSeconds, prefillSeconds, precision } = finding;
      const all = visionSeconds + audioSeconds + prefillSeconds;
      const parts = `towers ${(visionSeconds + audioSeconds).toFixed(2)}, prefill ${prefillSeconds.toFixed(2)}`;
      const rate = `${Math.round(tokens / prefillSeconds).toLocaleString('en')} tokens/s of prefill`;
      const what = `first token of ${tokens.toLocaleString('en')} tokens, ${precision}, chunks of ${chunk}${name}`;
      return [what, `${all.toFixed(2)} s (${parts}); ${rate}`];
    }
    case 'decode': {
      const { streams, context, precision, runMs, samplerMs, sampling = 'greedy', rows, fullRows } = finding;
      const step = runMs + samplerMs;
      const rate = `${Math.round((1000 * streams) / step).toLocaleString('en')} tokens/s`;
      const what = `decode, ${precision}, ${streams} ${streams === 1 ? 'stream' : 'streams'} of ${context.toLocaleString('en')} tokens${sampling === 'greedy' ? '' : `, ${sampling}`}${name}`;
      const full = rows === undefined ? '' : `, all logits of ${fullRows ?? rows} of ${rows} rows`;
      return [what, `${step.toFixed(2)} ms a step (sampling ${samplerMs.toFixed(2)}${full}); ${rate}`];
    }
    case 'transformers':
      return transformersRow(finding, report);
    case 'captions': {
      const { precision, captions, same, tokens, seconds, different } = finding;
      const others = different.length === 0 ? '' : ` (others: ${different.join(', ')})`;
      const told = `${same} of ${captions} with the tokens of fp32 on the CPU${others}; ${tokens} tokens in ${seconds.toFixed(2)} s`;
      return [`avocado-nano captions its sample clips, ${precision}${name}`, told];
    }
    case 'allocation': {
      const { tokens, precision, allocateMs, freeMs } = finding;
      const what = `memory of a slot for ${tokens.toLocaleString('en')} tokens, ${precision}${name}`;
      return [what, `${allocateMs.toFixed(1)} ms to give, ${freeMs.toFixed(1)} ms to take back`];
    }
    case 'load':
    case 'prefix-copies':
    case 'kernels':
    case 'memory':
      return undefined;
  }
}

/** The tables of all reports, one for each card. */
export function gpuTables(reports: readonly CheckReport[]): string {
  if (reports.length === 0) return 'Not yet measured: the check has not run on a card.';
  return reports
    .map((report) => {
      const rows = report.steps.flatMap((step) => {
        const { attention, products, launches, cache, heads, findings, name, problem } = step;
        const kernels = products === undefined ? '' : ', default kernels for quantised weights';
        const launched = launches === undefined ? '' : ', kernels launched one by one';
        const paged = cache === undefined ? '' : ', KV cache in pages';
        const padded = heads === undefined ? '' : `, ${heads} heads`;
        const note = (attention === 'auto' ? '' : `, ${attention} attention`) + kernels + launched + paged + padded;
        const cells = findings.flatMap((finding) => {
          const found = cellsOf(finding, note, report);
          return found === undefined ? [] : [rowOf(found)];
        });
        cells.push(...firstTokenRows(findings, report));
        return problem === undefined
          ? cells
          : [...cells, rowOf([`${name}${note}`, `**did not end**: ${problem.split('\n')[0] ?? ''}`])];
      });
      const title = `${report.device}, ${report.date.slice(0, 10)}, commit ${report.commit.slice(0, 9)}:`;
      return [title, '', rowOf(['what', 'measured']), rowOf(['---', '---']), ...rows].join('\n');
    })
    .join('\n\n');
}
