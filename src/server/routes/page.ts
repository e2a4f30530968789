import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Captioner } from '../../captioner/captioner.ts';
import { AvocadoError } from '../../base/errors.ts';
import { readSampleClips } from '../../model/checkpoint/model-package.ts';

/** The same files from src/server and from dist/server: pages are not compiled. */
const PAGE = new URL('../../../src/page/', import.meta.url);
const TYPES: Readonly<Record<string, string>> = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript' };
const ASSETS = ['page.css', 'page.js', 'caption-request.js', 'chosen-file.js', 'keep-caption.js', 'stage-list.js'];

/** The page may use its own files and talk to this server, nothing else. */
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

function sendAsset(reply: FastifyReply, name: string, text: string): FastifyReply {
  return reply
    .type(`${TYPES[extname(name)] ?? 'text/plain'}; charset=utf-8`)
    .header('content-security-policy', POLICY)
    .header('referrer-policy', 'no-referrer')
    .send(text);
}

/** GET /: choose a video, watch its caption arrive. Its files and samples lie under /page. */
export function addPage(app: FastifyInstance, { model }: Pick<Captioner, 'model'>): void {
  for (const name of ['page.html', ...ASSETS]) {
    const text = readFileSync(new URL(name, PAGE), 'utf8');
    app.get(name === 'page.html' ? '/' : `/page/${name}`, async (_request, reply) => sendAsset(reply, name, text));
  }
  app.get('/page/samples', async () => {
    const samples = await readSampleClips(model.directory);
    return {
      samples: samples.map(({ name, kind, caption }) => ({ name, kind, caption, url: `/page/samples/${name}` })),
    };
  });
  app.get<{ Params: { name: string } }>('/page/samples/:name', async ({ params: { name } }, reply) => {
    const sample = (await readSampleClips(model.directory)).find((one) => one.name === name); // only a name from the list becomes a path
    if (sample === undefined)
      throw new AvocadoError('not_found', `There is no sample ${name}. GET /page/samples lists them.`);
    return reply.type('video/mp4').send(await readFile(sample.path));
  });
}
