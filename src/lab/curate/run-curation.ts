// One curation from a manifest to training files, in a directory that can be gone on with at any time.
import { dirname, join, resolve } from 'node:path';
import { AvocadoError, directoryUnwritable } from '../../base/errors.ts';
import { replaceFile } from '../../base/replace-file.ts';
import { snakeCase, type Json } from '../../output/caption-answer.ts';
import { numberOf } from '../rewards/json-recovery.ts';
import { readPrompts } from '../rewards/judges/prompts.ts';
import { textField, mean } from '../evaluate/benchmark.ts';
import { wordCount } from '../evaluate/caption-metrics.ts';
import { rowsOf, textOf } from '../evaluate/dataset-files.ts';
import { JudgeSession, sha256, type Account, type JudgeSessionOptions } from '../evaluate/judge-session.ts';
import { exportFiles, lines, type ExportName } from './exporters.ts';
import { curate, CURATE_PROMPTS, withChecklists, type CurateOptions, type Decision, type Sample } from './pipeline.ts';

/** A model that curation asks: the teacher or the judge. */
type ChatModel = Omit<JudgeSessionOptions, 'path' | 'signal'> & { readonly model: string };

export interface CurationOptions {
  /** JSON lines of sample_id, source, video, duration, prompt */
  readonly manifest: string;
  readonly out: string;
  readonly teacher: ChatModel;
  readonly judge: ChatModel;
  readonly exports: readonly ExportName[];
  readonly keepFrom: number;
  /** how many kept samples get keypoints and spoken lines */
  readonly grpo: number;
  readonly seed: number;
  readonly concurrency: number;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number) => void;
}

/** What became of a set; counts add up to `samples`. */
export interface QualityCard {
  readonly samples: number;
  readonly kept: number;
  readonly dropped: number;
  readonly open: number;
  readonly grpo: number;
  /** chosen for GRPO, but the judge has not answered about them */
  readonly grpoOpen: number;
  /** by source, then `stage: reason`, or `kept` */
  readonly sources: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** of all that were scored */
  readonly completeness: Readonly<Record<string, number>>;
  readonly words: { readonly mean: number | null; readonly longest: number };
  /** mean share of sentences that fusion kept, of the kept ones */
  readonly preserved: number | null;
  readonly teacher: { readonly model: string; readonly account: Account };
  readonly judge: { readonly model: string; readonly account: Account };
  readonly prompts_sha256: string;
}

/**
 * Writes decisions.jsonl, card.json, card.md and the exports into `out`, beside the replies of teacher and judge, from
 * which an interrupted curation goes on.
 * @throws AvocadoError `bad_request`, `directory_unwritable`; the signal's reason
 */
export async function runCuration(options: CurationOptions): Promise<QualityCard> {
  const { out, signal } = options;
  const samples = await readManifest(options.manifest);
  const teacher = new JudgeSession({ ...options.teacher, path: join(out, 'teacher.jsonl'), signal });
  const judge = new JudgeSession({ ...options.judge, path: join(out, 'judge.jsonl'), signal });
  try {
    const { texts } = await readPrompts(undefined);
    const settings: CurateOptions = {
      teacher,
      judge,
      checklistPrompts: texts,
      keepFrom: options.keepFrom,
      seconds: { from: 2, to: 100 },
      concurrency: options.concurrency,
      signal,
      onProgress: options.onProgress,
    };
    const { decisions, open } = await addChecklists(await curate(samples, settings), settings, options);
    await Promise.all([teacher.settled(), judge.settled()]);
    const card = cardOf(decisions, open, options, { teacher, judge });
    await writeSet(decisions, card, options);
    return card;
  } finally {
    teacher.close();
    judge.close();
  }
}

async function readManifest(path: string): Promise<Sample[]> {
  const text = await textOf(path);
  if (text === undefined)
    throw new AvocadoError('bad_request', `${path} does not exist: name a manifest of JSON lines.`);
  const seen = new Set<string>();
  return rowsOf(text, path).map((row, index) => {
    const video = textField(row, 'video', 'path');
    if (video === undefined) throw new AvocadoError('bad_request', `${path}, line ${index + 1}, has no video.`);
    const id = textField(row, 'sample_id', 'id') ?? video;
    if (seen.has(id)) throw new AvocadoError('bad_request', `${path}: two samples have the id ${id}.`);
    seen.add(id);
    const seconds = numberOf(row['duration']);
    return {
      id,
      source: textField(row, 'source') ?? 'unknown',
      video: resolve(dirname(path), video),
      seconds: Number.isFinite(seconds) ? seconds : undefined,
      prompt: textField(row, 'prompt'),
    };
  });
}

/**
 * Random kept samples become ready for GRPO: the same ones for the same set and seed in any order, and nearly the same
 * when open samples are kept later.
 */
async function addChecklists(
  decisions: readonly Decision[],
  settings: CurateOptions,
  { grpo, seed }: CurationOptions,
): Promise<{ readonly decisions: readonly Decision[]; readonly open: number }> {
  const kept = decisions.filter(({ state }) => state === 'kept');
  const ranked = kept.map((decision) => ({ decision, rank: sha256([seed, decision.sample.id]) }));
  ranked.sort((one, other) => (one.rank < other.rank ? -1 : 1));
  const chosen = ranked.slice(0, grpo).map(({ decision }) => decision);
  const { listed, open } = await withChecklists(chosen, settings);
  const byId = new Map(listed.map((decision) => [decision.sample.id, decision]));
  return { decisions: decisions.map((decision) => byId.get(decision.sample.id) ?? decision), open };
}

/** @param grpoOpen samples that the judge did not answer about */
export function cardOf(
  decisions: readonly Decision[],
  grpoOpen: number,
  options: { readonly teacher: Pick<ChatModel, 'model'>; readonly judge: Pick<ChatModel, 'model'> },
  { teacher, judge }: Readonly<Record<'teacher' | 'judge', Pick<JudgeSession, 'account'>>>,
): QualityCard {
  const kept = decisions.filter(({ state }) => state === 'kept');
  const sources: Record<string, Record<string, number>> = {};
  const scores: Record<string, number> = {};
  for (const { sample, state, stage, reason, completeness } of decisions) {
    const own = (sources[sample.source] ??= {});
    const name = state === 'kept' ? 'kept' : `${state} ${stage}: ${reason}`;
    own[name] = (own[name] ?? 0) + 1;
    if (completeness !== undefined) scores[completeness] = (scores[completeness] ?? 0) + 1;
  }
  const words = kept.map(({ caption = '' }) => wordCount(caption));
  return {
    samples: decisions.length,
    kept: kept.length,
    dropped: decisions.filter(({ state }) => state === 'dropped').length,
    open: decisions.filter(({ state }) => state === 'open').length,
    grpo: kept.filter(({ keypoints }) => keypoints !== undefined).length,
    grpoOpen,
    sources,
    completeness: scores,
    words: { mean: mean(words), longest: words.reduce((longest, count) => Math.max(longest, count), 0) },
    preserved: mean(kept.flatMap(({ preserved }) => preserved?.sentences ?? [])),
    teacher: { model: options.teacher.model, account: teacher.account() },
    judge: { model: options.judge.model, account: judge.account() },
    prompts_sha256: sha256(CURATE_PROMPTS),
  };
}

/** As JSON: in snake_case but for the names of sources, which are the manifest's own. */
export function cardJson(card: QualityCard): Json {
  return { ...(snakeCase(card) as Readonly<Record<string, Json>>), sources: card.sources };
}

export function cardText(card: QualityCard): string {
  const rows = Object.entries(card.sources).flatMap(([source, counts]) =>
    Object.entries(counts)
      .sort(([one], [other]) => one.localeCompare(other))
      .map(([name, count]) => `| ${source} | ${name} | ${count} |`),
  );
  const scores = Object.entries(card.completeness).map(([score, count]) => `${score}: ${count}`);
  const cost = ({ model, account }: QualityCard['teacher']): string =>
    `${model}: ${account.questions} replies, ${account.promptTokens} + ${account.completionTokens} tokens` +
    (account.cost === undefined ? '' : `, ${account.cost.toFixed(4)} US dollars`);
  const waiting =
    card.grpoOpen === 0 ? '' : ` ${card.grpoOpen} more wait for the judge's answers: start the command again.`;
  return `# Quality card

${card.samples} samples: ${card.kept} kept, ${card.dropped} dropped, ${card.open} open; ${card.grpo} ready for GRPO.${waiting}

| source | decision | samples |
| --- | --- | --- |
${rows.join('\n')}

* Completeness of those scored: ${scores.join(', ') || '-'}
* Words of a kept caption: mean ${card.words.mean?.toFixed(1) ?? '-'}, longest ${card.words.longest}
* Sentences that fusion kept: ${card.preserved === null ? '-' : `${(100 * card.preserved).toFixed(1)} %`}
* Teacher ${cost(card.teacher)}
* Judge ${cost(card.judge)}
* Prompts ${card.prompts_sha256.slice(0, 12)}
`;
}

function* decisionLines(decisions: readonly Decision[]): Generator<string> {
  for (const decision of decisions) yield* lines([snakeCase(decision)]);
}

async function writeSet(
  decisions: readonly Decision[],
  card: QualityCard,
  { out, exports }: CurationOptions,
): Promise<void> {
  const kept = decisions.filter(({ state }) => state === 'kept');
  const files: Record<string, Iterable<string>> = {
    'decisions.jsonl': decisionLines(decisions),
    'card.json': [`${JSON.stringify(cardJson(card), null, 2)}\n`],
    'card.md': [cardText(card)],
  };
  for (const name of exports) Object.assign(files, exportFiles(name, kept));
  try {
    for (const [name, text] of Object.entries(files)) await replaceFile(join(out, name), text);
  } catch (cause) {
    throw directoryUnwritable(out, cause, 'Make room and start the command again: it goes on where it stopped.');
  }
}
