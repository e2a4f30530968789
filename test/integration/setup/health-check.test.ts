// The health check of the image, beside servers that are told where to listen in every way.
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { buildApp } from '../../../src/server/app.ts';
import { listen, type Listening } from '../../../src/server/listen.ts';
import { serverConfig, type ServerSettings } from '../../../src/settings/server-settings.ts';
import { fakeCaptioner } from '../../fixtures/fake-captioner.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';
import { selfSigned } from '../../fixtures/self-signed.ts';

const DOCKERFILE = readFileSync(new URL('../../../Dockerfile', import.meta.url), 'utf8');
const scratch = scratchDirectory();
let server: Listening | undefined;

afterEach(async () => {
  vi.unstubAllEnvs();
  await server?.close();
  server = undefined;
});

async function serve(file: string, settings: ServerSettings): Promise<void> {
  vi.stubEnv('AVOCADO_ADDRESS_FILE', file);
  const config = serverConfig({ port: 0, drainMs: 0, ...settings });
  const engine = { close: () => Promise.resolve() };
  server = await listen(await buildApp({ captioner: fakeCaptioner(), config }), engine, config);
}

/** @returns its exit status, as the image runs it */
async function check(file: string): Promise<number> {
  const script = /CMD \["node", "\/app\/(\S+)"\]/.exec(DOCKERFILE)?.[1] ?? 'none';
  const path = fileURLToPath(new URL(`../../../${script}`, import.meta.url));
  const env = { ...process.env, AVOCADO_ADDRESS_FILE: file };
  return await new Promise((resolve) => {
    execFile(process.execPath, [path], { env }, (error) => {
      resolve(error === null ? 0 : Number(error.code));
    });
  });
}

describe('the health check of the image', () => {
  it.each<[string, () => ServerSettings]>([
    ['a port of its own', () => ({ host: '0.0.0.0' })],
    ['one address alone', () => ({ host: '127.0.0.2' })],
    ['a base path', () => ({ basePath: '/captions' })],
    [
      'a certificate for another name',
      () => {
        const { key, certificate } = selfSigned('captions.example');
        writeFileSync(scratch('key.pem'), key);
        writeFileSync(scratch('cert.pem'), certificate);
        return { tlsKeyFile: scratch('key.pem'), tlsCertFile: scratch('cert.pem') };
      },
    ],
  ])('finds a server with %s, and notices when it is gone', async (_what, settings) => {
    const file = scratch('address');
    await serve(file, settings());
    expect(await check(file)).toBe(0);
    await server?.close();
    server = undefined;
    expect(await check(file)).toBe(1);
  });

  it('fails where no server has begun, and a server starts where it cannot say where it listens', async () => {
    expect(await check(scratch('no-server'))).toBe(1);
    await serve(scratch('no-directory/address'), {});
    expect((await fetch(`${server?.url}/healthz`)).status).toBe(200);
  });

  it('is given a file that any user can write', () => {
    expect(DOCKERFILE).toMatch(/ENV [^]*?AVOCADO_ADDRESS_FILE=\/tmp\/[\w-]+\nUSER/);
  });
});
