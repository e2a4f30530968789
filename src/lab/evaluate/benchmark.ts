// A benchmark as one declarative object: what it reads, asks, counts, and what others scored.
import type { JudgeQuestion, ReadReply } from './judge-session.ts';

/** paper: what the text of the paper says; compat: what the authors' scripts do, with their quirks. */
export const PRESETS = ['paper', 'compat'] as const;
export type Preset = (typeof PRESETS)[number];

/** strict: every expected item stays in the denominator, failures count as the worst; compat: as the scripts count. */
export const COUNTINGS = ['strict', 'compat'] as const;
export type Counting = (typeof COUNTINGS)[number];

/** One clip, and what is known about it. */
export interface Item<Data = unknown> {
  readonly id: string;
  /** where its file may be below the data directory, most likely first */
  readonly videos: readonly string[];
  /** what the captioner is asked */
  readonly prompt: string;
  readonly data: Data;
}

/** Why an item has no verdict. `not_asked`: the judge failed or the budget ended, so it can still be judged. */
export type Failure = 'no_caption' | 'unreadable' | 'not_asked';

export interface Judged<Data = unknown, Verdict = unknown> {
  readonly item: Item<Data>;
  readonly caption: string | undefined;
  /** undefined = see `failure` */
  readonly verdict: Verdict | undefined;
  readonly failure: Failure | undefined;
}

/** By the name of the score; null = not defined for these items. */
export type Scores = Readonly<Record<string, number | null>>;

export interface ScoreColumn {
  readonly name: string;
  readonly title: string;
  readonly better: 'high' | 'low';
}

/** A part of the items, such as one kind of question. */
export interface Slice<Data = unknown, Verdict = unknown> {
  readonly dimension: string;
  readonly value: string;
  readonly judged: readonly Judged<Data, Verdict>[];
}

/** One thing the judge decided about a caption, for people to look at. */
export interface Point {
  readonly text: string;
  readonly mark: 'right' | 'partly' | 'wrong' | 'absent';
  readonly note?: string | undefined;
}

/** Fields of a request such as temperature; empty = the server's own. */
export type Sampling = Readonly<Record<string, number>>;

export interface Protocol {
  /** independent judgements of every item; of several, the median by the first score is reported */
  readonly runs: number;
  readonly sampling: Sampling;
}

/**
 * Asks the judge, again while the reply cannot be read.
 * @throws Unscored `parse_failed`; what the endpoint throws
 */
export type Ask = <T>(question: JudgeQuestion, read: ReadReply<T>, attempts?: number) => Promise<T>;

/** What is told about each dataset; nothing is fetched. */
export interface DatasetSource {
  /** where to get it */
  readonly from: string;
  readonly licence?: string | undefined;
}

export interface DatasetFiles {
  /**
   * The first of these files that exists, as JSON.
   * @throws AvocadoError `bad_request` that says where to get it
   */
  json(names: readonly string[]): Promise<unknown>;
  /** As `json`, of JSON lines; also an array of JSON. */
  rows(names: readonly string[]): Promise<readonly Row[]>;
  /** As `json`; undefined where none exists. */
  optionalRows(names: readonly string[]): Promise<readonly Row[] | undefined>;
}

export type Row = Readonly<Record<string, unknown>>;

/** Judge prompts by name. The text before a line `=== user ===` is the system message. */
export type PromptTexts = Readonly<Record<string, string>>;

export interface JudgeContext {
  readonly ask: Ask;
  readonly preset: Preset;
  readonly prompts: PromptTexts;
}

export interface Benchmark<Data = unknown, Verdict = unknown> {
  readonly name: string;
  readonly title: string;
  readonly source: DatasetSource;
  /** nobody has all clips, since they are taken from the net one by one: those that are not there are left out */
  readonly clipsVanish?: boolean | undefined;
  /** whether the captioner hears the sound track */
  readonly listens: boolean;
  readonly protocols: Readonly<Record<Preset, Protocol>>;
  readonly prompts: PromptTexts;
  /** the first one orders several runs */
  readonly columns: readonly ScoreColumn[];
  /** what a reader of the report must know, such as what the paper leaves open */
  readonly notes: readonly string[];
  /** published scores, by model */
  readonly published: readonly { readonly model: string; readonly scores: Readonly<Record<string, number>> }[];
  /** @throws AvocadoError `bad_request` */
  read(files: DatasetFiles): Promise<readonly Item<Data>[]>;
  judge(item: Item<Data>, caption: string, context: JudgeContext): Promise<Verdict>;
  /** Scores of items; those that failed as `not_asked` are left out before. Pure. */
  score(judged: readonly Judged<Data, Verdict>[], counting: Counting): Scores;
  slices(judged: readonly Judged<Data, Verdict>[]): readonly Slice<Data, Verdict>[];
  points(item: Item<Data>, verdict: Verdict): readonly Point[];
  /** questions of a verdict whose replies stayed unreadable; without it, a verdict has none */
  unreadable?(item: Item<Data>, verdict: Verdict): number;
  /** the reference caption of an item, for Dlg. F1 */
  reference?(item: Item<Data>): string | undefined;
}

export const GREEDY: Sampling = { temperature: 0, max_tokens: 4096 };
/** Of the scripts that set nothing. */
export const SERVER_SAMPLING: Sampling = {};

/** Dimensions of items → the slices of each, values in the order of their names. */
export function sliceItems<Data, Verdict>(
  judged: readonly Judged<Data, Verdict>[],
  dimensions: Readonly<Record<string, (item: Item<Data>) => string | undefined>>,
): Slice<Data, Verdict>[] {
  return Object.entries(dimensions).flatMap(([dimension, valueOf]) => {
    const groups = new Map<string, Judged<Data, Verdict>[]>();
    for (const one of judged) {
      const value = valueOf(one.item);
      if (value !== undefined) groups.set(value, [...(groups.get(value) ?? []), one]);
    }
    return sortedSlices(dimension, groups);
  });
}

export function sortedSlices<Data, Verdict>(
  dimension: string,
  groups: ReadonlyMap<string, readonly Judged<Data, Verdict>[]>,
): Slice<Data, Verdict>[] {
  return [...groups]
    .sort(([one], [other]) => one.localeCompare(other, 'en', { numeric: true }))
    .map(([value, judged]) => ({ dimension, value, judged }));
}

/** null of nothing. */
export function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

export function percent(value: number | null): number | null {
  return value === null ? null : 100 * value;
}

/** The paper's own words for one prompt of its pool are not repeated here; these two are ours. */
export const CAPTION_PROMPTS = {
  both:
    'Describe this video completely. Report every visible detail and everything audible - speech word for word with ' +
    'how it is said, music, sound effects - and place each sound at the moment it happens in the visual story.',
  seen: 'Describe everything visible in this video completely and in order, leaving nothing out.',
} as const;

/** Of a row from outside: a text or a number as text. */
export function textField(row: Row, ...names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = row[name];
    if (typeof value === 'string') return value;
    if (typeof value === 'number') return String(value);
  }
  return undefined;
}

export function textList(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
}

export function isRow(value: unknown): value is Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
