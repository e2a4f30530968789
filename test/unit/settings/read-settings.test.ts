import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { ENGINE_TABLE, engineSettings } from '../../../src/settings/engine-settings.ts';
import { readServerSettings, readSettings, type SettingSources } from '../../../src/settings/read-settings.ts';
import { MODEL_SETTINGS, SETTING_NAMES, settingOf, variableName } from '../../../src/settings/schema.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();
const CHECKS = { urlHost: () => undefined, allowCidr: () => undefined };

function fileOf(content: unknown): string {
  const path = scratch('settings.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

function sources(given: Partial<SettingSources>): SettingSources {
  return { flags: {}, variables: {}, file: undefined, ...given };
}

function errorOf(given: Partial<SettingSources>): AvocadoError {
  try {
    readServerSettings(sources(given), { checks: CHECKS });
  } catch (error) {
    expect(error).toBeInstanceOf(AvocadoError);
    return error as AvocadoError;
  }
  throw new Error('The settings were accepted.');
}

describe('settings', () => {
  it('come from a flag, else a variable, else the file, else the default', () => {
    const names = ['slots', 'port', 'host', 'threads'] as const;
    const { values } = readSettings(
      names,
      sources({
        flags: { slots: '1' },
        variables: { AVOCADO_SLOTS: '2', AVOCADO_PORT: '3', AVOCADO_HOST: '' },
        file: fileOf('\uFEFF{"slots": 4, "port": 5, "host": "h"}'),
      }),
    );
    expect(values).toEqual({ slots: 1, port: 3, host: 'h', threads: 0 });
    expect(Object.isFrozen(values)).toBe(true);
  });

  it('of every kind are read the same from each source', () => {
    const expected = {
      device: [{ type: 'cuda', index: 1 }],
      spinning: true,
      stallMs: 1500,
      mediaRoots: ['a=/x', 'b=/y'],
      precision: 'int4',
    };
    const names = ['device', 'spinning', 'stallMs', 'mediaRoots', 'precision'] as const;
    const given: Partial<SettingSources>[] = [
      {
        flags: {
          device: 'cuda:1',
          spinning: true,
          stallMs: '1.5',
          mediaRoots: ['a=/x', 'b=/y'],
          precision: 'int4',
        },
      },
      {
        variables: {
          AVOCADO_DEVICE: 'cuda:1',
          AVOCADO_SPINNING: '1',
          AVOCADO_STALL_SECONDS: '1.5',
          AVOCADO_MEDIA_ROOT: 'a=/x, b=/y',
          AVOCADO_PRECISION: 'int4',
        },
      },
      {
        file: fileOf({
          device: 'cuda:1',
          spinning: true,
          stall_seconds: 1.5,
          media_root: ['a=/x', 'b=/y'],
          precision: 'int4',
        }),
      },
    ];
    for (const one of given) expect(readSettings(names, sources(one)).values).toEqual(expected);
  });

  it('that a variable turns on are turned off by a flag', () => {
    const given = sources({ flags: { spinning: false }, variables: { AVOCADO_SPINNING: 'true' } });
    expect(readSettings(MODEL_SETTINGS, given).values.spinning).toBe(false);
  });

  it('report the mistakes of all sources together', () => {
    const { code, message } = errorOf({
      flags: { threads: '-1', mediaRoots: ['nothing'], device: 'tpu' },
      variables: { AVOCADO_SLOTS: 'many', AVOCADO_LOG_LEVEL: 'loud' },
      file: fileOf({ port: 70_000, host: 7, log_levl: 'info', allow_cidr: '10.0.0.0/8', runtime: 'wasm' }),
    });
    expect(code).toBe('bad_request');
    for (const part of [
      '--threads must be a whole number from 0 to 1024, not -1.',
      '--media-root nothing: write it as NAME=DIR',
      '--device must be cpu, cuda or cuda:N, or several such as cuda:0,cuda:1, not tpu.',
      'AVOCADO_SLOTS must be a whole number from 1 to 256, not many.',
      'AVOCADO_LOG_LEVEL must be one of silent, error, warn, info, debug, not loud.',
      'settings.json must be a whole number from 0 to 65535, not 70000.',
      'settings.json must be text, not 7.',
      'has no setting log_levl. Did you mean log_level?',
      'settings.json must be a list of texts, not "10.0.0.0/8".',
      'settings.json must be one of native, node, not wasm.',
    ])
      expect(message).toContain(part);
  });

  it('that are wrong alone name their field, with the code of the setting', () => {
    expect(errorOf({ flags: { precision: 'int3' } })).toMatchObject({
      code: 'precision_unsupported',
      param: 'precision',
    });
    expect(errorOf({ flags: { maxTemporaryBytes: '0' } })).toMatchObject({
      code: 'bad_request',
      param: 'max_temp_bytes',
    });
  });

  it.each([
    ['no JSON', '{"slots": 8', 'is not JSON'],
    ['no object', '[8]', 'must be an object'],
    ['no YAML', 'slots: 8\nslots: 9', 'is not YAML: Map keys must be unique'],
    ['a YAML list', '- slots: 8', 'must be an object'],
    ['wrong in YAML', 'log_levl: info', 'Did you mean log_level?'],
    ['not there', undefined, 'cannot be read (ENOENT)'],
  ])('refuse a file that is %s', (_, content, words) => {
    const file = content === undefined ? scratch('nowhere.json') : fileOf(content);
    expect(errorOf({ file })).toMatchObject({ code: 'bad_request' });
    expect(errorOf({ file }).message).toContain(words);
  });

  it('may be YAML in the file, checked in the same way', () => {
    const read = (file: string): unknown =>
      readServerSettings(sources({ file }), { checks: CHECKS }).values.server.urlHosts;
    const text = 'slots: 8 # for the large card\nlog_level: info\nurl_host:\n  - a.example\n  - "*.b.example"\n';
    expect(read(fileOf(text))).toEqual(['a.example', '*.b.example']);
    expect(read(fileOf('# all as it is\n'))).toBe('public');
    expect(errorOf({ file: fileOf('slots: many\nport: "8080"') }).message).toMatch(/slots in .*port in /);
  });

  it('of another command are fine in the file, as long as they are right', () => {
    expect(readSettings(['threads'], sources({ file: fileOf({ port: 1, threads: 2 }) })).values).toEqual({
      threads: 2,
    });
    expect(() => readSettings(['threads'], sources({ file: fileOf({ port: -1 }) }))).toThrow('port in');
  });

  it('warn about variables that are close to a setting, not about those of other programs', () => {
    const variables = { AVOCADO_SLOT: '8', AVOCADO_CI_RUN_ID: '12', AVOCADO_API_KEYS: 'a:b', AVOCADO_THREADS: '1' };
    expect(readSettings(['slots'], sources({ variables })).warnings).toEqual([
      'The variable AVOCADO_SLOT is not a setting. Did you mean AVOCADO_SLOTS?',
    ]);
  });

  it('reach the two processes of a server without those of the other', () => {
    const { engine, server } = readServerSettings(sources({ flags: { slots: '9' } }), {
      checks: CHECKS,
      version: '1.2.3',
    }).values;
    expect(engine).toEqual(engineSettings({ slots: 9 }));
    expect(Object.keys(server)).not.toContain('slots');
    expect(server).toMatchObject({ port: 8080, version: '1.2.3', stallMs: 120_000, urlHosts: 'public' });
    expect(Object.isFrozen(engine) && Object.isFrozen(server) && Object.isFrozen(engine.device)).toBe(true);
  });
});

describe('the table of settings', () => {
  it.each(SETTING_NAMES.map((name) => [name, settingOf(name)] as const))(
    '%s has a default of its own kind and one line of help',
    (_, { default: value, type, help }) => {
      if (value !== undefined) expect(type.parse(type.format(value))).toEqual(value);
      expect(help).toMatch(/^[^\n]+[^.]$/);
    },
  );

  it('gives each setting a flag and a variable of its own', () => {
    expect(new Set(SETTING_NAMES.map((name) => settingOf(name).flag)).size).toBe(SETTING_NAMES.length);
    expect(new Set(SETTING_NAMES.map((name) => variableName(settingOf(name)))).size).toBe(SETTING_NAMES.length);
  });
});

describe('engineSettings', () => {
  it('take several devices of one kind, a GPU once', () => {
    const { type } = ENGINE_TABLE.device;
    expect(type.parse('cuda, cuda:3')).toEqual([
      { type: 'cuda', index: 0 },
      { type: 'cuda', index: 3 },
    ]);
    expect(type.format(type.parse('cuda,cuda:3')!)).toBe('cuda:0,cuda:3');
    expect(type.parse('cpu,cpu')).toHaveLength(2);
    for (const wrong of ['', 'cpu,', 'cpu,cuda', 'cuda,cuda:0', 'cuda:0;cuda:1', 'cuda:-1'])
      expect(type.parse(wrong), wrong).toBeUndefined();
  });

  it('keeps prompts only where that costs no memory at once, unless told', () => {
    expect(engineSettings().prefixSlots).toBe(2);
    expect(engineSettings({ device: [{ type: 'cuda', index: 0 }] }).prefixSlots).toBe(0);
    expect(engineSettings({ device: [{ type: 'cuda', index: 0 }], prefixSlots: 3 }).prefixSlots).toBe(3);
  });

  it('can be sent to another process', () => {
    expect(structuredClone(engineSettings())).toEqual(engineSettings());
  });
});
