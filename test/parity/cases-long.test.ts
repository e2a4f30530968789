import { goldenCases } from '../fixtures/golden-cases.ts';
import { stressSize } from '../fixtures/stress-size.ts';
import { describeCases } from './case-checks.ts';

const film = (checkpoint: 'tiny-a' | 'tiny-b') =>
  goldenCases(checkpoint).filter(({ input }) => input.startsWith('bbb-30s'));

// 17,000 tokens of a real film.
describeCases({ checkpoint: 'tiny-a', runtime: 'native', cases: film('tiny-a'), stages: 'logits', threads: 2 });
describeCases({ checkpoint: 'tiny-b', runtime: 'native', cases: film('tiny-b'), threads: 2 });
// 34,000 tokens: over the budget of a caption, so only the dry run goes through.
describeCases({
  checkpoint: 'tiny-a',
  runtime: 'native',
  cases: goldenCases('tiny-a').filter(({ input }) => input.startsWith('long-200s')),
  stages: stressSize('stages of the longest prompt', { short: 1, long: 3 }) === 3 ? 'logits' : 'features',
  threads: 2,
  captions: false,
});
