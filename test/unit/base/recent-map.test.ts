import { expect, it } from 'vitest';
import { RecentMap } from '../../../src/base/recent-map.ts';

it('forgets what was set longest ago, and takes a key that is set again for new', () => {
  const map = new RecentMap<string, number>(2);
  map.set('a', 1).set('b', 2).set('a', 3).set('c', 4);
  expect([...map]).toEqual([
    ['a', 3],
    ['c', 4],
  ]);
  map.get('a');
  map.set('d', 5);
  expect([...map.keys()]).toEqual(['c', 'd']);
});
