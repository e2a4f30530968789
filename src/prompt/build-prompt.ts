import { AvocadoError } from '../base/errors.ts';
import type { TokenIds } from '../model/checkpoint/config-types.ts';
import type { EncodedTurn } from './encode-turn.ts';
import { layoutMedia, mediaTokenCounts, type LayoutConfig, type LayoutRun, type RunKind } from './layout.ts';
import { positionSpan, tmropePositions, type PromptPart } from './positions.ts';
import type { MediaTokens, Prompt, TokenCounts } from './types.ts';

/** What a prompt needs of a ModelConfig. */
export interface PromptConfig extends LayoutConfig {
  readonly tokens: TokenIds;
}

/**
 * The whole prompt: the encoded turn, media placeholders expanded and interleaved by time, positions.
 * Exact to the reference's processor and get_rope_index (reference-model.md, Layout and Positions (TMRoPE)).
 */
export function buildPrompt(turn: EncodedTurn, media: MediaTokens, config: PromptConfig): Prompt {
  const ids = joinIds(turn, layoutMedia(media, config), config.tokens);
  const { positions, ropeDelta } = tmropePositions(partsOf(turn, media), config);
  return { ids, positions, ropeDelta, counts: countTokens(turn, media, config) };
}

/** Token counts of the prompt that buildPrompt would give. Arithmetic only: its cost does not depend on the counts. */
export function countTokens(turn: EncodedTurn, media: MediaTokens, config: LayoutConfig): TokenCounts {
  const { video, image, audio, boundaries } = mediaTokenCounts(media, config);
  const text = turn.before.length + turn.after.length + boundaries;
  return { text, video, image, audio, total: text + video + image + audio };
}

/** Positions that the prompt spans, from 0: its first generated token gets this one. */
export function promptSpan(turn: EncodedTurn, media: MediaTokens, config: LayoutConfig): number {
  return positionSpan(partsOf(turn, media), config);
}

function partsOf(turn: EncodedTurn, media: MediaTokens): PromptPart[] {
  return [
    { kind: 'text', length: turn.before.length },
    { kind: 'media', media },
    { kind: 'text', length: turn.after.length },
  ];
}

/** Prompt ids in readable form, equal neighbours counted together: `im_start*1 text*34 … V*12 A*20 …`. */
export function runLengths(ids: Int32Array, tokens: TokenIds, imStart: number | undefined): string {
  const names = new Map<number | undefined, string>([
    [imStart, 'im_start'],
    [tokens.eos, 'im_end'],
    [tokens.visionStart, 'vision_bos'],
    [tokens.visionEnd, 'vision_eos'],
    [tokens.audioStart, 'audio_bos'],
    [tokens.audioEnd, 'audio_eos'],
    [tokens.video, 'V'],
    [tokens.image, 'I'],
    [tokens.audio, 'A'],
  ]);
  const runs: { name: string; count: number }[] = [];
  for (const id of ids) {
    const name = names.get(id) ?? 'text';
    const last = runs.at(-1);
    if (last?.name === name) last.count += 1;
    else runs.push({ name, count: 1 });
  }
  return runs.map(({ name, count }) => `${name}*${count}`).join(' ');
}

/**
 * Refuses a prompt that leaves no room for the caption, in a sentence that says what to lower.
 * @param maxTokens most tokens that will be generated
 * @param contextLength most tokens of prompt and caption together
 * @throws AvocadoError `context_length_exceeded`, with param `max_tokens` where the prompt alone would fit
 */
export function checkBudget(counts: TokenCounts, maxTokens: number, contextLength: number): void {
  const needed = counts.total + maxTokens;
  if (needed <= contextLength) return;
  throw new AvocadoError(
    'context_length_exceeded',
    `The prompt has ${amount(counts.total)} tokens (${kinds(counts)}) and the answer may take ${amount(maxTokens)}: ` +
      `${amount(needed)} together, ${amount(needed - contextLength)} over the limit of ${amount(contextLength)}. ` +
      advice(counts, contextLength),
    counts.total < contextLength ? { param: 'max_tokens' } : {},
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
