import type { MediaEmbeddings } from './encode-media.ts';
import type { OpenModel } from './open-model.ts';
import type { PlannedRequest } from './plan-request.ts';
import type { Prompt } from './prompt/types.ts';
import { Detokenizer } from './stream/detokenizer.ts';
import type { CaptionEnd, CaptionEvent, FinishReason, MediaReport, SamplingParams, Usage } from './stream/events.ts';
import { StopStrings } from './stream/stop-strings.ts';
import type { Stopwatch } from './stream/stopwatch.ts';

/** Everything the last stage needs. */
export interface GenerateInput {
  readonly planned: PlannedRequest;
  readonly prompt: Prompt;
  readonly embeddings: MediaEmbeddings;
  readonly media: MediaReport;
  readonly sampling: SamplingParams;
  readonly stop: readonly string[];
}

/** The caption as it grows. */
class Draft {
  readonly tokenIds: number[] = [];
  readonly logprobs: number[] = [];
  readonly #detokenizer: Detokenizer;
  readonly #stop: StopStrings;
  text = '';

  constructor(model: Pick<OpenModel, 'tokenizer'>, stop: readonly string[]) {
    this.#detokenizer = new Detokenizer(model.tokenizer);
    this.#stop = new StopStrings(stop);
  }

  /** Takes one token; returns the text it makes certain. */
  push(id: number, logprob: number): string {
    this.tokenIds.push(id);
    this.logprobs.push(logprob);
    return this.#grow(this.#stop.push(this.#detokenizer.push(id)));
  }

  flush(): string {
    return this.#grow(this.#stop.push(this.#detokenizer.flush()) + this.#stop.flush());
  }

  get stopped(): boolean {
    return this.#stop.matched;
  }

  #grow(text: string): string {
    this.text += text;
    return text;
  }
}

function usageOf(prompt: Prompt, completionTokens: number): Usage {
  const { total, ...byModality } = prompt.counts;
  return { promptTokens: total, completionTokens, totalTokens: total + completionTokens, promptTokensByModality: byModality };
}

/** Prefill and decoding of one prepared request; ends with `caption-end`, or throws. */
export async function* generate(input: GenerateInput, model: OpenModel, watch: Stopwatch, signal: AbortSignal): AsyncGenerator<CaptionEvent> {
  const { prompt, embeddings, planned } = input;
  const draft = new Draft(model, input.stop);
  const started = performance.now();
  let firstTokenAt: number | undefined;
  let reason: FinishReason = 'stop';
  const request = {
    ids: prompt.ids,
    positions: prompt.positions,
    ropeDelta: prompt.ropeDelta,
    mediaRows: embeddings.rows,
    mediaEmbeds: embeddings.embeds,
    sampling: input.sampling,
    stopIds: model.stopIds,
    maxTokens: planned.maxTokens,
  };
  let firstTokenSeconds: number | undefined;
  for await (const event of model.engine.submit(request, signal)) {
    if (event.type === 'prefill') yield { type: 'stage', stage: 'prefill', done: event.done, total: event.total };
    else if (event.type === 'token') {
      if (firstTokenAt === undefined) {
        firstTokenAt = performance.now();
        firstTokenSeconds = watch.elapsed();
      }
      const text = draft.push(event.id, event.logprob);
      yield { type: 'text-delta', text, tokenIds: [event.id], logprobs: [event.logprob] };
      if (draft.stopped) break; // leaving the iteration aborts the sequence and frees its slot
    } else if (event.type === 'end') reason = event.reason;
    else if (event.type === 'error') throw event.error;
    else throw new DOMException('The request was cancelled.', 'AbortError');
  }
  const rest = draft.flush();
  if (rest !== '') yield { type: 'text-delta', text: rest, tokenIds: [], logprobs: [] };
  const decodeStarted = firstTokenAt ?? performance.now();
  const generateSeconds = (performance.now() - decodeStarted) / 1000;
  watch.add({ prefill: (decodeStarted - started) / 1000, generate: generateSeconds });
  yield endOf(input, draft, reason, watch, { firstTokenSeconds, generateSeconds });
}

interface Speed {
  readonly firstTokenSeconds: number | undefined;
  readonly generateSeconds: number;
}

function endOf(input: GenerateInput, draft: Draft, finishReason: FinishReason, watch: Stopwatch, { firstTokenSeconds, generateSeconds }: Speed): CaptionEnd {
  const count = draft.tokenIds.length;
  return {
    type: 'caption-end',
    caption: draft.text,
    finishReason,
    usage: usageOf(input.prompt, count),
    media: input.media,
    profile: input.planned.profileLabel,
    timings: {
      totalSeconds: watch.elapsed(),
      firstTokenSeconds,
      // the first token belongs to the prefill
      tokensPerSecond: count > 1 && generateSeconds > 0 ? (count - 1) / generateSeconds : undefined,
      stages: watch.stages(),
    },
    tokenIds: draft.tokenIds,
    logprobs: draft.logprobs,
  };
}
