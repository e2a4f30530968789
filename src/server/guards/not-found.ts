import type { FastifyInstance } from 'fastify';
import { AvocadoError } from '../../base/errors.ts';

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

/** Answers for paths and methods nobody has. @param hint a sentence about what there is */
export function addNotFound(app: FastifyInstance, hint: string): void {
  app.setNotFoundHandler(async (request, reply) => {
    const path = request.url.split('?')[0] ?? '/';
    const allowed = METHODS.filter((method) => app.hasRoute({ method, url: path }));
    if (allowed.length === 0) throw new AvocadoError('not_found', `There is nothing at ${path}. ${hint}`);
    void reply.header('allow', allowed.join(', '));
    throw new AvocadoError('method_not_allowed', `${path} takes ${allowed.join(', ')}, not ${request.method}.`);
  });
}
