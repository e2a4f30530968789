// What web pages of other sites may do. A server without keys trusts whoever reaches it, and every page in a browser on
// this machine reaches it: by a name of its own that leads here (DNS rebinding), or by a request to another site.
import { isIP } from 'node:net';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { AvocadoError } from '../../base/errors.ts';
import { bareHost, parseUrl } from '../../intake/url-policy.ts';
import { isLoopback, type ServerConfig } from '../../settings/server-settings.ts';

type OriginConfig = Pick<ServerConfig, 'host' | 'apiKeys' | 'allowHosts' | 'corsOrigins'>;

const LOCALHOST = /^([a-z0-9-]+\.)*localhost$/;
const METHODS_THAT_READ = ['GET', 'HEAD', 'OPTIONS'];
/** Of responses that a page of an allowed origin may read; it may send whatever it asks for. */
const RESPONSE_HEADERS = [
  'x-request-id',
  'x-avocado-ignored-fields',
  'x-avocado-media-hash',
  'server-timing',
  'x-should-retry',
  'retry-after',
  'retry-after-ms',
].join(', ');
const PREFLIGHT_SECONDS = '600';

type Origins = Pick<OriginConfig, 'corsOrigins'>;

function allowsOrigin(origin: string, { corsOrigins }: Origins): boolean {
  return corsOrigins.includes('*') || corsOrigins.includes(origin);
}

/** Of a response to a page of `origin`; undefined: no page asks, or a browser that says nothing of it. */
export function originHeaders(origin: string | undefined, config: Origins): Record<string, string> {
  if (config.corsOrigins.length === 0) return {};
  const vary = { vary: 'origin, access-control-request-headers' };
  if (origin === undefined || !allowsOrigin(origin, config)) return vary;
  return { ...vary, 'access-control-allow-origin': origin, 'access-control-expose-headers': RESPONSE_HEADERS };
}

/** Of a response to a request whose head was not read, so that nobody knows which page asks. */
export function unreadOriginHeaders(config: Origins): Record<string, string> {
  const { corsOrigins } = config;
  const only = corsOrigins.includes('*') ? '*' : corsOrigins.length === 1 ? corsOrigins[0] : undefined;
  return originHeaders(only, config);
}

/** To be added before the keys are checked: a browser sends none with its question before a request. */
export function addOriginGuards(app: FastifyInstance, config: OriginConfig): void {
  if (config.apiKeys.length === 0)
    app.addHook('onRequest', (request, _reply, done) => {
      checkHost(request, config);
      checkSite(request, config);
      done();
    });
  if (config.corsOrigins.length === 0) return;
  app.addHook('onRequest', (request, reply, done) => {
    const { origin } = request.headers;
    void reply.headers(originHeaders(origin, config));
    const isAllowed = origin !== undefined && allowsOrigin(origin, config);
    const isQuestion = request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined;
    if (!isAllowed || !isQuestion) {
      done();
      return;
    }
    void reply
      .code(204)
      .headers({
        'access-control-allow-methods': 'GET, POST, DELETE',
        'access-control-allow-headers': request.headers['access-control-request-headers'] ?? '',
        'access-control-max-age': PREFLIGHT_SECONDS,
      })
      .send();
  });
}

/** The name in a header such as `example.org:8080`; undefined where it is none. */
function nameOf(authority: string): string | undefined {
  const url = parseUrl(`http://${authority}/`);
  return url === undefined || /[/?#@\\\s]/.test(authority) ? undefined : bareHost(url.hostname).replace(/\.$/, '');
}

function isOwnName(name: string, { allowHosts }: OriginConfig): boolean {
  return isIP(name) !== 0 || LOCALHOST.test(name) || allowHosts.some((host) => nameOf(host) === name);
}

/** A page behind DNS rebinding asks under its own name, never under an address. Who sends no Host is no browser. */
function checkHost({ host }: FastifyRequest, config: OriginConfig): void {
  if (host === '' || (!isLoopback(config.host) && config.allowHosts.length === 0)) return;
  const name = nameOf(host);
  if (name !== undefined && isOwnName(name, config)) return;
  throw new AvocadoError(
    'forbidden',
    'This server needs no key, so it answers only under an IP address, localhost, or a name given with --allow-host. ' +
      'Ask under one of those, or start the server with --api-keys.',
  );
}

/** A page of another site can make a browser send a form, though it cannot read the answer. */
function checkSite({ method, headers, host }: FastifyRequest, config: OriginConfig): void {
  if (METHODS_THAT_READ.includes(method)) return;
  const { origin } = headers;
  if (origin !== undefined && allowsOrigin(origin, config)) return;
  const site = headers['sec-fetch-site'];
  const isOwn = site === undefined ? origin === undefined || isSameHost(origin, host, config) : isOwnSite(site);
  if (isOwn) return;
  throw new AvocadoError(
    'forbidden',
    'A page of another site may not use this server. Its operator can allow it with --cors-origin.',
  );
}

/** `none`: a person did it, not a page */
function isOwnSite(site: string | readonly string[]): boolean {
  return site === 'same-origin' || site === 'none';
}

/** A browser too old for Sec-Fetch-Site. */
function isSameHost(origin: string, host: string | undefined, { allowHosts }: OriginConfig): boolean {
  const url = parseUrl(origin);
  return url !== undefined && (url.host === host || allowHosts.some((name) => nameOf(name) === url.hostname));
}
