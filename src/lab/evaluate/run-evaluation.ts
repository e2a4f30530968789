// One evaluation from the dataset to its reports, in a directory that can be gone on with at any time.
import { join, resolve } from 'node:path';
import { directoryUnwritable, AvocadoError } from '../../base/errors.ts';
import { makeDirectory } from '../../base/make-directory.ts';
import { replaceFile } from '../../base/replace-file.ts';
import { snakeCase } from '../../output/caption-answer.ts';
import { endpointJudge } from '../rewards/judges/endpoint-judge.ts';
import { readPrompts } from '../rewards/judges/prompts.ts';
import type { DialogueLine } from '../rewards/types.ts';
import {
  isRow,
  textField,
  type Benchmark,
  type Item,
  type Judged,
  type Preset,
  type PromptTexts,
} from './benchmark.ts';
import { captionMetrics, judgeDialogues, type DialogueMetrics, type SpokenReference } from './caption-metrics.ts';
import { itemFinder, makeCaptions, readCaptions, type CaptionRow, type CaptionSource } from './captions.ts';
import { datasetFiles, rowsOf, textOf, videoOf } from './dataset-files.ts';
import { evaluationOf, judgeAll, type Evaluation } from './evaluate.ts';
import { JudgeSession, sha256, type JudgeSessionOptions } from './judge-session.ts';
import { linkTo, reportPage } from './report-page.ts';
import { markdownReport, type Report } from './report.ts';

export interface EvaluationOptions {
  readonly benchmark: Benchmark;
  /** of the dataset */
  readonly directory: string;
  readonly out: string;
  readonly preset: Preset;
  /** undefined = as the preset says */
  readonly runs: number | undefined;
  /** only so many items, the first ones; undefined = all */
  readonly limit: number | undefined;
  /** a file, or what makes them */
  readonly captions: string | (() => Promise<CaptionSource>);
  /** undefined = only captions are made */
  readonly judge:
    | (Omit<JudgeSessionOptions, 'path' | 'signal'> & { readonly model: string; readonly concurrency: number })
    | undefined;
  /** directory of own judge prompts, NAME.txt */
  readonly prompts: string | undefined;
  /** also judge Dlg. F1 */
  readonly dialogue: boolean;
  /** file of references for it, for benchmarks that have none */
  readonly references: string | undefined;
  readonly resamples: number;
  readonly seed: number;
  readonly signal: AbortSignal;
  readonly onProgress: (text: string, done: number, total: number) => void;
  readonly onWarning: (sentence: string) => void;
}

export interface EvaluationResult {
  readonly report: Report;
  /** ids of the items that have no caption, not even an empty one */
  readonly missing: readonly string[];
  readonly asked: number;
}

/**
 * Writes report.json, report.md, report.html and verdicts.jsonl into `out`, beside captions.jsonl and replies.jsonl,
 * from which an interrupted evaluation goes on.
 * @throws AvocadoError `bad_request`, `directory_unwritable`, and what the caption source throws; the signal's reason
 */
export async function runEvaluation(options: EvaluationOptions): Promise<EvaluationResult> {
  const { benchmark, directory, out, signal } = options;
  const read = await benchmark.read(datasetFiles(directory, benchmark.title, benchmark.source));
  const items = (await availableItems(read, options)).slice(0, options.limit);
  const prompts = await promptsOf(benchmark, options.prompts);
  try {
    makeDirectory(out);
  } catch (cause) {
    throw directoryUnwritable(out, cause, 'Name another directory with --out.');
  }
  const captions = await captionsOf(items, options);
  const { judge } = options;
  const session =
    judge === undefined ? undefined : new JudgeSession({ ...judge, path: join(out, 'replies.jsonl'), signal });
  try {
    const judged = session === undefined ? undefined : await verdictsOf(items, captions, session, prompts, options);
    const dialogue =
      session === undefined || !options.dialogue ? undefined : await dialoguesOf(items, captions, session, options);
    await session?.settled();
    const rows = items.flatMap((item) => captions.get(item.id) ?? []);
    const report = reportOf(options, { evaluation: judged, dialogue, session, prompts, rows });
    await writeReports(report, judged?.judged ?? [], captions, options);
    const missing = items.flatMap(({ id }) => (captions.has(id) ? [] : [id]));
    return { report, missing, asked: session?.asked ?? 0 };
  } finally {
    session?.close();
  }
}

/** The items that can be captioned here; all of them where none can, which `makeCaptions` refuses. */
async function availableItems(
  items: readonly Item[],
  { benchmark, captions, directory, onWarning }: EvaluationOptions,
): Promise<readonly Item[]> {
  if (benchmark.clipsVanish !== true || typeof captions === 'string') return items;
  const paths = await Promise.all(items.map((item) => videoOf(item, directory)));
  const found = items.filter((_item, index) => paths[index] !== undefined);
  if (found.length === 0 || found.length === items.length) return items;
  onWarning(`${items.length - found.length} of ${items.length} clips are not in ${directory}: they are left out.`);
  return found;
}

/**
 * The benchmark's prompts, some of them replaced by files.
 * @throws AvocadoError `bad_request`
 */
async function promptsOf({ name, prompts }: Benchmark, directory: string | undefined): Promise<PromptTexts> {
  if (directory === undefined) return prompts;
  const read = await Promise.all(
    Object.entries(prompts).map(async ([key, text]) => {
      const path = join(directory, `${key}.txt`);
      const own = (await textOf(path))?.replaceAll('\r\n', '\n');
      if (own !== undefined) checkFields(own, text, path);
      return [key, own ?? text] as const;
    }),
  );
  const texts = Object.fromEntries(read);
  if (sha256(texts) !== sha256(prompts)) return texts;
  throw new AvocadoError(
    'bad_request',
    `${directory} has none of ${Object.keys(prompts).join('.txt, ')}.txt, the prompts of ${name}.`,
    { param: 'prompts' },
  );
}

/** Fields of the built-in prompts that a prompt can do without. */
const OPTIONAL_FIELDS = ['mark', 'count', 'id', 'subjects', 'truth'];

/**
 * A prompt that does not say where the caption goes would have the judge guess.
 * @throws AvocadoError `bad_request`
 */
function checkFields(own: string, builtIn: string, path: string): void {
  const used = new Set(Array.from(builtIn.matchAll(/\{\{(\w+)\}\}/g), ([, name = '']) => name));
  // Whoever compares speakers may need nothing but their descriptions.
  const needed = used.has('pairs') ? ['pairs'] : [...used].filter((name) => !OPTIONAL_FIELDS.includes(name));
  const missing = needed.map((name) => `{{${name}}}`).filter((field) => !own.includes(field));
  if (missing.length === 0) return;
  throw new AvocadoError('bad_request', `${path} does not say where these go: write ${missing.join(' and ')}.`, {
    param: 'prompts',
  });
}

async function captionsOf(
  items: readonly Item[],
  options: EvaluationOptions,
): Promise<ReadonlyMap<string, CaptionRow>> {
  const { captions, benchmark, directory, out, signal, onProgress, onWarning } = options;
  if (typeof captions === 'string') return readCaptions(captions, items);
  return makeCaptions(await captions(), {
    benchmark,
    items,
    directory,
    journal: join(out, 'captions.jsonl'),
    signal,
    onProgress: (done, total) => {
      onProgress('captions', done, total);
    },
    onFailure: (id, error) => {
      onWarning(`${id} has no caption: ${error.message}`);
    },
  });
}

async function verdictsOf(
  items: readonly Item[],
  captions: ReadonlyMap<string, CaptionRow>,
  session: JudgeSession,
  prompts: PromptTexts,
  options: EvaluationOptions,
): Promise<Evaluation> {
  const { benchmark, preset, signal, resamples, seed, onProgress, onWarning } = options;
  const runs = await judgeAll(benchmark, items, captions, {
    session,
    preset,
    prompts,
    runs: options.runs ?? benchmark.protocols[preset].runs,
    concurrency: options.judge?.concurrency ?? 1,
    signal,
    onProgress: (done, total) => {
      onProgress('judging', done, total);
    },
    onFailure: (id, reason) => {
      onWarning(`${id} has no verdict: ${reason}`);
    },
  });
  return evaluationOf(benchmark, runs, { preset, resamples, seed });
}

async function dialoguesOf(
  items: readonly Item[],
  captions: ReadonlyMap<string, CaptionRow>,
  session: JudgeSession,
  { benchmark, judge, references, signal, onWarning }: EvaluationOptions,
): Promise<DialogueMetrics> {
  const endpoint = {
    model: judge?.model ?? '',
    droppedFields: session.droppedFields,
    ask: (user: Parameters<ReturnType<typeof asText>>[0], repeat: number) => asText(session)(user, repeat),
  };
  return judgeDialogues(benchmark, items, captions, {
    judge: endpointJudge(endpoint, { prompts: await readPrompts(undefined), seesVideo: false }),
    references: references === undefined ? new Map() : await readReferences(references, items),
    concurrency: judge?.concurrency ?? 1,
    signal,
    onFailure: (id, reason) => {
      onWarning(`the spoken lines of ${id} have no score: ${reason}`);
    },
  });
}

/** The session as the judge of the rewards asks it, which counts its repeats itself. */
function asText(session: JudgeSession) {
  return (user: string | readonly Readonly<Record<string, unknown>>[], repeat: number): Promise<string> =>
    session.ask({ user, tag: 'dialogue' }, (reply) => reply, repeat === 0 ? { temperature: 0 } : { temperature: 0.5 }, {
      run: repeat,
    });
}

/** Lines `{video_id, caption}` or `{video_id, dialogues: [{speaker, content}]}`. */
async function readReferences(path: string, items: readonly Item[]): Promise<Map<string, SpokenReference>> {
  const text = await textOf(path);
  if (text === undefined)
    throw new AvocadoError('bad_request', `--references ${path} does not exist.`, { param: 'references' });
  const itemOf = itemFinder(items);
  const references = rowsOf(text, path).flatMap((row) => {
    const id = itemOf([textField(row, 'video_id') ?? ''])?.id;
    const given = Array.isArray(row['dialogues']) ? (row['dialogues'] as unknown[]).filter(isRow) : undefined;
    const dialogues = given?.map((line): DialogueLine => {
      return { speaker: textField(line, 'speaker') ?? '', content: textField(line, 'content') ?? '' };
    });
    return id === undefined ? [] : [[id, { caption: textField(row, 'caption'), dialogues }] as const];
  });
  if (references.length > 0) return new Map(references);
  throw new AvocadoError(
    'bad_request',
    `None of the references in ${path} belongs to a clip of this benchmark: lines need video_id, and caption or dialogues.`,
    { param: 'references' },
  );
}

interface Found {
  readonly evaluation: Evaluation | undefined;
  readonly dialogue: DialogueMetrics | undefined;
  readonly session: JudgeSession | undefined;
  readonly prompts: PromptTexts;
  readonly rows: readonly CaptionRow[];
}

function reportOf(options: EvaluationOptions, { evaluation, dialogue, session, prompts, rows }: Found): Report {
  const { benchmark, preset, judge, resamples, seed } = options;
  const models = [...new Set(rows.flatMap(({ model }) => (model === '' ? [] : [model])))];
  return {
    benchmark: benchmark.name,
    title: benchmark.title,
    preset,
    captions: {
      model: models.length === 0 ? 'an unnamed model' : models.join(', '),
      source: typeof options.captions === 'string' ? 'a file' : 'made by this command',
    },
    judge:
      session === undefined || judge === undefined
        ? undefined
        : {
            model: judge.model,
            served: session.account().models,
            prompts_sha256: sha256(prompts),
            sampling: benchmark.protocols[preset].sampling,
            dropped_fields: session.droppedFields,
            account: session.account(),
          },
    seed,
    resamples,
    evaluation: evaluation === undefined ? undefined : withoutItems(evaluation),
    metrics: captionMetrics(rows),
    dialogue,
    published: benchmark.published,
    notes: benchmark.notes,
  };
}

function withoutItems({ tables, slices, counts, runs, reported }: Evaluation): Omit<Evaluation, 'judged'> {
  return { tables, slices, counts, runs, reported };
}

async function writeReports(
  report: Report,
  judged: readonly Judged[],
  captions: ReadonlyMap<string, CaptionRow>,
  { benchmark, out }: EvaluationOptions,
): Promise<void> {
  const videoOf = ({ item }: Judged): string | undefined => {
    const path = captions.get(item.id)?.video;
    return path === undefined || path === '' ? undefined : linkTo(resolve(path), resolve(out));
  };
  const verdicts = judged.map(({ item, verdict, failure, caption }) =>
    JSON.stringify({ video_id: item.id, failure: failure ?? null, verdict: verdict ?? null, caption: caption ?? null }),
  );
  const put = (name: string, text: string | Iterable<string>): Promise<void> =>
    replaceFile(join(out, name), typeof text === 'string' ? [text] : text);
  try {
    await put('report.json', `${JSON.stringify(snakeCase(report), null, 2)}\n`);
    await put('report.md', markdownReport(report, benchmark));
    if (judged.length > 0) {
      await put('verdicts.jsonl', `${verdicts.join('\n')}\n`);
      await put('report.html', reportPage(report, benchmark, judged, videoOf));
    }
  } catch (cause) {
    throw directoryUnwritable(out, cause, 'Make room and start the command again: it goes on where it stopped.');
  }
}
