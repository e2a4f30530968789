import { Type } from '../../base/schema.ts';
import type { Captioner } from '../../captioner/captioner.ts';
import { checkModel, modelCard } from '../../openai/model-card.ts';
import { defineRoute, type Route } from '../route.ts';
import { jsonResponse, MODELS, namedResponse } from '../wire/schemas.ts';

/** The weights have no known date. Clients only sort by it, so the start of the process will do. */
const STARTED_SECONDS = Math.floor(performance.timeOrigin / 1000);

/** GET /v1/models as OpenAI's clients call it: a list with the one served model. */
export function modelRoutes({ captioner }: { readonly captioner: Captioner }): Route[] {
  return [
    defineRoute({
      method: 'GET',
      url: '/v1/models',
      access: 'key',
      limit: 'none',
      docs: {
        tag: 'OpenAI',
        summary: 'The model of this server',
        responses: { 200: jsonResponse(MODELS, 'A list of one model') },
      },
      handler: () => ({ object: 'list', data: [modelCard(captioner.model, STARTED_SECONDS)] }),
    }),
    defineRoute({
      method: 'GET',
      url: '/v1/models/:id',
      access: 'key',
      limit: 'none',
      params: Type.Object({ id: Type.String() }),
      docs: {
        tag: 'OpenAI',
        summary: 'The model, by name',
        responses: { 200: namedResponse('Model', 'The model') },
        errors: ['model_not_found'],
      },
      handler: ({ params: { id } }) => {
        checkModel(id, captioner.model);
        return modelCard(captioner.model, STARTED_SECONDS);
      },
    }),
  ];
}
