// What one row of the settings table is, and the kinds of value a setting may have.
import type { ErrorCode } from '../base/errors.ts';

/** The sections of the table: of `avocado caption` and `avocado inspect` only the first, of `avocado serve` all. */
export const SETTING_GROUPS = {
  model: 'Model',
  engine: 'Engine',
  server: 'Server',
  media: 'Media',
  admission: 'Admission',
  merge: 'Merging segments',
  jobs: 'Jobs and files',
  log: 'Log and metrics',
} as const;

export type SettingGroup = keyof typeof SETTING_GROUPS;

export interface SettingType<T> {
  /** the rest of a sentence: "--threads must be …" */
  readonly expected: string;
  /** how the value is written in a JSON file */
  readonly json: 'number' | 'string' | 'boolean' | 'list';
  /** of the error when a text is no such value; default `bad_request` */
  readonly errorCode?: ErrorCode;
  /** @returns undefined when the text is no such value */
  readonly parse: (text: string) => T | undefined;
  /** The text that `parse` reads as this value. */
  format(value: T): string;
}

export interface Setting<T = unknown> {
  readonly group: SettingGroup;
  /** without dashes; the names in the environment and in a file follow from it */
  readonly flag: string;
  /** how help calls the value; a boolean has none */
  readonly metavar?: string;
  readonly type: SettingType<T>;
  /** undefined where the program chooses, or where there is none */
  readonly default: T | undefined;
  /** the default in words, where it is not one value */
  readonly defaultText?: string;
  /** one line for --help and the documentation */
  readonly help: string;
  /** where the name does not follow from the flag */
  readonly variable?: string;
}

export type SettingTable = Readonly<Record<string, Setting>>;

/** The values of a table: undefined belongs to a value only where the row has no default. */
export type SettingValues<Table extends SettingTable> = {
  readonly [Name in keyof Table]: Table[Name]['type'] extends SettingType<infer T>
    ? undefined extends Table[Name]['default']
      ? T | undefined
      : T
    : never;
};

function readNumber(text: string): number | undefined {
  const value = Number(text);
  return text.trim() === '' || !Number.isFinite(value) ? undefined : value;
}

export function integer(minimum: number, maximum: number = Number.MAX_SAFE_INTEGER): SettingType<number> {
  return {
    expected:
      maximum === Number.MAX_SAFE_INTEGER
        ? `a whole number of at least ${minimum}`
        : `a whole number from ${minimum} to ${maximum}`,
    json: 'number',
    parse: (text) => {
      const value = readNumber(text);
      if (value === undefined || !Number.isInteger(value)) return undefined;
      return value >= minimum && value <= maximum ? value : undefined;
    },
    format: String,
  };
}

export const positiveNumber: SettingType<number> = {
  expected: 'a number above 0',
  json: 'number',
  parse: (text) => {
    const value = readNumber(text);
    return value !== undefined && value > 0 ? value : undefined;
  },
  format: String,
};

/** Given in seconds, kept in milliseconds. */
export function inSeconds({ expected, parse }: SettingType<number>): SettingType<number> {
  return {
    expected,
    json: 'number',
    parse: (text) => {
      const seconds = parse(text);
      return seconds === undefined ? undefined : seconds * 1000;
    },
    format: (milliseconds) => String(milliseconds / 1000),
  };
}

export const text: SettingType<string> = { expected: 'text', json: 'string', parse: (given) => given, format: String };

/** Where a proxy shows this server; without a slash at its end. */
export const urlPath: SettingType<string> = {
  expected: 'a path such as /captions',
  json: 'string',
  parse: (given) => (/^(\/[\w.~-]+)*\/?$/.test(given) ? given.replace(/\/$/, '') : undefined),
  format: String,
};

export const boolean: SettingType<boolean> = {
  expected: 'true or false',
  json: 'boolean',
  parse: (given) => ({ true: true, 1: true, false: false, 0: false })[given],
  format: String,
};

export function choice<const T extends string>(values: readonly T[], errorCode?: ErrorCode): SettingType<T> {
  return {
    expected: `one of ${values.join(', ')}`,
    json: 'string',
    errorCode,
    parse: (given) => values.find((value) => value === given),
    format: String,
  };
}

/** A flag that may be repeated; in a variable, entries stand between commas or on lines. */
export const list: SettingType<readonly string[]> = {
  expected: 'a list of texts',
  json: 'list',
  parse: (given) =>
    given
      .split(/,|\r?\n/)
      .map((entry) => entry.trim())
      .filter((entry) => entry !== ''),
  format: (entries) => entries.join(','),
};

/** Some values of a table; undefined means the default. */
export type GivenValues<Table extends SettingTable> = {
  readonly [Name in keyof Table]?: SettingValues<Table>[Name] | undefined;
};

/** A value for each row of a table: the given one, else the default. Other fields of `given` are left out. */
export function withDefaults<Table extends SettingTable>(
  table: Table,
  given: GivenValues<Table>,
): SettingValues<Table> {
  const values = Object.entries(table).map(([name, row]) => [name, given[name as keyof Table] ?? row.default]);
  return Object.fromEntries(values) as SettingValues<Table>;
}
