import { recoverJson } from './json-recovery.ts';
import { codePoints, editsWithin } from '../similarity.ts';
import type { ChecklistScore, RewardOptions } from './types.ts';

function folded(text: string): string {
  return text.normalize('NFC').replace(/\s+/gu, ' ').trim().toLowerCase();
}

/** Keypoints without those that say the same but for case and spaces. */
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

/** Pairs of what the judge listed and what it was given that differ by at most a tenth, most alike first. */
function nearPairs(
  listed: readonly string[],
  keypoints: readonly string[],
): { readonly row: number; readonly column: number; readonly apart: number }[] {
  const known = keypoints.map(codePoints);
  const pairs = listed.map(codePoints).flatMap((one, row) =>
    known.flatMap((other, column) => {
      const longer = Math.max(one.length, other.length);
      const edits = longer === 0 ? undefined : editsWithin(one, other, Math.floor(longer / 10));
      return edits === undefined ? [] : [{ row, column, apart: edits / longer }];
    }),
  );
  return pairs.sort((one, other) => one.apart - other.apart);
}

/** How many keypoints the judge listed: each of its strings stands for one of them at most, and what is none of them does not count. */
export function matchedKeypoints(listed: readonly string[], keypoints: readonly string[]): number {
  const rows = new Set<number>();
  const columns = new Set<number>();
  for (const { row, column } of nearPairs(listed.map(folded), keypoints.map(folded))) {
    if (rows.has(row) || columns.has(column)) continue;
    rows.add(row);
    columns.add(column);
  }
  return columns.size;
}

interface Answer {
  readonly listed: readonly string[] | undefined;
  readonly count: number | undefined;
}

function answerIn(reply: string): Answer {
  const value = recoverJson(reply)?.value;
  if (Array.isArray(value)) return { listed: value.map(textOf).filter((text) => text !== undefined), count: undefined };
  if (typeof value !== 'object' || value === null) return { listed: undefined, count: undefined };
  const list = Object.values(value).find(Array.isArray) as readonly unknown[] | undefined;
  const [, count] =
    Object.entries(value).find(([key, entry]) => /count/i.test(key) && Number.isFinite(Number(entry))) ?? [];
  return {
    listed: list?.map(textOf).filter((text) => text !== undefined),
    count: count === undefined ? undefined : Number(count),
  };
}

/**
 * R_C = (1/|K|) Σ Judge(caption, k) from the judge's reply `{"Count of correctly mentioned keypoints": n, "Correctly mentioned keypoints": […]}`.
 * @param keypoints K, unique and not empty
 * @param mode which of the two is trusted where both are there
 * @returns undefined when neither is: ask again, never 0
 */
export function checklistScore(
  reply: string,
  keypoints: readonly string[],
  mode: RewardOptions['checklistMode'],
): ChecklistScore | undefined {
  const { listed, count } = answerIn(reply);
  const total = keypoints.length;
  const byList = listed === undefined ? undefined : matchedKeypoints(listed, keypoints);
  const byCount = count === undefined ? undefined : Math.min(Math.max(Math.trunc(count), 0), total);
  const matched = mode === 'list' ? (byList ?? byCount) : (byCount ?? byList);
  return matched === undefined ? undefined : { value: matched / total, matched, total };
}
