// The API's description (OpenAPI 3.1) at /openapi.json, made of route-docs.ts, and a page to read and try it at /docs.
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance, FastifySchema, RouteOptions } from 'fastify';
import { SHARED } from '../wire/docs/answers.ts';
import { ROUTE_DOCS } from './route-docs.ts';

/** The page's own files and this server, nothing else. */
const DOCS_POLICY = {
  'default-src': "'none'",
  'script-src': "'self'",
  'style-src': "'self' 'unsafe-inline'", // it writes style attributes
  'img-src': "'self' data:",
  'font-src': "'self' data:",
  'connect-src': "'self'",
  'base-uri': "'none'",
  'form-action': "'self'",
  'frame-ancestors': "'none'",
};

/** TypeBox marks its schemas; the document is plain JSON, and ours to change. */
function plain<T>(schema: T): T {
  return JSON.parse(JSON.stringify(schema)) as T;
}

/** What is not in the table is no part of the API: pages and their files. */
function describe({ method, url }: Pick<RouteOptions, 'method' | 'url'>): FastifySchema {
  const doc = ROUTE_DOCS[`${String(method)} ${url}`];
  return doc === undefined ? { hide: true } : plain(doc);
}

/** Before the routes are added, since it listens to their coming. */
export async function addDocs(app: FastifyInstance, version: string): Promise<void> {
  for (const schema of SHARED) app.addSchema(plain(schema));
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'AVoCaDO captioner',
        version,
        description: 'Video captions that tell what is seen and heard, in order of time.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      tags: [{ name: 'captions' }, { name: 'OpenAI' }, { name: 'health' }],
      components: {
        securitySchemes: {
          key: {
            type: 'http',
            scheme: 'bearer',
            description: 'Only where the server was started with keys. The headers api-key and x-api-key do as well.',
          },
        },
      },
      security: [{ key: [] }, {}],
    },
    refResolver: {
      buildLocalReference: (schema, _base, _fragment, index) =>
        typeof schema.$id === 'string' ? schema.$id : `schema-${index}`,
    },
    transform: ({ url, route }) => ({ schema: describe({ method: route.method, url }), url }),
  });
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: DOCS_POLICY,
    uiConfig: { docExpansion: 'list', persistAuthorization: false },
    theme: { title: 'AVoCaDO API' },
  });
  let text = '';
  app.addHook('onReady', (done) => {
    text = JSON.stringify(app.swagger()); // putting it together takes longer than an event loop should be kept
    done();
  });
  app.get('/openapi.json', async (_request, reply) => reply.type('application/json; charset=utf-8').send(text));
}
