import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';

/** The same file from src/server and from dist/server: pages are not compiled. */
const PAGE = new URL('../../src/server/page.html', import.meta.url);

/** The hash by which a browser knows the page's only `<script>` or `<style>` (CSP level 3, section 2.3.1). */
function hashOf(element: 'script' | 'style', html: string): string {
  const text = new RegExp(`<${element}>([\\s\\S]*?)</${element}>`).exec(html)?.[1];
  if (text === undefined) throw new Error(`The page has no <${element}>. This is a bug.`);
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

/** The page may use its own script and style and talk to this server, nothing else. */
function contentSecurityPolicy(html: string): string {
  return [
    "default-src 'none'",
    `script-src ${hashOf('script', html)}`,
    `style-src ${hashOf('style', html)}`,
    "connect-src 'self'",
    'media-src blob:',
    'img-src data: blob:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}

/** GET /: choose a video, watch its caption arrive. */
export function addPage(app: FastifyInstance): void {
  const html = readFileSync(PAGE, 'utf8');
  const policy = contentSecurityPolicy(html);
  app.get('/', async (_request, reply) =>
    reply.type('text/html; charset=utf-8').header('content-security-policy', policy).header('x-content-type-options', 'nosniff').header('referrer-policy', 'no-referrer').send(html),
  );
}
