import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { AvocadoError } from '../../base/errors.ts';
import { keyNameOf } from './auth.ts';
import type { ServerConfig } from '../../settings/server-settings.ts';

/** Requests that make work. Looking, and giving work up, must stay possible for whoever has asked too much. */
function isLimited({ method, routeOptions: { url } }: FastifyRequest): boolean {
  return method === 'POST' && url?.startsWith('/v1/') === true;
}

/** So many requests a minute for each key, or for each address (an IPv6 network of 64 bits counts as one) where there are no keys. */
export async function addRateLimit(
  app: FastifyInstance,
  { rateLimitPerMinute, apiKeys }: ServerConfig,
  onRefused: () => void,
): Promise<void> {
  if (rateLimitPerMinute === 0) return;
  await app.register(rateLimit, {
    max: rateLimitPerMinute,
    timeWindow: 60_000,
    allowList: (request) => !isLimited(request),
    ...(apiKeys.length === 0 ? {} : { keyGenerator: (request: FastifyRequest) => keyNameOf(request) ?? '' }),
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
