// The benchmarks by name.
import type { Benchmark } from '../benchmark.ts';
import { avqa, dailyOmni, musicAvqa, musicAvqa2, worldSense } from './choice-datasets.ts';
import { omniCloze } from './cloze.ts';
import { diadem } from './dialogue-match.ts';
import { dream } from './event-entailment.ts';
import { videoSalmonn2 } from './event-counts.ts';
import { avscap, capricorn } from './keypoint-mentions.ts';
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
  capricorn,
  avscap,
  diadem,
  omniCloze,
];
