// What an evaluation tells: one object, as JSON and as Markdown. Neither depends on when or in how many attempts it was
// made.
import { COUNTINGS, type Benchmark, type Preset, type Scores } from './benchmark.ts';
import type { CaptionMetrics, DialogueMetrics } from './caption-metrics.ts';
import { countingOf, type Evaluation, type Interval } from './evaluate.ts';
import type { Account } from './judge-session.ts';

export interface Report {
  readonly benchmark: string;
  readonly title: string;
  readonly preset: Preset;
  readonly captions: { readonly model: string; readonly source: string };
  /** undefined = only captions were made */
  readonly judge?:
    | {
        readonly model: string;
        readonly served: readonly string[];
        readonly prompts_sha256: string;
        readonly sampling: Readonly<Record<string, number>>;
        readonly dropped_fields: readonly string[];
        readonly account: Account;
      }
    | undefined;
  readonly seed: number;
  readonly resamples: number;
  readonly evaluation?: Omit<Evaluation, 'judged'> | undefined;
  readonly metrics: CaptionMetrics;
  readonly dialogue?: DialogueMetrics | undefined;
  readonly published: Benchmark['published'];
  readonly notes: readonly string[];
}

function shown(value: number | null | undefined, digits = 2): string {
  return value === null || value === undefined ? '-' : value.toFixed(digits);
}

function withInterval(value: number | null | undefined, interval: Interval | null | undefined): string {
  return interval == null ? shown(value) : `${shown(value)} [${shown(interval.low)}, ${shown(interval.high)}]`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replace(/\s+/g, ' ');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n');
}

export function markdownReport(report: Report, { columns }: Pick<Benchmark, 'columns'>): string {
  const parts = [
    `# ${report.title}`,
    headText(report),
    report.evaluation === undefined ? '' : scoreText(report, report.evaluation, columns),
    metricsText(report),
    `## Published\n\n${publishedTable(report, columns)}`,
    `## Notes\n\n${report.notes.map((note) => `* ${note}`).join('\n')}`,
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

function headText({ preset, captions, judge }: Report): string {
  const how =
    preset === 'paper'
      ? 'Preset paper: as the text says; every expected item counts (strict).'
      : 'Preset compat: as the authors’ scripts do, quirks included.';
  const lines = [how, `Captions of ${captions.model} (${captions.source}).`];
  if (judge !== undefined) {
    const { model, served, prompts_sha256: hash, account } = judge;
    const cost = account.cost === undefined ? '' : `, ${account.cost.toFixed(4)} US dollars`;
    const uncounted = account.uncounted === 0 ? '' : `, ${account.uncounted} replies not counted by the server`;
    lines.push(
      `Judge ${model}${served.length === 0 ? '' : ` (it calls itself ${served.join(', ')})`}, prompts ${hash.slice(0, 12)}: ` +
        `${account.questions} replies, ${account.promptTokens} + ${account.completionTokens} tokens${cost}${uncounted}.`,
    );
    if (judge.dropped_fields.length > 0)
      lines.push(`Its server does not take ${judge.dropped_fields.join(', ')}: these were not sent.`);
  }
  return lines.join('\n');
}

function scoreText(report: Report, evaluation: Omit<Evaluation, 'judged'>, columns: Benchmark['columns']): string {
  const { tables, counts, runs, reported, slices } = evaluation;
  const own = countingOf(report.preset);
  const rows = COUNTINGS.map((way) => [
    way === own ? `**${way}**` : way,
    ...columns.map(({ name }) => withInterval(tables[way].scores[name], tables[way].intervals[name])),
  ]);
  const parts = [
    `## Scores\n\n${table(['counting', ...columns.map(titleOf)], rows)}`,
    `In brackets: 95 % by bootstrap over clips (${report.resamples} resamples, seed ${report.seed}).`,
    countText(counts),
  ];
  if (runs.length > 1) parts.push(runsText(runs, reported, columns));
  if (slices.length > 0) parts.push(`## By kind (${own})\n\n${sliceTable(slices, columns)}`);
  return parts.join('\n\n');
}

function titleOf({ title, better }: Benchmark['columns'][number]): string {
  return `${title} ${better === 'high' ? '↑' : '↓'}`;
}

function countText({
  expected,
  scored,
  no_caption: missing,
  unreadable,
  unreadable_questions: questions,
  open,
}: Evaluation['counts']): string {
  const left = open === 0 ? '' : ` **${open} are not judged yet: start the command again.**`;
  const within = questions === 0 ? '' : ` ${questions} questions about judged clips have no readable reply.`;
  return (
    `${expected} clips, ${scored} judged; ${missing} without a caption, ${unreadable} with unreadable replies.` +
    `${within}${left}`
  );
}

function runsText(runs: readonly Scores[], reported: number, columns: Benchmark['columns']): string {
  const name = columns[0]?.name ?? '';
  const values = runs.map((scores) => scores[name]).filter((value) => typeof value === 'number');
  if (values.length === 0) return `None of ${runs.length} runs has a score.`;
  const extremes = `${shown(Math.min(...values))} to ${shown(Math.max(...values))}`;
  return `Of ${runs.length} runs the median by ${columns[0]?.title ?? ''} is reported (run ${reported + 1}); they range from ${extremes}.`;
}

function sliceTable(slices: Evaluation['slices'], columns: Benchmark['columns']): string {
  const rows = slices.map(({ dimension, value, items, scores }) => [
    dimension,
    value,
    String(items),
    ...columns.map(({ name }) => shown(scores[name])),
  ]);
  return table(['kind', 'value', 'clips', ...columns.map(titleOf)], rows);
}

function metricsText({ metrics, dialogue }: Report): string {
  const { repetition, words, tokens, claims } = metrics;
  const spread = ({ count, ...own }: CaptionMetrics['words']): string =>
    `mean ${shown(own.mean, 1)}, median ${shown(own.median, 1)}, 95th percentile ${shown(own.p95, 1)}, longest ${shown(own.max, 0)} (${count})`;
  const lines = [
    `* RepCol ${shown(repetition.collapsed)} % (loop at the end ${shown(repetition.tail)}, inside ${shown(repetition.inner)}, ` +
      `near copies ${shown(repetition.nearCopy)}); cut by the token limit ${shown(repetition.cut)} %`,
    `* words: ${spread(words)}`,
    `* tokens: ${spread(tokens)}`,
  ];
  if (claims !== undefined)
    lines.push(
      `* claims: ${claims.unsupported} of ${claims.claims} in ${claims.captions} captions are not supported, ` +
        `${claims.unchecked} are not checked`,
    );
  if (dialogue !== undefined)
    lines.push(
      `* Dlg. F1 ${shown(dialogue.meanF1)} (F1 of means ${shown(dialogue.f1OfMeans)}, micro ${shown(dialogue.micro)}) of ` +
        `${dialogue.scored} clips; ${dialogue.silent} silent, ${dialogue.unscored} not scored`,
    );
  return `## The captions\n\n${lines.join('\n')}`;
}

function publishedTable({ published, evaluation, captions, preset }: Report, columns: Benchmark['columns']): string {
  const named = columns.filter(({ name }) => published.some(({ scores }) => scores[name] !== undefined));
  const ours = evaluation?.tables[countingOf(preset)].scores;
  const rows = published.map(({ model, scores }) => [model, ...named.map(({ name }) => shown(scores[name], 1))]);
  const own =
    ours === undefined ? [] : [[`**${captions.model}, here**`, ...named.map(({ name }) => shown(ours[name], 1))]];
  const title = table(['model', ...named.map(titleOf)], [...own, ...rows]);
  return `${title}\n\nThose were judged by other models with other prompts: compare loosely.`;
}
