// Checkpoints and media of the golden set as the prompt stage wants them. Reads config.json by itself, so that
// only src/prompt is judged.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PromptConfig } from '../../../src/prompt/build-prompt.ts';
import type { MediaTokens } from '../../../src/prompt/types.ts';
import { golden, goldenJson } from '../../fixtures/golden.ts';

export function goldenCheckpoint(name: string): string {
  return golden(`checkpoints/${name}`);
}

interface ConfigJson {
  readonly thinker_config: Record<string, number> & { readonly vision_config: { readonly spatial_merge_size: number } };
}

export function goldenPromptConfig(name: string): PromptConfig {
  const { thinker_config: thinker } = JSON.parse(
    readFileSync(join(goldenCheckpoint(name), 'config.json'), 'utf8'),
  ) as ConfigJson;
  const id = (key: string): number => thinker[key]!;
  return {
    tokens: {
      audio: id('audio_token_index'),
      audioStart: id('audio_start_token_id'),
      audioEnd: id('audio_end_token_id'),
      image: id('image_token_index'),
      video: id('video_token_index'),
      visionStart: id('vision_start_token_id'),
      visionEnd: id('vision_end_token_id'),
      eos: id('eos_token_id'),
      pad: id('pad_token_id'),
    },
    vision: { mergeSize: thinker.vision_config.spatial_merge_size },
    positionIdPerSeconds: id('position_id_per_seconds'),
    secondsPerChunk: id('seconds_per_chunk'),
  };
}

interface InputJson {
  readonly mode: 'av' | 'video' | 'audio' | 'image';
  readonly video_grid_thw?: [number, number, number];
  readonly image_grid_thw?: [number, number, number];
  readonly second_per_grid?: number;
  readonly audio_tokens?: number;
}

export function goldenMedia(input: string): MediaTokens {
  const json = goldenJson<InputJson>(`inputs/${input}.json`);
  switch (json.mode) {
    case 'av':
      return {
        kind: 'video',
        gridThw: json.video_grid_thw!,
        secondPerGrid: json.second_per_grid!,
        audioTokens: json.audio_tokens!,
      };
    case 'video':
      return {
        kind: 'video',
        gridThw: json.video_grid_thw!,
        secondPerGrid: json.second_per_grid!,
        audioTokens: undefined,
      };
    case 'audio':
      return { kind: 'audio', audioTokens: json.audio_tokens! };
    case 'image':
      return { kind: 'image', gridThw: json.image_grid_thw! };
    default:
      return json.mode satisfies never;
  }
}
