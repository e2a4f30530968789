import { goldenCases } from '../fixtures/golden-cases.ts';
import { describeCases } from './case-checks.ts';

/** Longer ones have a file of their own. */
describeCases({
  checkpoint: 'tiny-a',
  runtime: 'native',
  stages: 'logits',
  cases: goldenCases('tiny-a').filter(({ length }) => length <= 10_000),
});
