// The API's description (OpenAPI 3.1) at /openapi.json, made from the route objects, and its page at /docs.
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance, FastifySchema } from 'fastify';
import type { ServerConfig } from '../../settings/server-settings.ts';
import { addRoutes, type RoutePolicy } from '../route.ts';
import { errorResponses, SHARED } from '../wire/schemas.ts';

/** The page may load its own files and talk to this server, nothing else. */
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

/** The description itself, and the files of its page. */
const OPEN: RoutePolicy = { access: 'open', limit: 'none', docs: 'hidden' };

/** TypeBox schemas carry symbols; the document must be plain JSON of its own. */
function plain<T>(schema: T): T {
  return JSON.parse(JSON.stringify(schema)) as T;
}

/** OpenAPI's operation, as a Fastify schema. Nothing here validates: routes check their requests themselves. */
function operationOf({ docs, access, params }: RoutePolicy): FastifySchema {
  if (docs === 'hidden') return { hide: true };
  const { tag, summary, description, headers, body, responses, errors = [] } = docs;
  const content = Object.entries(body ?? {}).map(([type, schema]) => [type, { schema }] as const);
  return plain({
    summary,
    description,
    tags: [tag],
    params,
    headers,
    body: body === undefined ? undefined : { content: Object.fromEntries(content) },
    response: { ...responses, ...errorResponses(access === 'key' ? ['unauthorized', ...errors] : errors) },
    security: access === 'open' ? [] : undefined,
  });
}

/** To be added before the routes, because the plugin listens to their registration. */
export async function addOpenApi(
  app: FastifyInstance,
  { version, basePath }: Pick<ServerConfig, 'version' | 'basePath'>,
): Promise<void> {
  for (const schema of SHARED) app.addSchema(plain(schema));
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'AVoCaDO captioner',
        version,
        description: 'Captions of videos that describe what can be seen and heard, in order of time.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      ...(basePath === '' ? {} : { servers: [{ url: basePath }] }),
      tags: [{ name: 'captions' }, { name: 'jobs' }, { name: 'OpenAI' }, { name: 'health' }],
      components: {
        securitySchemes: {
          key: {
            type: 'http',
            scheme: 'bearer',
            description: 'Only if the server was started with keys. The headers api-key and x-api-key work as well.',
          },
        },
      },
      security: [{ key: [] }, {}],
    },
    refResolver: {
      buildLocalReference: (schema, _base, _fragment, index) =>
        typeof schema.$id === 'string' ? schema.$id : `schema-${index}`,
    },
    transform: ({ url, route }) => ({ url, schema: operationOf(route.config?.route ?? OPEN) }),
  });
  await app.register(addDocsPage);
  addDocument(app);
}

async function addDocsPage(scope: FastifyInstance): Promise<void> {
  scope.addHook('onRoute', (options) => {
    options.config = { ...options.config, route: OPEN };
  });
  await scope.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: DOCS_POLICY,
    uiConfig: { docExpansion: 'list', persistAuthorization: false },
    theme: { title: 'AVoCaDO API' },
  });
}

function addDocument(app: FastifyInstance): void {
  let text = '';
  app.addHook('onReady', (done) => {
    text = JSON.stringify(app.swagger()); // once at the start, because building it blocks the event loop
    done();
  });
  addRoutes(app, [
    {
      ...OPEN,
      method: 'GET',
      url: '/openapi.json',
      handler: ({ reply }) => reply.type('application/json; charset=utf-8').send(text),
    },
  ]);
}
