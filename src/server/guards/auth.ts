import type { FastifyInstance, FastifyRequest } from 'fastify';
import { AvocadoError } from '../../base/errors.ts';
import { findKey, type ApiKey } from '../../settings/api-keys.ts';

/** Nothing here is secret, and probes and browsers that open a page cannot send a key. */
const OPEN_ROUTES: ReadonlySet<string> = new Set([
  '/',
  '/openapi.json',
  '/healthz',
  '/readyz',
  '/health',
  '/ping',
  '/v1/health/live',
  '/v1/health/ready',
]);
const OPEN_FOLDERS = ['/docs', '/page'];

const NO_KEY = 'This server asks for a key. Send the header Authorization: Bearer KEY.';
const WRONG_KEY = 'The key is not one of this server’s. Check it, or ask whoever runs the server for one.';

const keyNames = new WeakMap<FastifyRequest, string>();

/** By the route that answers, not by the URL as written. Unknown paths have no route and are not open. */
function isOpen({ routeOptions: { url } }: FastifyRequest): boolean {
  if (url === undefined) return false;
  return OPEN_ROUTES.has(url) || OPEN_FOLDERS.some((folder) => url === folder || url.startsWith(`${folder}/`));
}

/** `Authorization: Bearer KEY`, and what other servers' clients send. */
function presentedKeys({ headers }: FastifyRequest): string[] {
  const bearer = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
  return [bearer, headers['api-key'], headers['x-api-key']].filter((key) => typeof key === 'string');
}

/** The name of the key a request came with; undefined where everybody may ask. */
export function keyNameOf(request: FastifyRequest): string | undefined {
  return keyNames.get(request);
}

/** Lets nobody past without a key, before a body is read; without any key everybody may ask. */
export function addAuth(app: FastifyInstance, keys: readonly ApiKey[], onRefused: () => void): void {
  if (keys.length === 0) return;
  app.addHook('onRequest', (request, _reply, done) => {
    const presented = presentedKeys(request);
    const name = presented.map((key) => findKey(key, keys)).find((key) => key !== undefined)?.name;
    if (name !== undefined) keyNames.set(request, name);
    if (name !== undefined || isOpen(request)) {
      done();
      return;
    }
    onRefused();
    done(new AvocadoError('unauthorized', presented.length === 0 ? NO_KEY : WRONG_KEY));
  });
}
