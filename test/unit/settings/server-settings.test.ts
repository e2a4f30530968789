import { realpathSync, symlinkSync, writeFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { addressPolicy, hostPolicy } from '../../../src/intake/url-policy.ts';
import {
  isLoopback,
  serverConfig,
  type EntryChecks,
  type ServerSettings,
} from '../../../src/settings/server-settings.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';
import { selfSigned } from '../../fixtures/self-signed.ts';

const CHECKS: EntryChecks = {
  urlHost: (host) => hostPolicy([host]),
  allowCidr: (range) => addressPolicy([range]),
};
const scratch = scratchDirectory();
const directory = scratch('root');

beforeAll(() => {
  mkdirSync(directory);
  symlinkSync(directory, join(directory, 'link'));
  writeFileSync(join(directory, 'file'), '');
});

function mistakeOf(settings: ServerSettings): string {
  try {
    serverConfig(settings, CHECKS);
  } catch (error) {
    expect(error).toBeInstanceOf(AvocadoError);
    return (error as Error).message;
  }
  throw new Error('The configuration was accepted.');
}

describe('serverConfig', () => {
  it('resolves media roots to real directories, = signs in paths included', () => {
    const config = serverConfig({ mediaRoots: [`films=${join(directory, 'link')}`, `b-2=${directory}`] });
    expect([...config.mediaRoots]).toEqual([
      ['films', realpathSync(directory)],
      ['b-2', realpathSync(directory)],
    ]);
    expect(Object.isFrozen(config)).toBe(true);
    expect(config.host).toBe('127.0.0.1');
  });

  it('reads the words off and public, and otherwise hosts', () => {
    expect(serverConfig({}).urlHosts).toBe('public');
    expect(serverConfig({ urlHosts: ['off'] }).urlHosts).toBe('off');
    expect(serverConfig({ urlHosts: ['public'] }).urlHosts).toBe('public');
    expect(serverConfig({ urlHosts: ['*.example.org', 'a.example:8080'] }).urlHosts).toEqual([
      '*.example.org',
      'a.example:8080',
    ]);
  });

  it('keeps the hash of a key and forgets the key', () => {
    const config = serverConfig({ apiKeysText: 'anna:0123456789abcdefXYZ' });
    expect(config.apiKeys).toEqual([{ name: 'anna', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string }]);
    expect(JSON.stringify(config)).not.toContain('0123456789abcdefXYZ');
  });

  it('tells all mistakes at once', () => {
    const message = mistakeOf({
      mediaRoots: [
        'nothing',
        `../x=${directory}`,
        `a=${join(directory, 'none')}`,
        `b=${join(directory, 'file')}`,
        `c=${directory}`,
        `c=${directory}`,
      ],
      urlHosts: ['off', 'a.example', 'http://b.example/'],
      allowCidrs: ['10.0.0.0/8', '10.0.0.0/99', 'local'],
      apiKeysFile: join(directory, 'no-keys'),
      apiKeysText: 'carl:short',
    });
    for (const part of [
      'nothing: write it',
      '../x',
      'ENOENT',
      'not a directory',
      'c is given twice',
      '--url-host off: it stands alone',
      '--url-host http://b.example/: ',
      '--allow-cidr 10.0.0.0/99: ',
      '--allow-cidr local: ',
      '--api-keys',
      'no-keys cannot be read',
      'AVOCADO_API_KEYS, line 1: the key of carl',
    ])
      expect(message).toContain(part);
    expect(message).not.toContain('10.0.0.0/8:');
    expect(message).not.toContain('short');
  });

  it('refuses half a text model', () => {
    const mergeUrl = 'http://127.0.0.1:8000/v1';
    expect(mistakeOf({ mergeUrl })).toContain('needs --merge-model');
    expect(mistakeOf({ mergeModel: 'm' })).toContain('needs --merge-url');
    expect(serverConfig({ mergeUrl, mergeModel: 'm' })).toMatchObject({ mergeModel: 'm', mergeTimeoutMs: 120_000 });
  });

  it('refuses a key name that the file and the environment both have', () => {
    writeFileSync(scratch('keys'), 'anna:0123456789abcdefXYZ\n');
    expect(mistakeOf({ apiKeysFile: scratch('keys'), apiKeysText: 'anna:another-key-of-anna' })).toContain(
      'anna is in the file and in AVOCADO_API_KEYS',
    );
  });
});

it('reads a certificate with its key, and says what is wrong with them before anything starts', () => {
  const [one, other] = [selfSigned('a.example'), selfSigned('b.example')];
  const file = (name: string, text: string): string => {
    writeFileSync(scratch(name), text);
    return scratch(name);
  };
  const tlsCertFile = file('cert.pem', one.certificate);
  const tlsKeyFile = file('key.pem', one.key);
  expect(serverConfig({}).tls).toBeUndefined();
  expect(serverConfig({ tlsCertFile, tlsKeyFile }).tls).toEqual({ cert: one.certificate, key: one.key });
  expect(mistakeOf({ tlsCertFile })).toContain('belong together');
  expect(mistakeOf({ tlsCertFile, tlsKeyFile: scratch('no.pem') })).toContain('no.pem cannot be read (ENOENT)');
  expect(mistakeOf({ tlsCertFile, tlsKeyFile: file('other.pem', other.key) })).toContain('no certificate with its key');
  expect(mistakeOf({ tlsCertFile: tlsKeyFile, tlsKeyFile })).toContain('no certificate with its key');
});

it('refuses a worker without a database or without work', () => {
  const databaseUrl = 'postgres://a:b@c/d';
  expect(serverConfig({ jobsOnly: true, databaseUrl })).toMatchObject({ jobsOnly: true });
  expect(mistakeOf({ jobsOnly: true })).toContain('--jobs-only needs --database');
  expect(mistakeOf({ jobsOnly: true, databaseUrl, jobSlots: 0 })).toContain('nothing to do');
  expect(mistakeOf({ databaseUrl: 'mysql://a:secret@c/d' })).toMatch(/^--database must be a URL(?!.*secret)/);
});

it('knows which addresses only this machine reaches', () => {
  expect(['127.0.0.1', '127.9.9.9', '::1', 'localhost'].every(isLoopback)).toBe(true);
  expect(['0.0.0.0', '::', '10.0.0.1', 'example.org', '127.0.0.1.example.org'].some(isLoopback)).toBe(false);
});
