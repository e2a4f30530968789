import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { Type } from '../../base/schema.ts';
import type { Captioner } from '../../captioner/captioner.ts';
import { AvocadoError } from '../../base/errors.ts';
import { readSampleClips } from '../../model/checkpoint/model-package.ts';
import type { ServerConfig } from '../../settings/server-settings.ts';
import { defineRoute, type Route } from '../route.ts';

/** Works from src/server and from dist/server: pages are not compiled. */
const PAGE = new URL('../../../src/page/', import.meta.url);
const TYPES: Readonly<Record<string, string>> = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript' };
const ASSETS = ['page.css', 'page.js', 'caption-request.js', 'chosen-file.js', 'timeline.js', 'jobs.js'];

/** The page may load its own files and talk to this server, nothing else. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  'media-src blob:',
  'img-src data: blob:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** Nothing of the page is secret, and a browser that opens it cannot send a key. */
const OPEN = { method: 'GET', access: 'open', limit: 'none', docs: 'hidden' } as const;

/** GET /: choose a video and watch its caption arrive. Files and samples of the page are below /page. */
export function pageRoutes({ model }: Pick<Captioner, 'model'>, { basePath }: Pick<ServerConfig, 'basePath'>): Route[] {
  return [
    asset('/', 'page.html'),
    ...(basePath === '' ? [] : [toFolder(basePath)]),
    ...ASSETS.map((name) => asset(`/page/${name}`, name)),
    defineRoute({
      ...OPEN,
      url: '/page/samples',
      handler: async () => ({
        samples: (await readSampleClips(model.directory)).map(({ name, kind, caption }) => ({
          name,
          kind,
          caption,
          url: `page/samples/${name}`,
        })),
      }),
    }),
    defineRoute({
      ...OPEN,
      url: '/page/samples/:name',
      params: Type.Object({ name: Type.String() }),
      handler: async ({ reply, params: { name } }) => {
        // Only the path of a listed clip is opened, never one made from the client's text.
        const clip = (await readSampleClips(model.directory)).find((one) => one.name === name);
        if (clip === undefined)
          throw new AvocadoError('not_found', `There is no sample ${name}. GET /page/samples lists them.`);
        return reply.type('video/mp4').send(await readFile(clip.path));
      },
    }),
  ];
}

/** The page's links are relative, so its address must end in a slash. */
function toFolder(url: string): Route {
  return defineRoute({ ...OPEN, url, handler: ({ reply }) => reply.redirect(`${url}/`, 308) });
}

function asset(url: string, name: string): Route {
  const text = readFileSync(new URL(name, PAGE), 'utf8');
  return defineRoute({
    ...OPEN,
    url,
    handler: ({ reply }) =>
      reply
        .type(`${TYPES[extname(name)] ?? 'text/plain'}; charset=utf-8`)
        .header('content-security-policy', POLICY)
        .header('referrer-policy', 'no-referrer')
        .send(text),
  });
}
