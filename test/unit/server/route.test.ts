import Fastify, { type FastifyInstance } from 'fastify';
import { Type } from '../../../src/base/schema.ts';
import { afterEach, describe, expect, it } from 'vitest';
import { InFlightResponses, RequestContext } from '../../../src/server/request-context.ts';
import { addRoutes, defineRoute } from '../../../src/server/route.ts';
import { sendError } from '../../../src/server/wire/error-reply.ts';

let app: FastifyInstance | undefined;

afterEach(async () => {
  await app?.close();
});

describe('a route', () => {
  it('cannot be declared without access and limit', () => {
    const handler = (): string => 'hello';
    // @ts-expect-error: it does not say who may call it
    defineRoute({ method: 'GET', url: '/', limit: 'none', docs: 'hidden', handler });
    // @ts-expect-error: it does not say whether it counts against the rate limit
    defineRoute({ method: 'GET', url: '/', access: 'open', docs: 'hidden', handler });
    // @ts-expect-error: it neither has a description nor says that it is hidden
    defineRoute({ method: 'GET', url: '/', access: 'open', limit: 'none', handler });
    expect(defineRoute({ method: 'GET', url: '/', access: 'open', limit: 'none', docs: 'hidden', handler })).toEqual(
      expect.objectContaining({ access: 'open', limit: 'none' }),
    );
  });

  it('answers at all its paths, tells guards what it is, and checks its parameters', async () => {
    app = Fastify();
    app.setErrorHandler(sendError);
    addRoutes(app, [
      defineRoute({
        method: 'GET',
        url: ['/clips/:id', '/v1/clips/:id'],
        access: 'open',
        limit: 'work',
        params: Type.Object({ id: Type.String({ maxLength: 3 }) }),
        docs: 'hidden',
        handler: ({ request, params: { id } }) => {
          const { access, limit } = request.routeOptions.config.route ?? {};
          return { id, access, limit };
        },
      }),
    ]);
    for (const url of ['/clips/abc', '/v1/clips/abc'])
      expect((await app.inject(url)).json()).toEqual({ id: 'abc', access: 'open', limit: 'work' });
    const refused = await app.inject('/clips/abcd');
    expect([refused.statusCode, refused.json()]).toMatchObject([400, { error: { code: 'bad_request', param: 'id' } }]);
  });
});

describe('RequestContext', () => {
  it('runs cleanups once, the latest first, and at once after the close', async () => {
    const ran: string[] = [];
    const context = new RequestContext();
    context.defer(() => ran.push('first'));
    context.defer(() => ran.push('second'));
    expect(ran).toEqual([]);
    context.close();
    context.close();
    expect(ran).toEqual(['second', 'first']);
    context.defer(() => ran.push('late'));
    expect(ran).toEqual(['second', 'first', 'late']);
    await context.closed;
  });
});

describe('InFlightResponses', () => {
  it('lends an id to one response at a time, and knows when none is open', async () => {
    app = Fastify({ genReqId: (request) => responses.newId(request) });
    const responses = new InFlightResponses();
    responses.track(app);
    let answer: () => void = () => undefined;
    const arrived = new Promise<void>((resolve) => {
      addRoutes(app as FastifyInstance, [
        defineRoute({
          method: 'GET',
          url: '/',
          access: 'open',
          limit: 'none',
          docs: 'hidden',
          handler: () =>
            new Promise((respond) => {
              answer = () => {
                respond('hello');
              };
              resolve();
            }),
        }),
      ]);
    });
    const headers = { 'x-request-id': 'the-same-id' };
    const response = app.inject({ url: '/', headers });
    await arrived;
    expect(responses.newId({ headers })).toMatch(/^cap-/);
    await responses.idle(1); // gives up
    const idle = responses.idle(60_000);
    answer();
    expect((await response).headers['x-request-id']).toBe('the-same-id');
    await idle;
    expect(responses.newId({ headers })).toBe('the-same-id');
    await responses.idle(60_000);
  });
});
