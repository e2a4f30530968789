import type { FastifyInstance } from 'fastify';
import { chromium } from 'playwright-core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ERRORS } from '../../src/base/errors.ts';
import { buildApp } from '../../src/server/app.ts';
import { serverConfig } from '../../src/settings/server-settings.ts';
import { BROWSER, warnWithoutBrowser } from '../fixtures/browser.ts';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { form, serveApp, type ServedApp } from '../fixtures/served-app.ts';

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type Dictionary = Readonly<Record<string, Json>>;

interface Operation {
  readonly summary: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly required?: boolean }[];
  readonly requestBody?: {
    readonly content: Readonly<
      Record<string, { readonly schema: { readonly properties: Dictionary; readonly required: readonly string[] } }>
    >;
  };
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content?: Dictionary }>>;
}

interface Document {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Dictionary>>; readonly securitySchemes: Dictionary };
}

let app: ServedApp;
let document: Document;

beforeEach(async () => {
  app = await serveApp(fakeCaptioner());
  document = (await (await fetch(`${app.url}/openapi.json`)).json()) as Document;
});
afterEach(async () => {
  await app.close();
});

const operations = (): [string, Operation][] =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, Operation] => [
      `${method.toUpperCase()} ${path}`,
      operation,
    ]),
  );

/** Every object in it, with the path to it. */
function* objectsIn(value: Json, at = '#'): Generator<[string, Dictionary]> {
  if (Array.isArray(value))
    for (const [index, inner] of (value as readonly Json[]).entries()) yield* objectsIn(inner, `${at}/${index}`);
  else if (typeof value === 'object' && value !== null) {
    yield [at, value as Dictionary];
    for (const [key, inner] of Object.entries(value)) yield* objectsIn(inner, `${at}/${key}`);
  }
}

/** Routes as fastify has them, from the tree it prints. */
async function routesOf(): Promise<string[]> {
  const routes: string[] = [];
  const captioner = fakeCaptioner();
  const built: FastifyInstance = await buildApp({ captioner, config: serverConfig({}) });
  await built.ready();
  const paths: string[] = [];
  for (const line of built.printRoutes({ commonPrefix: false }).split('\n')) {
    const match = /^([│ ]*)[├└]── (\S*)(?: \((.+)\))?$/.exec(line);
    if (match === null) continue;
    const depth = match[1]!.length / 4;
    paths.splice(depth, Infinity, match[2]!);
    for (const method of match[3]?.split(', ') ?? []) routes.push(`${method} ${paths.join('')}`);
  }
  await built.close();
  return routes;
}

describe('/openapi.json', () => {
  it('has every route of the API, and nothing that is not one', async () => {
    const routes = (await routesOf())
      .filter((route) => !/^(HEAD|OPTIONS) |^GET \/(?:page.*|docs.*|openapi\.json)?$/.test(route))
      .map((route) => route.replace(/:(\w+)/g, '{$1}'));
    expect(routes.length).toBeGreaterThan(12);
    expect(
      operations()
        .map(([name]) => name)
        .sort(),
    ).toEqual(routes.sort());
  });

  it('is a document of OpenAPI 3.1 whose references all lead somewhere', () => {
    expect(document.openapi).toBe('3.1.0');
    expect(document.info).toMatchObject({ title: 'AVoCaDO captioner', version: '1.2.3' });
    expect(document.components.securitySchemes).toMatchObject({ key: { type: 'http', scheme: 'bearer' } });
    for (const [name, { summary, responses, parameters = [] }] of operations()) {
      expect([name, summary.length > 10, Object.keys(responses).length > 0]).toEqual([name, true, true]);
      for (const [status, { description }] of Object.entries(responses))
        expect([name, status, /^[1-5]\d\d$/.test(status), description.length > 0]).toEqual([name, status, true, true]);
      const inPath = [...name.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter);
      expect(
        parameters
          .filter((parameter) => parameter.in === 'path' && parameter.required === true)
          .map((parameter) => parameter.name),
      ).toEqual(inPath);
    }
    let references = 0;
    for (const [at, object] of objectsIn(document as unknown as Json)) {
      for (const key of Object.keys(object)) expect(key.startsWith('~') || key === '$id', `${at} ${key}`).toBe(false);
      const reference = object['$ref'];
      if (typeof reference !== 'string') continue;
      references += 1;
      const target = /^#\/components\/schemas\/(.+)$/.exec(reference)?.[1] ?? '';
      expect(Object.keys(document.components.schemas), at).toContain(target);
    }
    expect(references).toBeGreaterThan(20);
  });

  it('names every error, with its status, where captions are made', () => {
    const { responses } = document.paths['/v1/captions']!['post']!;
    for (const [code, { status }] of Object.entries(ERRORS))
      expect(responses[String(status)]?.description, code).toContain(`\`${code}\``);
    const schema = JSON.stringify(document.components.schemas['Error']);
    for (const code of Object.keys(ERRORS)) expect(schema).toContain(`"${code}"`);
  });

  it('describes the bodies as the routes check them, upload and JSON', () => {
    const { content } = document.paths['/v1/captions']!['post']!.requestBody!;
    expect(content['application/json']!.schema.required).toEqual(['media']);
    expect(content['multipart/form-data']!.schema.required).toEqual(['file']);
    for (const field of ['prompt', 'max_tokens', 'fps', 'stream', 'priority', 'timeout', 'n', 'stop']) {
      for (const type of ['application/json', 'multipart/form-data'])
        expect(content[type]!.schema.properties, `${type} ${field}`).toHaveProperty(field);
    }
    expect(
      document.paths['/v1/chat/completions']!['post']!.requestBody!.content['application/json']!.schema.properties,
    ).toHaveProperty('messages');
    expect(Object.keys(document.paths['/v1/captions']!['post']!.responses['200']!.content!)).toEqual([
      'application/json',
      'text/event-stream',
      'text/vtt',
      'application/x-subrip',
    ]);
  });

  it('describes the answers that really come: every field of them, none missing', async () => {
    for (const [path, name] of [
      ['/v1/captions', 'Caption'],
      ['/v1/captions/estimate', 'Estimate'],
    ] as const) {
      const answer = (await (
        await fetch(`${app.url}${path}`, {
          method: 'POST',
          body: form('x', { token_ids: 'true', n: '2', logprobs: '1' }),
        })
      ).json()) as Dictionary;
      const { properties, required } = document.components.schemas[name]! as {
        properties: Dictionary;
        required: readonly string[];
      };
      expect(Object.keys(properties)).toEqual(expect.arrayContaining(Object.keys(answer)));
      expect(Object.keys(answer)).toEqual(expect.arrayContaining([...required]));
    }
    const messages = [
      { role: 'user', content: [{ type: 'video_url', video_url: { url: 'data:video/mp4;base64,eA==' } }] },
    ];
    const chat = await fetch(`${app.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ messages }),
    });
    expect(Object.keys(document.components.schemas['ChatCompletion']!['properties'] as Dictionary).sort()).toEqual(
      Object.keys((await chat.json()) as Dictionary).sort(),
    );
    for (const [path, name] of [
      ['/healthz', 'Liveness'],
      ['/readyz', 'Readiness'],
      ['/v1/models/fake-nano', 'Model'],
    ] as const) {
      const answer = (await (await fetch(`${app.url}${path}`)).json()) as Dictionary;
      // The files of a fake model cannot be read, so its card leaves out what is optional.
      expect([...(document.components.schemas[name]!['required'] as readonly string[])].sort()).toEqual(
        Object.keys(answer).sort(),
      );
    }
  });

  it('does not validate: the routes say themselves what is wrong', async () => {
    const response = await fetch(`${app.url}/v1/captions`, { method: 'POST', body: form('x', { temperature: '9' }) });
    expect(await response.json()).toMatchObject({ error: { code: 'bad_request', param: 'temperature' } });
  });
});

warnWithoutBrowser('/docs is not tested');

describe.skipIf(BROWSER === undefined)('/docs', () => {
  it('shows the API in a browser, under its policy and without asking anybody else', async () => {
    const browser = await chromium.launch({
      executablePath: BROWSER,
      args: ['--no-sandbox'],
    });
    try {
      const page = await browser.newPage();
      const complaints: string[] = [];
      const asked: string[] = [];
      page.on('console', (message) => {
        if (message.type() === 'error') complaints.push(message.text());
      });
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('request', (request) => asked.push(request.url()));
      await page.goto(`${app.url}/docs`);
      await page.getByText('/v1/captions/estimate', { exact: true }).waitFor();
      await page.getByText('Caption a video, a picture or a sound file').first().click();
      await page.getByLabel('Request content type').waitFor();
      expect(complaints).toEqual([]);
      expect(asked.length).toBeGreaterThan(4);
      expect(asked.filter((url) => !url.startsWith(`${app.url}/`) && !url.startsWith('data:'))).toEqual([]);
    } finally {
      await browser.close();
    }
  });
});
