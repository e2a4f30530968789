import { Type } from '../../base/schema.ts';
import type { Captioner } from '../../captioner/captioner.ts';
import { checkModel, modelCard } from '../../openai/model-card.ts';
import type { Json } from '../../output/caption-answer.ts';
import type { AskIdentity } from '../job-work.ts';
import { defineRoute, type Route } from '../route.ts';
import { jsonResponse, MODELS, namedResponse } from '../wire/schemas.ts';

/** The weights have no known date. Clients only sort by it, so the start of the process will do. */
const STARTED_SECONDS = Math.floor(performance.timeOrigin / 1000);

interface ModelParts {
  readonly captioner: Captioner;
  readonly askIdentity: AskIdentity;
}

/** The card, with what makes the captions of this server: whoever keeps captions sees what has changed. */
async function cardOf({ captioner: { model }, askIdentity }: ModelParts): Promise<Readonly<Record<string, Json>>> {
  const card = { ...modelCard(model, STARTED_SECONDS) };
  const served = await askIdentity();
  if (served === undefined) return card;
  const { model: revision, precision, profile, preset, merge, engine } = served.identity;
  const { fingerprint } = served;
  return { ...card, avocado: { revision, precision, profile, preset, merge, engine, slots: model.slots, fingerprint } };
}

/** GET /v1/models as OpenAI's clients call it: a list with the one served model. */
export function modelRoutes(parts: ModelParts): Route[] {
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
      handler: async () => ({ object: 'list', data: [await cardOf(parts)] }),
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
        checkModel(id, parts.captioner.model);
        return cardOf(parts);
      },
    }),
  ];
}
