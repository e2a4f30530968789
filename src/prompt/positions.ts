// Where each token sits in time, height and width (TMRoPE, reference-model 6.1). Pure; literal to the reference.
import { chunkEnds, forEachChunk, hasSound, mediaTokenCounts, positionsPerChunk } from './layout.ts';
import type { LayoutConfig } from './layout.ts';
import { PositionWriter, VisualGrid } from './position-writer.ts';
import type { MediaTokens } from './types.ts';

/** A prompt as the positions see it: stretches of text, and media items with their boundary tokens. */
export type PromptPart =
  { readonly kind: 'text'; readonly length: number } | { readonly kind: 'media'; readonly media: MediaTokens };

/**
 * Positions of a whole prompt.
 * @returns positions [3, length] t, h, w; ropeDelta = 1 + highest position - length
 */
export function tmropePositions(
  parts: readonly PromptPart[],
  config: LayoutConfig,
): { positions: Int32Array; ropeDelta: number } {
  const length = parts.reduce((sum, part) => sum + lengthOf(part, config), 0);
  const writer = new PositionWriter(length);
  for (const part of parts) {
    if (part.kind === 'text') writer.text(part.length);
    else writeMedia(writer, part.media, config);
  }
  return writer.finish();
}

function lengthOf(part: PromptPart, config: LayoutConfig): number {
  if (part.kind === 'text') return part.length;
  const { video, image, audio, boundaries } = mediaTokenCounts(part.media, config);
  return video + image + audio + boundaries;
}

function writeMedia(writer: PositionWriter, media: MediaTokens, config: LayoutConfig): void {
  switch (media.kind) {
    case 'audio':
      writer.text(media.audioTokens + 2);
      return;
    case 'image':
      writer.text(1);
      writer.visual(new VisualGrid(media.gridThw, 0, config), writer.next);
      writer.text(1);
      return;
    case 'video': {
      const grid = new VisualGrid(media.gridThw, media.secondPerGrid, config);
      writer.text(1);
      if (hasSound(media)) writeInterleaved(writer, grid, media.audioTokens, positionsPerChunk(config));
      else {
        writer.visual(grid, writer.next);
        writer.text(1);
      }
      return;
    }
    default:
      media satisfies never;
  }
}

/**
 * From audio start to vision end. Both start tokens share a position. So do both end tokens: the one after the last chunk, even
 * where an earlier position is higher.
 */
function writeInterleaved(writer: PositionWriter, grid: VisualGrid, audioTokens: number, chunk: number): void {
  writer.repeatLast();
  const base = writer.next;
  const videoEnds = chunkEnds(grid.tokens, (token) => grid.time(token), chunk);
  const audioEnds = chunkEnds(audioTokens, (token) => token, chunk);
  forEachChunk(videoEnds, audioEnds, (kind, from, to) => {
    if (kind === 'video') writer.visual(grid, base, from, to);
    else writer.sequence(base + from, to - from);
  });
  writer.text(1);
  writer.repeatLast();
}
