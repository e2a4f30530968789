import type { Buffer } from 'node:buffer';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Intake } from '../../intake/intake.ts';

/** Bodies that hold no file worth the trouble go Fastify's own way. */
const SMALL_BYTES = 256 * 1024;

/** JSON bodies, with files in them left as bytes: parsing those would stop everybody's events. */
export function addJsonBodies(app: FastifyInstance, intake: Pick<Intake, 'parseJson'>): void {
  const releases = new WeakMap<FastifyRequest, () => void>();
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    if (body.length <= SMALL_BYTES) {
      void app.getDefaultJsonParser('error', 'error')(request, body.toString(), done);
      return;
    }
    try {
      const parsed = intake.parseJson(body);
      releases.set(request, () => {
        parsed.release();
      });
      done(null, parsed.value);
    } catch (error) {
      done(error as Error);
    }
  });
  app.addHook('onRequest', (request, reply, done) => {
    reply.raw.once('close', () => releases.get(request)?.());
    done();
  });
}
