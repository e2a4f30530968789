// A route is one object: what it answers, who may call it, whether it counts against the rate limit, and how the API's
// description shows it. Registration, guards, log and OpenAPI all read this object, so a new route is one new object.
import type { Type } from '../base/schema.ts';
import type {
  FastifyContextConfig,
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  RouteShorthandOptions,
} from 'fastify';
import type { ErrorCode } from '../base/errors.ts';
import { checkValue } from '../base/check-value.ts';
import type { DocumentedResponse } from './wire/schemas.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** absent for unknown paths, which guards treat like a route with a key */
    route?: RoutePolicy;
  }
}

/** One operation of the API's description. */
export interface RouteDocs {
  readonly tag: 'captions' | 'jobs' | 'OpenAI' | 'health';
  readonly summary: string;
  readonly description?: string;
  /** request headers, as an object schema */
  readonly headers?: Type.TSchema;
  /** request bodies by content type */
  readonly body?: Readonly<Record<string, Type.TSchema>>;
  readonly responses: Readonly<Record<number, DocumentedResponse>>;
  /** errors it can end with, besides a missing key */
  readonly errors?: readonly ErrorCode[];
}

/** What guards, log and the API's description need to know about a route. */
export interface RoutePolicy {
  /** `open`: anyone may call it; `key`: only clients with a key, when the server has keys */
  readonly access: 'open' | 'key';
  /** `work`: counts against the rate limit; `none`: stays possible for a client that reached the limit */
  readonly limit: 'work' | 'none';
  /** polled by machines every few seconds: successful requests are logged at level debug */
  readonly polled?: boolean;
  /** it captions: it counts its bodies itself, as they arrive */
  readonly captions?: boolean;
  /** schema of the path parameters */
  readonly params?: Type.TSchema;
  /** `hidden`: not part of the API, such as a page and its files */
  readonly docs: RouteDocs | 'hidden';
}

export interface Call<Params = unknown> {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  /** checked against the route's `params` */
  readonly params: Params;
}

interface RouteAddress {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** one path, or several names of the same route */
  readonly url: string | readonly string[];
}

export interface Route extends RouteAddress, RoutePolicy {
  /** further options of Fastify */
  readonly options?: Pick<RouteShorthandOptions, 'bodyLimit' | 'preParsing' | 'sse'>;
  readonly handler: (call: Call) => unknown;
}

/** A route whose path parameters have the type of their schema. */
interface TypedRoute<Params extends Type.TSchema> extends Omit<Route, 'params' | 'handler'> {
  readonly params: Params;
  readonly handler: (call: Call<Type.Static<Params>>) => unknown;
}

export function defineRoute<Params extends Type.TSchema>(route: TypedRoute<Params>): Route;
export function defineRoute(route: Route): Route;
export function defineRoute<Params extends Type.TSchema>(route: TypedRoute<Params> | Route): Route {
  if (route.params === undefined) return route as Route;
  const { params, handler } = route as TypedRoute<Params>;
  return { ...route, handler: (call) => handler({ ...call, params: checkValue(params, call.params, '') }) };
}

export function addRoutes(app: FastifyInstance, routes: readonly Route[]): void {
  for (const route of routes) {
    const { method, url: urls, options, handler } = route;
    const config: FastifyContextConfig = { route };
    for (const url of [urls].flat())
      app.route({
        ...options,
        method,
        url,
        config,
        handler: (request, reply) => handler({ request, reply, params: request.params }),
      });
  }
}
