// Rows of the server's table about the text model that merges the captions of segments.
import { baseUrlOf } from '../base/base-url.ts';
import { inSeconds, positiveNumber, text, type SettingTable, type SettingType, type SettingValues } from './setting.ts';

const baseUrl: SettingType<string> = {
  expected: 'the base URL of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1',
  json: 'string',
  parse: baseUrlOf,
  format: String,
};

export const MERGE_ROWS = {
  mergeUrl: {
    group: 'merge',
    flag: 'merge-url',
    metavar: 'url',
    type: baseUrl,
    default: undefined,
    defaultText: 'none: the caption of a file in segments is their timeline',
    help: 'an OpenAI-compatible server whose text model writes one caption out of those of the segments',
  },
  mergeModel: {
    group: 'merge',
    flag: 'merge-model',
    metavar: 'name',
    type: text,
    default: undefined,
    defaultText: 'none',
    help: 'model to ask there',
  },
  mergeTimeoutMs: {
    group: 'merge',
    flag: 'merge-timeout',
    metavar: 's',
    type: inSeconds(positiveNumber),
    default: 120_000,
    help: 'longest merging of one caption, in seconds; then the timeline is given',
  },
} as const satisfies SettingTable;

export type MergeValues = SettingValues<typeof MERGE_ROWS>;

export const MERGE_SETTINGS = Object.keys(MERGE_ROWS) as readonly (keyof typeof MERGE_ROWS)[];

/** Sentences about what does not go together. */
export function mergeMistakes({ mergeUrl, mergeModel }: Pick<MergeValues, 'mergeUrl' | 'mergeModel'>): string[] {
  if (mergeUrl !== undefined && mergeModel === undefined)
    return [`--merge-url ${mergeUrl} needs --merge-model: name the model to ask there.`];
  if (mergeUrl === undefined && mergeModel !== undefined)
    return ['--merge-model needs --merge-url: name the server to ask.'];
  return [];
}
