// Settings from their four sources. A flag comes before a variable of the environment, that before the config file,
// that before the default. All mistakes of all sources are reported together.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type * as Yaml from 'yaml';
import { withoutMark } from '../base/byte-order-mark.ts';
import { AvocadoError, type ErrorCode } from '../base/errors.ts';
import { isJsonObject, type JsonObject } from '../base/json.ts';
import { engineSettings, type EngineSettings } from './engine-settings.ts';
import { fileName, SETTING_NAMES, settingOf, variableName, type SettingName, type Settings } from './schema.ts';
import { resolveServerConfig, type EntryChecks, type ServerConfig, type ServerSettings } from './server-settings.ts';
import type { Setting } from './setting.ts';

/** What a person may give on the command line: a word, several for a list, true or false for a switch. */
export type FlagValue = string | boolean | readonly string[];

export interface SettingSources {
  readonly flags: Readonly<Partial<Record<SettingName, FlagValue | undefined>>>;
  /** AVOCADO_* variables; an empty one counts as not set */
  readonly variables: Readonly<Record<string, string>>;
  /** path of a JSON or YAML file with an object of settings */
  readonly file: string | undefined;
}

interface ReadSettings<Values> {
  readonly values: Values;
  /** sentences about variables that look like misspelt settings */
  readonly warnings: readonly string[];
}

interface Mistake {
  readonly sentence: string;
  readonly code: ErrorCode;
  readonly param: string;
}

/** Variables of this program that are no settings. */
const OTHER_VARIABLES = [
  'AVOCADO_ADDRESS_FILE',
  'AVOCADO_API_KEYS',
  'AVOCADO_JUDGE_API_KEY',
  'AVOCADO_MERGE_API_KEY',
  'AVOCADO_SERVER_API_KEY',
  'AVOCADO_TEACHER_API_KEY',
  'AVOCADO_TRANSCRIBER_API_KEY',
  'AVOCADO_NO_INSTALL',
  'AVOCADO_ONNXRUNTIME',
];

/**
 * The values of some settings, checked and frozen. The config file may hold settings of other commands, which are
 * checked too.
 * @throws AvocadoError `bad_request` that names all mistakes (a single one has the code of its setting)
 */
export function readSettings<Name extends SettingName>(
  names: readonly Name[],
  sources: SettingSources,
): ReadSettings<Pick<Settings, Name>> {
  const mistakes: Mistake[] = [];
  const given = collectValues(names, sources, mistakes);
  throwMistakes(mistakes);
  const values = names.map((name) => [name, given[name] ?? settingOf(name).default]);
  return {
    values: Object.freeze(Object.fromEntries(values) as Pick<Settings, Name>),
    warnings: misspeltVariables(sources.variables),
  };
}

/** What a server needs beside its settings. */
interface ServerParts extends Pick<ServerSettings, 'apiKeysText' | 'version'> {
  readonly checks: EntryChecks;
}

/**
 * All settings of a server, in the two objects that its two processes get.
 * @throws AvocadoError `bad_request` that names all mistakes, those of directories, hosts and keys included
 */
export function readServerSettings(
  sources: SettingSources,
  { checks, ...parts }: ServerParts,
): ReadSettings<{ readonly engine: EngineSettings; readonly server: ServerConfig }> {
  const mistakes: Mistake[] = [];
  const values = collectValues(SETTING_NAMES, sources, mistakes);
  const sentences: string[] = [];
  const server = resolveServerConfig({ ...values, ...parts }, checks, sentences);
  mistakes.push(...sentences.map((sentence) => ({ sentence, code: 'bad_request' as const, param: '' })));
  throwMistakes(mistakes);
  return { values: { engine: engineSettings(values), server }, warnings: misspeltVariables(sources.variables) };
}

type GivenSettings = { -readonly [Name in SettingName]?: Settings[Name] | undefined };

/** What was given of some settings; of a value that is wrong, the mistake. */
function collectValues(
  names: readonly SettingName[],
  { flags, variables, file }: SettingSources,
  mistakes: Mistake[],
): GivenSettings {
  const fromFile = file === undefined ? {} : readFile(file, mistakes);
  const values: Record<string, unknown> = {};
  for (const name of names) {
    const setting = settingOf(name);
    const variable = variables[variableName(setting)];
    const flag = flags[name];
    if (flag !== undefined) values[name] = readFlag(setting, flag, mistakes);
    else if (variable !== undefined && variable !== '')
      values[name] = parse(setting, variable, variableName(setting), mistakes);
    else values[name] = fromFile[name];
  }
  return values;
}

/** @param place how the person calls it: the flag, the variable, or the name in the file */
function parse({ type, ...setting }: Setting, text: string, place: string, mistakes: Mistake[]): unknown {
  const value = type.parse(text);
  if (value === undefined) {
    const sentence = `${place} must be ${type.expected}, not ${text === '' ? 'empty' : text}.`;
    mistakes.push({ sentence, code: type.errorCode ?? 'bad_request', param: fileName({ type, ...setting }) });
  }
  return value;
}

function readFlag(setting: Setting, flag: FlagValue, mistakes: Mistake[]): unknown {
  return typeof flag === 'string' ? parse(setting, flag, `--${setting.flag}`, mistakes) : flag;
}

/** Values of a config file, all of them checked, by the names of this code. */
function readFile(file: string, mistakes: Mistake[]): Partial<Record<SettingName, unknown>> {
  const complain = (sentence: string, param = 'config'): void => {
    mistakes.push({ sentence, code: 'bad_request', param });
  };
  const values: Partial<Record<SettingName, unknown>> = {};
  const known = new Map(SETTING_NAMES.map((name) => [fileName(settingOf(name)), name]));
  for (const [word, value] of Object.entries(readObject(file, complain))) {
    const name = known.get(word);
    if (name === undefined) {
      complain(`${file} has no setting ${word}.${suggestion(word, [...known.keys()])}`, word);
      continue;
    }
    const setting = settingOf(name);
    const { json, expected } = setting.type;
    const isRight = json === 'list' ? isTextList(value) : typeof value === json;
    if (!isRight) complain(`${word} in ${file} must be ${expected}, not ${JSON.stringify(value)}.`, word);
    else values[name] = json === 'list' ? value : parse(setting, String(value), `${word} in ${file}`, mistakes);
  }
  return values;
}

function isTextList(value: unknown): boolean {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string');
}

function readObject(file: string, complain: (sentence: string) => void): JsonObject {
  let text: string;
  try {
    text = withoutMark(readFileSync(file, 'utf8'));
  } catch (error) {
    complain(`--config ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)}).`);
    return {};
  }
  const isJson = /^\s*[{[]/.test(text);
  try {
    const value = isJson ? (JSON.parse(text) as unknown) : parseYaml(text);
    if (isJsonObject(value)) return value;
    complain(`--config ${file} must be an object, such as {"slots": 8}, or in YAML the line slots: 8.`);
  } catch (error) {
    // The first line: the YAML parser goes on with a picture of the place.
    const [reason = ''] = (error as Error).message.split('\n');
    complain(`--config ${file} is not ${isJson ? 'JSON' : 'YAML'}: ${reason.replace(/[.:]$/, '')}.`);
  }
  return {};
}

/** Loaded where it is needed: its many modules would cost every command a start. */
function parseYaml(text: string): unknown {
  const { parse: parseText } = createRequire(import.meta.url)('yaml') as typeof Yaml;
  return parseText(text) ?? {}; // nothing but comments
}

/** @throws AvocadoError of all mistakes, with the code and field of the first; several have the code `bad_request` */
function throwMistakes(mistakes: readonly Mistake[]): void {
  const [first, ...others] = mistakes;
  if (first === undefined) return;
  const sentences = [...new Set(mistakes.map(({ sentence }) => sentence))].join(' ');
  const code = others.length === 0 ? first.code : 'bad_request';
  throw new AvocadoError(code, sentences, first.param === '' ? {} : { param: first.param });
}

/** Only names close to one of ours: other AVOCADO_* variables may belong to scripts around this program. */
function misspeltVariables(variables: Readonly<Record<string, string>>): string[] {
  const known = [...SETTING_NAMES.map((name) => variableName(settingOf(name))), ...OTHER_VARIABLES];
  return Object.keys(variables).flatMap((variable) => {
    const meant = known.includes(variable) ? '' : suggestion(variable, known);
    return meant === '' ? [] : [`The variable ${variable} is not a setting.${meant}`];
  });
}

/** @returns ' Did you mean X?', or '' when nothing is close */
function suggestion(word: string, known: readonly string[]): string {
  const [nearest] = known
    .map((name) => ({ name, distance: editDistance(word, name) }))
    .sort((a, b) => a.distance - b.distance);
  return nearest !== undefined && nearest.distance <= 2 ? ` Did you mean ${nearest.name}?` : '';
}

/** Levenshtein distance: insertions, deletions and replacements of single characters. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
