import { goldenCases } from '../fixtures/golden-cases.ts';
import { describeCases } from './case-checks.ts';

describeCases({
  checkpoint: 'tiny-b',
  runtime: 'native',
  cases: goldenCases('tiny-b').filter(({ length }) => length <= 10_000),
});
