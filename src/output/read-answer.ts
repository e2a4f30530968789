// The answer of a server as the event that it was made of: the other way round to caption-answer.ts.
import { AvocadoError } from '../base/errors.ts';
import { Check, Type } from '../base/schema.ts';
import type {
  CaptionEnd,
  MediaReport,
  MergeReport,
  Sample,
  SegmentCaption,
  TokenDetail,
  TokenWithAlternatives,
  Usage,
} from './events.ts';

type Fields = Readonly<Record<string, unknown>>;

const FINISH_REASON = Type.Enum(['stop', 'length', 'repetition']);
const USAGE = Type.Object({
  prompt_tokens: Type.Number(),
  completion_tokens: Type.Number(),
  total_tokens: Type.Number(),
  prompt_tokens_details: Type.Record(Type.String(), Type.Number()),
});
const TOKEN = Type.Object({ logprob: Type.Number(), bytes: Type.Array(Type.Number()) });
const TOKENS = Type.Optional(Type.Array(Type.Object({ ...TOKEN.properties, top_logprobs: Type.Array(TOKEN) })));
const SAMPLE = Type.Object({ caption: Type.String(), finish_reason: FINISH_REASON, logprobs: TOKENS });
const SCENE = Type.Object({
  index: Type.Number(),
  start: Type.Number(),
  end: Type.Number(),
  caption: Type.String(),
  finish_reason: FINISH_REASON,
  usage: Type.Optional(USAGE),
  timed_by: Type.Optional(Type.Literal('model')),
  details: Type.Optional(Type.Record(Type.String(), Type.String())),
  error: Type.Optional(Type.Object({ code: Type.String(), message: Type.String() })),
});
const SEGMENT = Type.Object({ ...SCENE.properties, scenes: Type.Optional(Type.Array(SCENE)) });
const MERGE = Type.Object({
  status: Type.Enum(['merged', 'refused', 'failed']),
  model: Type.String(),
  reason: Type.Optional(Type.String()),
  usage: Type.Optional(Type.Object({ prompt_tokens: Type.Number(), completion_tokens: Type.Number() })),
});

/** What is read of an answer; other fields may be there. */
const ANSWER = Type.Object({
  ...SAMPLE.properties,
  captions: Type.Optional(Type.Array(SAMPLE)),
  segments: Type.Optional(Type.Array(SEGMENT)),
  merge: Type.Optional(MERGE),
  usage: USAGE,
  media: Type.Object({
    kind: Type.Enum(['video', 'audio', 'image']),
    duration_seconds: Type.Number(),
    audio: Type.Object({ present: Type.Boolean(), used: Type.Boolean() }),
    warnings: Type.Array(Type.String()),
  }),
  profile: Type.String(),
  timings: Type.Object({ total_seconds: Type.Number(), stages: Type.Record(Type.String(), Type.Number()) }),
});

/**
 * `captionAnswer` gives the same answer again of it. Token ids are not in an answer, or not needed: they are empty.
 * @throws AvocadoError `engine_error` for an object that is no answer
 */
export function captionEndOf(answer: unknown): CaptionEnd {
  if (!Check(ANSWER, answer)) {
    const told = (JSON.stringify(answer) as string | undefined)?.slice(0, 200) ?? 'nothing';
    throw new AvocadoError('engine_error', `The server answers with no caption: ${told}`);
  }
  const [first, ...others] = answer.captions ?? [answer];
  if (first === undefined) throw new AvocadoError('engine_error', 'The server answers with an empty list of captions.');
  const { first_token_seconds: firstToken, tokens_per_second: rate } = answer.timings as Fields;
  return {
    type: 'caption-end',
    ...sampleOf(first),
    others: others.map(sampleOf),
    segments: answer.segments?.map(segmentOf),
    merge: answer.merge && (camelCase(answer.merge) as MergeReport),
    usage: usageOf(answer.usage),
    media: camelCase(answer.media) as MediaReport,
    profile: answer.profile,
    timings: {
      totalSeconds: answer.timings.total_seconds,
      firstTokenSeconds: typeof firstToken === 'number' ? firstToken : undefined,
      tokensPerSecond: typeof rate === 'number' ? rate : undefined,
      stages: answer.timings.stages,
    },
  };
}

function sampleOf({ caption, finish_reason, logprobs }: Type.Static<typeof SAMPLE>): Sample {
  const tokens = logprobs?.map(({ top_logprobs: top, ...token }): TokenWithAlternatives => ({
    ...tokenOf(token),
    top: top.map(tokenOf),
  }));
  const plain = { caption, finishReason: finish_reason, tokenIds: [], logprobs: [] };
  return tokens === undefined ? plain : { ...plain, tokens };
}

/** An answer has the bytes of a token, not its id. */
function tokenOf({ logprob, bytes }: Type.Static<typeof TOKEN>): TokenDetail {
  return { id: -1, logprob, bytes };
}

function segmentOf(segment: Type.Static<typeof SEGMENT>): SegmentCaption {
  const { index, start, end, caption, usage, details, scenes, error } = segment;
  return {
    ...{ index, start, end, caption, details },
    finishReason: segment.finish_reason,
    usage: usage && usageOf(usage),
    timedBy: segment.timed_by,
    scenes: scenes?.map(segmentOf),
    error: error as SegmentCaption['error'],
  };
}

function usageOf({ prompt_tokens_details: details, ...usage }: Type.Static<typeof USAGE>): Usage {
  const of = (kind: string): number => details[`${kind}_tokens`] ?? 0;
  return {
    promptTokens: usage.prompt_tokens,
    completionTokens: usage.completion_tokens,
    totalTokens: usage.total_tokens,
    promptTokensByModality: { text: of('text'), video: of('video'), audio: of('audio'), image: of('image') },
    cachedTokens: of('cached'),
  };
}

function camelCase(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelCase);
  if (typeof value !== 'object' || value === null) return value;
  const named = (name: string): string => name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [named(name), camelCase(inner)]));
}
