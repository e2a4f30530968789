// What is to be done with an item, from what is known of it. Pure.
import { changedParts } from './identity.ts';
import type { Format, ItemRecord, WorkSettings } from './types.ts';

/**
 * caption: nothing is known of it. redo: it has a caption of other settings or of another file. retry: it failed.
 * look: the file was touched, so its bytes decide. write: it has its caption but not all its sidecars. skip: nothing.
 */
export type Action = 'caption' | 'redo' | 'retry' | 'look' | 'write' | 'skip';

export interface Decision {
  readonly action: Action;
  readonly reason: string;
  /** of `redo`: the settings changed, not the file */
  readonly isOtherSettings?: boolean;
}

export interface DecideInput {
  readonly record: ItemRecord | undefined;
  /** the settings that the record was made with */
  readonly recordSettings: WorkSettings | undefined;
  /** identity and times of the file now; undefined: it cannot be looked at */
  readonly seen: string | undefined;
  readonly settings: string;
  readonly parts: WorkSettings;
  /** sidecars that are missing or out of date */
  readonly missing: readonly Format[];
  /** failures that are tried again: all, those with a code, or none but passing ones */
  readonly retryFailed: boolean | string;
}

export function decide(input: DecideInput): Decision {
  const { record, seen, settings } = input;
  if (record === undefined) return { action: 'caption', reason: 'new' };
  if (record.failure !== undefined) return afterFailure(input, record, record.failure);
  if (record.line === undefined) return { action: 'caption', reason: 'its line was removed from the results' };
  if (record.seen !== seen) return { action: 'look', reason: 'the file was touched' };
  if (record.settings !== settings) return otherSettings(input);
  if (input.missing.length > 0) return { action: 'write', reason: `missing: ${input.missing.join(', ')}` };
  return { action: 'skip', reason: 'done' };
}

function afterFailure(
  { seen, settings, retryFailed }: DecideInput,
  record: ItemRecord,
  { code, passing }: NonNullable<ItemRecord['failure']>,
): Decision {
  if (record.seen !== (seen ?? '')) return { action: 'retry', reason: 'the file has changed since it failed' };
  if (record.settings !== settings) return { action: 'retry', reason: 'settings have changed since it failed' };
  if (passing) return { action: 'retry', reason: `failed with ${code}, which may pass` };
  if (retryFailed === true || retryFailed === code) return { action: 'retry', reason: `failed with ${code}` };
  return { action: 'skip', reason: `failed with ${code}` };
}

/** The decision for a file with the bytes of the record, whatever its times are. */
export function otherSettings({ recordSettings, parts }: Pick<DecideInput, 'recordSettings' | 'parts'>): Decision {
  const changed = changedParts(recordSettings, parts).join(', ');
  return { action: 'redo', reason: `another ${changed}`, isOtherSettings: true };
}
