// The benchmarks by name.
import type { Benchmark } from '../benchmark.ts';
import { avqa, dailyOmni, musicAvqa, musicAvqa2, worldSense } from './choice-datasets.ts';
import { dream } from './event-entailment.ts';
import { videoSalmonn2 } from './event-counts.ts';
import { vdc } from './short-answers.ts';
import { ugcVideoCap } from './ugc-ratings.ts';

export const BENCHMARKS: readonly Benchmark[] = [
  videoSalmonn2,
  ugcVideoCap,
  dailyOmni,
  worldSense,
  vdc,
  dream,
  avqa,
  musicAvqa,
  musicAvqa2,
];
