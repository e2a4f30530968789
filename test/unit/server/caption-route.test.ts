// Admission around a caption route, without an engine: a service that admits or refuses, and events that a test pushes.
import { request as httpRequest } from 'node:http';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { AdmittedRequest } from '../../../src/admission/request.ts';
import { AvocadoError } from '../../../src/base/errors.ts';
import { EventChannel } from '../../../src/base/event-channel.ts';
import type { CaptionEvent } from '../../../src/output/events.ts';
import {
  admit,
  captionEnd,
  failureOf,
  readEvents,
  timeoutOf,
  withAdmission,
  type CaptionParts,
} from '../../../src/server/caption-route.ts';
import { InFlightResponses } from '../../../src/server/request-context.ts';
import { sendError } from '../../../src/server/wire/error-reply.ts';

const stage: CaptionEvent = { type: 'stage', stage: 'probe', done: 0, total: 1 };
const failed = { type: 'caption-error', code: 'media_undecodable', message: 'Broken.', param: 'file' } as const;

let app: FastifyInstance;
let log: string[];
let refuse: boolean;
let handle: (admitted: AdmittedRequest) => Promise<unknown>;

/** Writes down what is called. */
function fakeAdmitted(id: string): AdmittedRequest {
  const controller = new AbortController();
  return {
    id,
    signal: controller.signal,
    abort: () => {
      log.push('abort');
      controller.abort(new AvocadoError('aborted', 'The client has left.'));
    },
    end: () => log.push('end'),
  } as unknown as AdmittedRequest;
}

const parts = {
  service: {
    admit: (id: string) => {
      if (refuse) throw new AvocadoError('queue_full', 'Full.');
      log.push('admit');
      return fakeAdmitted(id);
    },
  },
  metrics: { observe: () => ({ begin: () => undefined, fail: (code: string) => log.push(code) }) },
} as unknown as Pick<CaptionParts, 'service' | 'metrics'>;

beforeEach(async () => {
  [log, refuse, handle] = [[], false, () => Promise.resolve('done')];
  app = Fastify();
  app.setErrorHandler(sendError);
  new InFlightResponses().track(app);
  app.post(
    '/',
    {
      preParsing: (request, reply, payload, done) => {
        try {
          admit(parts, request, reply);
          done(null, payload);
        } catch (error) {
          done(error as Error);
        }
      },
    },
    (request) => {
      log.push('handler');
      return withAdmission(request, handle);
    },
  );
  await app.listen({ host: '127.0.0.1', port: 0 });
});
afterEach(async () => {
  await app.close();
});

/** Over a socket: a response of `inject` never counts as sent. */
async function post(body = '{}'): Promise<{ readonly status: number; readonly text: string }> {
  const { port } = app.server.address() as { port: number };
  const response = await fetch(`http://127.0.0.1:${port}/`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  });
  return { status: response.status, text: await response.text() };
}

describe('a caption route', () => {
  it('is admitted before its body is read, and ends its admission when the handler returns', async () => {
    expect((await post()).text).toBe('done');
    expect(log).toEqual(['admit', 'handler', 'end']);
  });

  it('refuses before the body is read, and counts that once', async () => {
    refuse = true;
    expect((await post()).status).toBe(429);
    expect(log).toEqual(['queue_full']);
  });

  it('ends its admission and counts the error when the handler throws', async () => {
    handle = () => Promise.reject(new AvocadoError('media_empty', 'Empty.'));
    expect((await post()).status).toBe(422);
    expect(log).toEqual(['admit', 'handler', 'media_empty', 'end']);
  });

  it('ends its admission when the body is malformed and the handler never runs', async () => {
    expect((await post('{')).status).toBe(400);
    await vi.waitFor(() => {
      expect(log).toEqual(['admit', 'bad_request', 'end']);
    });
  });

  it('is aborted when its client disconnects, in the handler or before it', async () => {
    const { port } = app.server.address() as { port: number };
    const connect = (body: string, contentLength: number): ReturnType<typeof httpRequest> => {
      const headers = { 'content-type': 'application/json', 'content-length': contentLength };
      const request = httpRequest({ port, method: 'POST', path: '/', headers });
      request.on('error', () => undefined);
      request.write(body);
      return request;
    };
    handle = ({ signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reject(signal.reason as Error);
        });
      });
    const running = connect('{}', 2);
    await vi.waitFor(() => {
      expect(log).toEqual(['admit', 'handler']);
    });
    running.destroy();
    await vi.waitFor(() => {
      expect(log).toEqual(['admit', 'handler', 'abort', 'aborted', 'end']);
    });
    log = [];
    const sending = connect('{', 1000);
    await vi.waitFor(() => {
      expect(log).toEqual(['admit']);
    });
    sending.destroy();
    await vi.waitFor(() => {
      expect(log).toEqual(['admit', 'abort', 'aborted', 'end']);
    });
  });
});

describe('readEvents', () => {
  it('counts every event, waits for the reader, and reads to the end', async () => {
    const channel = new EventChannel<CaptionEvent>();
    const order: string[] = [];
    const count = (event: CaptionEvent): void => void order.push(`count ${event.type}`);
    for (const event of [stage, failed]) channel.push(event);
    channel.close();
    const ending = await readEvents(channel, { count }, async ({ type }) => {
      await Promise.resolve();
      order.push(`sent ${type}`);
    });
    expect(ending).toBe(failed);
    expect(order).toEqual(['count stage', 'sent stage', 'count caption-error', 'sent caption-error']);
  });

  it('knows that events without a last one are a bug', async () => {
    const channel = new EventChannel<CaptionEvent>();
    channel.push(stage);
    channel.close();
    await expect(readEvents(channel, { count: () => undefined })).rejects.toThrow('This is a bug');
  });
});

describe('a caption in one piece', () => {
  const { signal } = new AbortController();

  it('throws the error of its last event', () => {
    expect(() => captionEnd(failed, signal)).toThrow(AvocadoError);
    expect(failureOf(failed, signal)).toMatchObject({ code: 'media_undecodable', message: 'Broken.', param: 'file' });
  });

  it('throws why it was cancelled', () => {
    expect(failureOf({ type: 'caption-aborted' }, signal)).toMatchObject({ code: 'aborted' });
    const stopping = AbortSignal.abort(new AvocadoError('engine_unavailable', 'Stopping.'));
    expect(failureOf({ type: 'caption-aborted' }, stopping)).toMatchObject({ code: 'engine_unavailable' });
  });
});

describe('a deadline', () => {
  const read = (header: string | undefined, field?: number): number | undefined =>
    timeoutOf({ headers: { 'x-request-timeout': header } }, field, { maxTimeoutSeconds: 60 });

  it('comes from the body, else from the header', () => {
    expect([read(undefined), read('30'), read('30', 20)]).toEqual([undefined, 30, 20]);
  });

  it.each([
    ['soon', undefined, 'x-request-timeout'],
    ['0', undefined, 'x-request-timeout'],
    ['61', undefined, 'x-request-timeout'],
    ['30', 61, 'timeout'],
  ])('of header %s and field %s is refused', (header, field, param) => {
    expect(() => read(header, field)).toThrow(`${param} must be`);
  });
});
