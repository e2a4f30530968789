// The one table of settings: command line flags, environment variables, the config file and settings.md come from it.
import { ENGINE_TABLE } from './engine-settings.ts';
import { SERVER_TABLE } from './server-settings.ts';
import type { Setting, SettingValues } from './setting.ts';

export const SETTINGS = { ...ENGINE_TABLE, ...SERVER_TABLE };

export type SettingName = keyof typeof SETTINGS;
export type Settings = SettingValues<typeof SETTINGS>;

export const SETTING_NAMES = Object.keys(SETTINGS) as readonly SettingName[];

type ModelSettingName = {
  [Name in SettingName]: (typeof SETTINGS)[Name]['group'] extends 'model' ? Name : never;
}[SettingName];

/**
 * Which model, where it runs, and with how much of the machine: for the commands that open a model in their own
 * process.
 */
export const MODEL_SETTINGS = SETTING_NAMES.filter(
  (name): name is ModelSettingName => SETTINGS[name].group === 'model',
);

/** A row of the table without the literal types of its values. */
export function settingOf(name: SettingName): Setting {
  return SETTINGS[name];
}

/** `--media-root` is `media_root` in a config file. */
export function fileName({ flag }: Setting): string {
  return flag.replaceAll('-', '_');
}

/** `--media-root` is AVOCADO_MEDIA_ROOT in the environment. */
export function variableName(setting: Setting): string {
  return setting.variable ?? `AVOCADO_${fileName(setting).toUpperCase()}`;
}

/** @returns undefined where a setting has no default worth a word: an empty list, a boolean that is off */
export function defaultText({ type, default: value, defaultText: words }: Setting): string | undefined {
  if (words !== undefined) return words;
  const written = value === undefined || value === false ? '' : type.format(value);
  return written === '' ? undefined : written;
}
