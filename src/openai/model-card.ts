import { AvocadoError } from '../base/errors.ts';

/** The fields of a served model that its card shows. */
interface ServedModel {
  readonly name: string;
  readonly context: number;
}

interface ModelCard {
  readonly id: string;
  readonly object: 'model';
  readonly created: number;
  readonly owned_by: string;
  /** vLLM's name for the context */
  readonly max_model_len: number;
}

/** @param createdSeconds since 1970; OpenAI's clients expect one */
export function modelCard(model: ServedModel, createdSeconds: number): ModelCard {
  return {
    id: model.name,
    object: 'model',
    created: createdSeconds,
    owned_by: 'avocado',
    max_model_len: model.context,
  };
}

/**
 * @param asked undefined = the served model
 * @throws AvocadoError `model_not_found` when a request names another model
 */
export function checkModel(asked: string | undefined, { name }: ServedModel): void {
  if (asked === undefined || asked === name) return;
  throw new AvocadoError(
    'model_not_found',
    `There is no model ${JSON.stringify(asked.slice(0, 200))}. ` +
      `This server serves ${name}: write that, or leave model out.`,
    { param: 'model' },
  );
}
