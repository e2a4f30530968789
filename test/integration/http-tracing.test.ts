// Traces: what a receiver of OTLP over HTTP gets, and that nothing is sent where nobody asked.
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { form, serveApp, type ServedApp } from '../fixtures/served-app.ts';

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { readonly key: string; readonly value: Readonly<Record<string, unknown>> }[];
  readonly status: { readonly code?: number };
}

interface Traces {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: Span['attributes'] };
    readonly scopeSpans: readonly { readonly spans: readonly Span[] }[];
  }[];
}

let app: ServedApp;
const servers: Server[] = [];

afterEach(async () => {
  await app.close();
  vi.unstubAllEnvs();
  for (const server of servers.splice(0)) server.close();
});

async function serve(answer: (request: IncomingMessage) => Promise<string>): Promise<string> {
  const server = createServer((request, response) => {
    void answer(request).then((body) => response.end(body));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** @returns what has been received so far */
async function receiver(): Promise<{ url: string; received: Traces[]; paths: string[] }> {
  const received: Traces[] = [];
  const paths: string[] = [];
  const url = await serve(async (request) => {
    paths.push(request.url ?? '');
    received.push(JSON.parse(await text(request)) as Traces);
    return '{}';
  });
  return { url, received, paths };
}

const TRACE = 'a'.repeat(32);
const PARENT = 'b'.repeat(16);

const spansOf = (received: readonly Traces[]): Span[] =>
  received.flatMap(({ resourceSpans }) =>
    resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((s) => s.spans)),
  );
const attributesOf = ({ attributes }: Pick<Span, 'attributes'>): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));

function post(body: FormData | string, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
  return fetch(`${app.url}/v1/captions`, { method: 'POST', body, headers });
}

describe('traces', () => {
  it('have one trace a request, under the client’s, with a span for each stage; the download carries it on', async () => {
    const { url, received, paths } = await receiver();
    const asked: (string | undefined)[] = [];
    const media = await serve((request) => {
      asked.push(request.headers['traceparent'] as string | undefined);
      return Promise.resolve('x');
    });
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', url);
    vi.stubEnv('OTEL_RESOURCE_ATTRIBUTES', 'deployment.environment.name=test');
    app = await serveApp(
      fakeCaptioner((request) =>
        request.prompt === 'fail' ? { error: { code: 'media_undecodable', message: () => 'No.' } } : {},
      ),
      { urlHosts: [new URL(media).host], allowCidrs: ['127.0.0.0/8'] },
    );
    const answer = await post(JSON.stringify({ media: `${media}/secret.mp4` }), {
      'content-type': 'application/json',
      traceparent: `00-${TRACE}-${PARENT}-01`,
    });
    expect(answer.status).toBe(200);
    await answer.text();
    await (await post(form('x', { prompt: 'fail' }))).text();
    await (await fetch(`${app.url}/metrics`)).text();
    await app.close();

    expect(new Set(paths)).toEqual(new Set(['/v1/traces']));
    const spans = spansOf(received);
    const [first, second, ...others] = spans.filter(({ name }) => name === 'POST /v1/captions');
    expect(others).toEqual([]);
    expect(first).toMatchObject({ traceId: TRACE, parentSpanId: PARENT });
    expect(answer.headers.get('traceresponse')).toBe(`00-${TRACE}-${first?.spanId ?? ''}-01`);
    expect(asked).toEqual([answer.headers.get('traceresponse')]);

    const stages = spans
      .filter(({ parentSpanId }) => parentSpanId === first?.spanId)
      .sort((a, b) => Number(BigInt(a.startTimeUnixNano) - BigInt(b.startTimeUnixNano)));
    expect(stages.every(({ traceId }) => traceId === TRACE)).toBe(true);
    const processes = stages.map((span) => [span.name, attributesOf(span)['avocado.process']]);
    expect(processes.slice(0, 2)).toEqual([
      ['receive', 'server'],
      ['fetch', 'server'],
    ]);
    expect(processes).toContainEqual(['queued', 'server']);
    expect(processes).toContainEqual(['probe', 'engine']);
    expect(processes.at(-1)).toEqual(['generate', 'engine']);
    expect(attributesOf(first as Span)).toMatchObject({
      'http.route': '/v1/captions',
      'http.response.status_code': 200,
      'avocado.outcome': 'ok',
      'avocado.source': 'url',
      'avocado.request.id': answer.headers.get('x-request-id'),
    });
    // Span status 2 is an error.
    expect(second).toMatchObject({ status: { code: 2 } });
    expect(second?.traceId).not.toBe(TRACE);
    expect(attributesOf(second as Span)).toMatchObject({ 'error.type': 'media_undecodable' });
    expect(JSON.stringify(received)).not.toMatch(/secret|red ball/);
    const [resource] = received.flatMap(({ resourceSpans }) => resourceSpans.map((one) => one.resource));
    expect(attributesOf(resource ?? { attributes: [] })).toMatchObject({
      'service.name': 'avocado-captioner',
      'service.version': '1.2.3',
      'deployment.environment.name': 'test',
    });
  });

  it.each([
    ['no variable', {}],
    ['the exporter none', { OTEL_TRACES_EXPORTER: 'none' }],
    ['a switch', { OTEL_SDK_DISABLED: 'true' }],
    ['a sampler that is off', { OTEL_TRACES_SAMPLER: 'always_off' }],
  ])('are not sent with %s', async (what, variables: Readonly<Record<string, string>>) => {
    const { url, received } = await receiver();
    if (what !== 'no variable') vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', url);
    for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
    app = await serveApp(fakeCaptioner());
    const answer = await post(form('x'));
    expect(answer.status).toBe(200);
    await app.close();
    expect(received).toEqual([]);
  });

  it('that nobody takes hold no request up', async () => {
    const { url } = await receiver();
    for (const server of servers.splice(0)) server.close();
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', url);
    app = await serveApp(fakeCaptioner());
    expect((await post(form('x'))).status).toBe(200);
  });
});
