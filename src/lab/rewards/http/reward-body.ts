// Bodies of POST /v1/rewards and of /v1/rewards/NAME, which is the same for one reward.
import Type from 'typebox';
import { checkValue } from '../../../base/check-value.ts';
import { ITEM, OPTIONS, REWARD_NAMES, WEIGHTS } from '../wire.ts';

const ITEMS = Type.Array(ITEM, { minItems: 1 });
const BATCH = Type.Object(
  {
    items: ITEMS,
    rewards: Type.Optional(REWARD_NAMES),
    weights: Type.Optional(WEIGHTS),
    options: Type.Optional(OPTIONS),
  },
  { additionalProperties: false },
);
const SINGLE = Type.Object({ items: ITEMS, options: Type.Optional(OPTIONS) }, { additionalProperties: false });

/** @throws AvocadoError `bad_request`, `unknown_field` */
export function batchBody(value: unknown): Type.Static<typeof BATCH> {
  return checkValue(BATCH, value, '');
}

/** @throws AvocadoError `bad_request`, `unknown_field` */
export function singleBody(value: unknown): Type.Static<typeof SINGLE> {
  return checkValue(SINGLE, value, '');
}
