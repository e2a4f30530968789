// Reads the replies of a language model that judges captions: keypoints, the checklist, spoken lines, and Yes or No for
// speakers.
import { codePoints, editsWithin } from '../../similarity.ts';
import { isWordless } from '../dialogue-reward.ts';
import { numberOf, recoverJson } from '../json-recovery.ts';
import type { ChecklistScore, DialogueLine, RewardOptions } from '../types.ts';

function folded(text: string): string {
  return text.normalize('NFC').replace(/\s+/gu, ' ').trim().toLowerCase();
}

/** Keypoints without duplicates and empty ones; case and spaces do not count. */
export function uniqueKeypoints(keypoints: readonly string[]): string[] {
  const seen = new Map(keypoints.map((keypoint) => [folded(keypoint), keypoint.trim()]));
  seen.delete('');
  return [...seen.values()];
}

function textOf(entry: unknown): string | undefined {
  if (typeof entry === 'string') return entry;
  if (typeof entry === 'object' && entry !== null && 'text' in entry && typeof entry.text === 'string')
    return entry.text;
  return undefined;
}

/** A judge's list of keypoints: strings, or objects with `text`. @returns undefined when there are none */
export function parseKeypoints(reply: string): string[] | undefined {
  const value = recoverJson(reply)?.value;
  const list = Array.isArray(value)
    ? value
    : typeof value === 'object' && value !== null
      ? Object.values(value).find(Array.isArray)
      : undefined;
  const keypoints = uniqueKeypoints((list ?? []).map(textOf).filter((text) => text !== undefined));
  return keypoints.length === 0 ? undefined : keypoints;
}

/**
 * R_C = (1/|K|) Σ Judge(caption, k), from the judge's reply
 * `{"Count of correctly mentioned keypoints": n, "Correctly mentioned keypoints": […]}`.
 * @param keypoints K, unique and not empty
 * @param mode which of the two is trusted when both are present
 * @returns undefined when neither is: the judge must be asked again, the score is not 0
 */
export function parseChecklist(
  reply: string,
  keypoints: readonly string[],
  mode: RewardOptions['checklistMode'],
): ChecklistScore | undefined {
  const { listed, count } = readChecklist(reply);
  const total = keypoints.length;
  const byList = listed === undefined ? undefined : matchedKeypoints(listed, keypoints);
  const byCount = count === undefined ? undefined : Math.min(Math.max(Math.trunc(count), 0), total);
  const matched = mode === 'list' ? (byList ?? byCount) : (byCount ?? byList);
  return matched === undefined ? undefined : { value: matched / total, matched, total };
}

interface ChecklistReply {
  readonly listed: readonly string[] | undefined;
  readonly count: number | undefined;
}

function readChecklist(reply: string): ChecklistReply {
  const value = recoverJson(reply)?.value;
  if (Array.isArray(value)) return { listed: value.map(textOf).filter((text) => text !== undefined), count: undefined };
  if (typeof value !== 'object' || value === null) return { listed: undefined, count: undefined };
  const list = Object.values(value).find(Array.isArray) as readonly unknown[] | undefined;
  const [, count] =
    Object.entries(value).find(([key, entry]) => /count/i.test(key) && Number.isFinite(numberOf(entry))) ?? [];
  return {
    listed: list?.map(textOf).filter((text) => text !== undefined),
    count: count === undefined ? undefined : numberOf(count),
  };
}

/**
 * How many keypoints the judge listed. Each listed string matches at most one keypoint, the most similar pairs first; a
 * string that matches none does not count.
 */
export function matchedKeypoints(listed: readonly string[], keypoints: readonly string[]): number {
  const rows = new Set<number>();
  const columns = new Set<number>();
  for (const { row, column } of similarPairs(listed.map(folded), keypoints.map(folded))) {
    if (rows.has(row) || columns.has(column)) continue;
    rows.add(row);
    columns.add(column);
  }
  return columns.size;
}

/**
 * Pairs of listed strings and keypoints whose edit distance is at most a tenth of the longer one, most similar first.
 */
function similarPairs(
  listed: readonly string[],
  keypoints: readonly string[],
): { readonly row: number; readonly column: number; readonly distance: number }[] {
  const expected = keypoints.map(codePoints);
  const pairs = listed.map(codePoints).flatMap((one, row) =>
    expected.flatMap((other, column) => {
      const longer = Math.max(one.length, other.length);
      const edits = longer === 0 ? undefined : editsWithin(one, other, Math.floor(longer / 10));
      return edits === undefined ? [] : [{ row, column, distance: edits / longer }];
    }),
  );
  return pairs.sort((one, other) => one.distance - other.distance);
}

/**
 * `Speaker: "words"`. A description may itself hold a colon: the first colon directly before a quote separates speaker
 * and words; without quotes, the first colon does.
 */
const SPEAKER_AND_WORDS = [/^([^]*?)[:：]\s*(["“'「][^]*)$/u, /^([^]*?)[:：]\s*([^]*)$/u];
const OPENING_QUOTE = /^["“”'「]/u;
const QUOTED = /^["“”'「]([^]*)["”“'」]$/u;

function splitLine(line: string): DialogueLine | undefined {
  for (const pattern of SPEAKER_AND_WORDS) {
    const [, speaker, content] = pattern.exec(line) ?? [];
    if (speaker !== undefined && content !== undefined) return { speaker: speaker.trim(), content: content.trim() };
  }
  return undefined;
}

/** False once the closing quote has come: text below does not continue such a line. */
function isOpen({ content }: DialogueLine): boolean {
  return !(OPENING_QUOTE.test(content) && QUOTED.test(content));
}

/**
 * Reads a judge's list of spoken lines, each `Speaker: "words"`. `None` is an empty list; a line without a colon
 * continues the one above it; lines without words are dropped.
 * @returns undefined when the reply is not such a list
 */
export function parseDialogueLines(reply: string): DialogueLine[] | undefined {
  if (/^\W*none\b/i.test(reply)) return [];
  const found: DialogueLine[] = [];
  for (const text of reply
    .split(/\r?\n/)
    .map((line) => line.replaceAll('**', '').trim()) // some judges set speakers in bold
    .filter((line) => line !== '')) {
    const line = splitLine(text);
    const last = found.at(-1);
    if (line !== undefined) found.push(line);
    else if (last !== undefined && isOpen(last))
      found[found.length - 1] = { ...last, content: `${last.content} ${text}` };
  }
  const unquoted = found.map(({ speaker, content }) => ({
    speaker,
    content: (QUOTED.exec(content)?.[1] ?? content).trim(),
  }));
  const lines = unquoted.filter(({ content }) => !isWordless(content));
  return lines.length === 0 ? undefined : lines;
}

/**
 * Reads `Yes No Yes`: one word for each pair of speakers.
 * @returns undefined when there are not exactly `pairs` of them
 */
export function parseSpeakerVerdicts(reply: string, pairs: number): boolean[] | undefined {
  const words = reply
    .split(/\s+/)
    .map((word) => /^\W*(yes|no)\b/i.exec(word)?.[1]?.toLowerCase())
    .filter((word) => word !== undefined);
  return words.length === pairs ? words.map((word) => word === 'yes') : undefined;
}
