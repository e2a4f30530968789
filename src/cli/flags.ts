// Flags of settings come from the settings table, flags of a request from the schema of caption options: a new setting
// or option needs no edit here. The number readers are for the flags of other commands.
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { Type } from '../base/schema.ts';
import {
  captionRequest,
  numberIn,
  numbersIn,
  OPTION_PROPERTIES,
  valueKind,
  type CaptionOptions,
} from '../captioner/caption-options.ts';
import type { CaptionRequest } from '../output/events.ts';
import { readSettings, type FlagValue, type SettingSources } from '../settings/read-settings.ts';
import { engineSettings, type EngineSettings } from '../settings/engine-settings.ts';
import { defaultText, MODEL_SETTINGS, settingOf, type SettingName, type Settings } from '../settings/schema.ts';
import type { CliEnvironment } from './cli-environment.ts';
import { warn } from './terminal.ts';

/** Values as commander stores them, by flag in camelCase. */
export type Flags = Readonly<Record<string, unknown>>;

export function numberValue(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It must be a number.');
  return value;
}

export function wholeNumber(minimum: number, maximum: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = numberValue(text);
    if (Number.isInteger(value) && value >= minimum && value <= maximum) return value;
    const range = maximum === Number.MAX_SAFE_INTEGER ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
    throw new InvalidArgumentError(`It must be a whole number ${range}.`);
  };
}

export function positiveNumber(text: string): number {
  const value = numberValue(text);
  if (value > 0) return value;
  throw new InvalidArgumentError('It must be a number above 0.');
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

function collectNumbers(text: string, before: readonly unknown[] = []): readonly unknown[] {
  return [...before, ...numbersIn(text)];
}

/** `top-p` or `top_p` → `topP`, as commander stores `--top-p` */
export function camelCase(name: string): string {
  return name.replace(/[-_]([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** A flag for each setting, and --config. Values stay texts here: they are checked with those of the other sources. */
export function addSettingFlags(command: Command, names: readonly SettingName[]): Command {
  for (const setting of names.map(settingOf)) {
    const standard = defaultText(setting);
    const help = standard === undefined ? setting.help : `${setting.help} (default: ${standard})`;
    const value = setting.metavar === undefined ? '' : ` <${setting.metavar}>`;
    const option = new Option(`--${setting.flag}${value}`, help);
    command.addOption(setting.type.json === 'list' ? option.argParser(collect) : option);
    // Against a variable or a file that turns it on.
    if (setting.type.json === 'boolean') command.addOption(new Option(`--no-${setting.flag}`).hideHelp());
  }
  return command.option(
    '--config <file>',
    'JSON or YAML file of settings: {"log_level": "info"} is --log-level info. Each setting is also a variable, such as ' +
      'AVOCADO_LOG_LEVEL. Flags come first, then variables, then the file',
  );
}

/** What commander read, as a source of settings beside the environment and the file that --config names. */
export function settingSources(
  names: readonly SettingName[],
  flags: Flags,
  variables: SettingSources['variables'],
): SettingSources {
  const given = names.map((name) => [name, flags[camelCase(settingOf(name).flag)] as FlagValue | undefined]);
  return {
    flags: Object.fromEntries(given) as SettingSources['flags'],
    variables,
    file: flags['config'] as string | undefined,
  };
}

/**
 * Some settings, from flags, variables and the config file; warns about variables that look misspelt.
 * @throws AvocadoError `bad_request` that names all mistakes
 */
export async function readFlags<Name extends SettingName>(
  names: readonly Name[],
  flags: Flags,
  { stderr, variables }: CliEnvironment,
): Promise<Pick<Settings, Name>> {
  const { values, warnings } = readSettings(names, settingSources(names, flags, variables));
  await warn(stderr, warnings);
  return values;
}

/** How long a file may be, and its decoding take. */
export const FILE_LIMITS = ['decodeTimeoutSeconds', 'maxMediaSeconds'] as const;

/** Segments of one file, and captions to check one with, that are made at the same time. */
const SEGMENT_SLOTS = 4;

/**
 * For commands that make one caption at a time: one slot, and nothing kept for later requests.
 * @throws AvocadoError as `readFlags`
 */
export async function oneCaptionSettings(flags: Flags, environment: CliEnvironment): Promise<EngineSettings> {
  const model = await readFlags([...MODEL_SETTINGS, ...FILE_LIMITS], flags, environment);
  const isOne = (flags['segments'] === undefined || flags['segments'] === 'off') && flags['verify'] !== true;
  const slots = isOne ? 1 : SEGMENT_SLOTS;
  return engineSettings({ ...model, slots, prefixSlots: 0, mediaCacheBytes: 0 });
}

/** Flags that are not called as their field: a shorter word, and a switch for what is on by default. */
const REQUEST_FLAGS: Readonly<Record<string, string>> = { system_prompt: 'system', audio: 'no-audio' };
const NO_AUDIO_HELP = 'do not listen to the sound track';

function requestFlag(field: string): string {
  return REQUEST_FLAGS[field] ?? field.replaceAll('_', '-');
}

/** A schema of one option, as far as help is concerned. */
interface OptionHelp {
  readonly description?: string;
  readonly minimum?: number;
  readonly maximum?: number;
}

function requestOption(field: string, schema: Type.TSchema): Option {
  const flag = `--${requestFlag(field)}`;
  const { description = '', minimum, maximum }: OptionHelp = schema;
  const kind = valueKind(schema);
  switch (kind) {
    case 'boolean':
      return new Option(flag, field === 'audio' ? NO_AUDIO_HELP : description);
    case 'texts':
      return new Option(`${flag} <text>`, `${description}; repeatable`).argParser(collect);
    case 'word':
      return new Option(`${flag} <auto|off|n>`, description).argParser(numberIn);
    case 'numbers':
      return new Option(`${flag} <n>`, `${description}; repeatable`).argParser(collectNumbers);
    case 'number': {
      const isShort = minimum !== undefined && maximum !== undefined && maximum < 100;
      return new Option(`${flag} <${isShort ? `${minimum}..${maximum}` : 'n'}>`, description).argParser(numberValue);
    }
    case 'text':
      return new Option(`${flag} <text>`, description);
    default:
      return kind satisfies never;
  }
}

/** A flag for each option of a caption. */
export function addRequestFlags(command: Command): Command {
  for (const [field, schema] of Object.entries<Type.TSchema>(OPTION_PROPERTIES))
    command.addOption(requestOption(field, schema));
  return command;
}

/** The caption options among the flags that were given, not checked. */
export function optionsFromFlags(flags: Flags): CaptionOptions {
  const options: Record<string, unknown> = {};
  for (const field of Object.keys(OPTION_PROPERTIES)) {
    const value = flags[field === 'audio' ? 'audio' : camelCase(requestFlag(field))];
    if (value !== undefined) options[field] = value;
  }
  return options;
}

/** @throws AvocadoError `bad_request` naming the flag whose value is out of range */
export function requestFromFlags(path: string, flags: Flags): CaptionRequest {
  return captionRequest(path, optionsFromFlags(flags), (field) => `--${requestFlag(field)}`);
}
