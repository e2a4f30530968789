// What every request passes before its route: security headers, the API key, the rate limit.
import helmet from '@fastify/helmet';
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { AvocadoError } from '../../base/errors.ts';
import { findKey, type ApiKey } from '../../settings/api-keys.ts';
import type { ServerConfig } from '../../settings/server-settings.ts';
import { addOriginGuards } from './origins.ts';

const NO_KEY = 'This server asks for a key. Send the header Authorization: Bearer KEY.';
const WRONG_KEY = 'The key is not one of this server’s. Check it, or ask the operator of the server for one.';

/**
 * Headers of every response: a browser may show it as data and do nothing else with it. Pages replace the policy with
 * their own. No Strict-Transport-Security: that is a promise for a whole host, which its operator or a proxy makes.
 */
async function addSecurityHeaders(app: FastifyInstance): Promise<void> {
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        'default-src': ["'none'"],
        'base-uri': ["'none'"],
        'form-action': ["'none'"],
        'frame-ancestors': ["'none'"],
      },
    },
    strictTransportSecurity: false,
  });
}

/** `Authorization: Bearer KEY`, and the headers that clients of other servers send. */
function presentedKeys({ headers }: FastifyRequest): string[] {
  const bearer = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
  return [bearer, headers['api-key'], headers['x-api-key']].filter((key) => typeof key === 'string');
}

/** A compressed body could unpack to any size, and media are compressed already. */
function refuseEncodings(app: FastifyInstance): void {
  app.addHook('onRequest', (request, _reply, done) => {
    const encoding = request.headers['content-encoding'] ?? '';
    if (encoding === '' || encoding.toLowerCase() === 'identity') {
      done();
      return;
    }
    done(
      new AvocadoError(
        'encoding_unsupported',
        `This server takes no body with content-encoding ${encoding.slice(0, 50)}. Send it as it is, without compression.`,
      ),
    );
  });
}

/**
 * Refuses a request without a valid key before its body is read. Unknown paths have no route, so they need a key too.
 */
function addAuth(app: FastifyInstance, keys: readonly ApiKey[], onRefused: () => void): void {
  if (keys.length === 0) return;
  app.addHook('onRequest', (request, _reply, done) => {
    const presented = presentedKeys(request);
    const name = presented.map((key) => findKey(key, keys)).find((key) => key !== undefined)?.name;
    request.context.keyName = name;
    if (name !== undefined || request.routeOptions.config.route?.access === 'open') {
      done();
      return;
    }
    onRefused();
    done(new AvocadoError('unauthorized', presented.length === 0 ? NO_KEY : WRONG_KEY));
  });
}

/** Requests per minute, by key. Without keys by address, where an IPv6 network of 64 bits counts as one. */
async function addRateLimit(
  app: FastifyInstance,
  { rateLimitPerMinute, apiKeys }: ServerConfig,
  onRefused: () => void,
): Promise<void> {
  if (rateLimitPerMinute === 0) return;
  await app.register(rateLimit, {
    max: rateLimitPerMinute,
    timeWindow: 60_000,
    allowList: (request) => request.routeOptions.config.route?.limit !== 'work',
    ...(apiKeys.length === 0 ? {} : { keyGenerator: (request: FastifyRequest) => request.context.keyName ?? '' }),
    errorResponseBuilder: (_request, { max, ttl }) => {
      onRefused();
      const retryAfterSeconds = Math.max(1, Math.ceil(ttl / 1000));
      return new AvocadoError(
        'rate_limited',
        `You may send ${max} requests a minute, and have. Send the request again in ${retryAfterSeconds} s.`,
        { retryAfterSeconds },
      );
    },
  });
}

/** To be added before the routes. @param onRefused counts a refused request */
export async function addGuards(
  app: FastifyInstance,
  config: ServerConfig,
  onRefused: (reason: 'unauthorized' | 'rate_limited') => void,
): Promise<void> {
  await addSecurityHeaders(app);
  addOriginGuards(app, config);
  addAuth(app, config.apiKeys, () => {
    onRefused('unauthorized');
  });
  refuseEncodings(app);
  await addRateLimit(app, config, () => {
    onRefused('rate_limited');
  });
}
