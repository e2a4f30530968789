import type { FastifyInstance } from 'fastify';
import type { Captioner } from '../../captioner/captioner.ts';
import { checkModel, modelCard } from '../../openai/model-card.ts';

/** Nobody knows when the weights were made; clients only sort by it. */
const STARTED_SECONDS = Math.floor(performance.timeOrigin / 1000);

/** GET /v1/models, as OpenAI's clients ask for it: the one model that is served. */
export function addModelsRoutes(app: FastifyInstance, { captioner }: { readonly captioner: Captioner }): void {
  app.get('/v1/models', () => ({ object: 'list', data: [modelCard(captioner.model, STARTED_SECONDS)] }));

  app.get<{ Params: { id: string } }>('/v1/models/:id', ({ params }) => {
    checkModel(params.id, captioner.model);
    return modelCard(captioner.model, STARTED_SECONDS);
  });
}
