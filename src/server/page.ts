import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';

/** The same file from src/server and from dist/server: pages are not compiled. */
const PAGE = new URL('../../src/server/page.html', import.meta.url);

/** The page may run its own script and talk to this server, nothing else. */
function contentSecurityPolicy(html: string): string {
  const script = /<script>([\s\S]*?)<\/script>/.exec(html)?.[1] ?? '';
  const hash = createHash('sha256').update(script).digest('base64');
  return `default-src 'none'; script-src 'sha256-${hash}'; style-src 'unsafe-inline'; connect-src 'self'; media-src blob:; img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
}

/** GET /: choose a video, watch its caption arrive. */
export function addPage(app: FastifyInstance): void {
  const html = readFileSync(PAGE, 'utf8');
  const policy = contentSecurityPolicy(html);
  app.get('/', async (_request, reply) =>
    reply.type('text/html; charset=utf-8').header('content-security-policy', policy).header('x-content-type-options', 'nosniff').header('referrer-policy', 'no-referrer').send(html),
  );
}
