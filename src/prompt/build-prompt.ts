import { AvocadoError } from '../base/errors.ts';
import type { TokenIds } from '../model/checkpoint/config-types.ts';
import type { ChatTemplate } from './chat-template.ts';
import { encodeTurn } from './encode-turn.ts';
import type { EncodedTurn } from './encode-turn.ts';
import { layoutMedia, mediaTokenCounts } from './layout.ts';
import type { LayoutConfig, LayoutRun, RunKind } from './layout.ts';
import { tmropePositions } from './positions.ts';
import { runLengths } from './run-lengths.ts';
import type { Tokenizer } from './tokenizer.ts';
import type { MediaKind, MediaTokens, Prompt, TokenCounts } from './types.ts';

/** What a prompt needs of a ModelConfig. */
export interface PromptConfig extends LayoutConfig {
  readonly tokens: TokenIds;
}

export interface PromptText {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly config: PromptConfig;
  /** undefined = the template's own */
  readonly systemPrompt: string | undefined;
  readonly userText: string;
}

export interface PromptRequest extends PromptText {
  readonly media: MediaTokens;
}

/**
 * The whole prompt: chat text, media placeholders expanded and woven by time, positions.
 * Exact to the reference's processor and get_rope_index (reference-model 5 and 6).
 * Errors: checkpoint_invalid.
 */
export function buildPrompt(request: PromptRequest): Prompt {
  const { config, media, tokenizer } = request;
  const turn = encode(request, media.kind);
  const ids = joinIds(turn, layoutMedia(media, config), config.tokens);
  const parts = [
    { kind: 'text', length: turn.before.length },
    { kind: 'media', media },
    { kind: 'text', length: turn.after.length },
  ] as const;
  const { positions, ropeDelta } = tmropePositions(parts, config);
  return {
    ids,
    positions,
    ropeDelta,
    counts: countTurn(turn, media, config),
    chatText: turn.chatText,
    runLengths: runLengths(ids, config.tokens, tokenizer.idOf('<|im_start|>')),
  };
}

/** Tokens of the prompt that buildPrompt would give; the media need only be planned, not decoded. */
export function countPrompt(request: PromptRequest): TokenCounts {
  return countTurn(encode(request, request.media.kind), request.media, request.config);
}

/** Tokens of the chat text alone: everything but the media and the boundary tokens around them. */
export function countTextTokens(request: PromptText & { readonly media: MediaKind }): number {
  const turn = encode(request, request.media);
  return turn.before.length + turn.after.length;
}

/**
 * Refuses a prompt that leaves no room for the answer, in a sentence that says what to lower. Costs nothing, so ask before decoding.
 * @param maxTokens most tokens that will be generated
 * @param contextLength most tokens of prompt and answer together
 * Errors: context_length_exceeded.
 */
export function checkBudget(counts: TokenCounts, maxTokens: number, contextLength: number): void {
  const needed = counts.total + maxTokens;
  if (needed <= contextLength) return;
  throw new AvocadoError(
    'context_length_exceeded',
    `The prompt has ${amount(counts.total)} tokens (${kinds(counts)}) and the answer may take ${amount(maxTokens)}: ` +
      `${amount(needed)} together, ${amount(needed - contextLength)} over the limit of ${amount(contextLength)}. ` +
      advice(counts, contextLength),
  );
}

function amount(tokens: number): string {
  return tokens.toLocaleString('en-US');
}

function kinds(counts: TokenCounts): string {
  return (['video', 'image', 'audio', 'text'] as const)
    .filter((kind) => counts[kind] > 0)
    .map((kind) => `${amount(counts[kind])} ${kind}`)
    .join(', ');
}

function advice(counts: TokenCounts, contextLength: number): string {
  if (counts.text >= contextLength) return 'Shorten the prompt.';
  if (counts.video > 0)
    return 'Lower fps, max pixels or total pixels, take a shorter clip, or ask for fewer new tokens.';
  if (counts.image > 0) return 'Lower max pixels, or ask for fewer new tokens.';
  return 'Take a shorter clip, or ask for fewer new tokens.';
}

function encode(request: PromptText, media: MediaKind): EncodedTurn {
  const { tokenizer, template, config, systemPrompt, userText } = request;
  return encodeTurn(tokenizer, template, config.tokens, { systemPrompt, userText, media });
}

function countTurn(turn: EncodedTurn, media: MediaTokens, config: LayoutConfig): TokenCounts {
  const { video, image, audio, boundaries } = mediaTokenCounts(media, config);
  const text = turn.before.length + turn.after.length + boundaries;
  return { text, video, image, audio, total: text + video + image + audio };
}

function joinIds(turn: EncodedTurn, runs: readonly LayoutRun[], tokens: TokenIds): Int32Array {
  const mediaLength = runs.reduce((sum, run) => sum + run.count, 0);
  const ids = new Int32Array(turn.before.length + mediaLength + turn.after.length);
  ids.set(turn.before);
  let index = turn.before.length;
  for (const run of runs) {
    ids.fill(idOfRun(run.kind, tokens), index, index + run.count);
    index += run.count;
  }
  ids.set(turn.after, index);
  return ids;
}

function idOfRun(kind: RunKind, tokens: TokenIds): number {
  switch (kind) {
    case 'vision-start':
      return tokens.visionStart;
    case 'vision-end':
      return tokens.visionEnd;
    case 'audio-start':
      return tokens.audioStart;
    case 'audio-end':
      return tokens.audioEnd;
    case 'video':
      return tokens.video;
    case 'image':
      return tokens.image;
    case 'audio':
      return tokens.audio;
    default:
      return kind satisfies never;
  }
}
