// A curated set as the files that trainers read: exactly their row shapes.
import { CAPTION_PROMPTS } from '../evaluate/benchmark.ts';
import { QWEN_SYSTEM_PROMPT } from '../../settings/presets.ts';
import type { Decision } from './pipeline.ts';

export const EXPORTS = ['own', 'ms-swift', 'llama-factory', 'trl', 'verl'] as const;
export type ExportName = (typeof EXPORTS)[number];

/** File name → its text in pieces: the set of the paper, 107,000 samples, is longer than a string may be. */
export type ExportFiles = Readonly<Record<string, Iterable<string>>>;

export function* lines(rows: readonly unknown[]): Generator<string> {
  for (const row of rows) yield `${JSON.stringify(row)}\n`;
}

function* jsonArray(rows: readonly unknown[]): Generator<string> {
  yield '[';
  for (const [index, row] of rows.entries()) yield `${index === 0 ? '' : ','}${JSON.stringify(row)}`;
  yield ']\n';
}

function promptOf({ sample }: Decision): string {
  return sample.prompt ?? CAPTION_PROMPTS.both;
}

function isForGrpo({ keypoints }: Decision): boolean {
  return keypoints !== undefined;
}

function ownRow(decision: Decision): object {
  const { sample, visual, audio, caption, words, preserved, completeness, keypoints, dialogues } = decision;
  return {
    sample_id: sample.id,
    source: sample.source,
    video: sample.video,
    duration: sample.seconds ?? null,
    visual_caption: visual,
    audio_caption: audio,
    caption,
    completeness,
    prompt: promptOf(decision),
    keypoints,
    dialogues,
    stats: { words, preserved: preserved?.sentences, preserved_quotes: preserved?.quotes },
  };
}

/** The sound comes from the video itself (USE_AUDIO_IN_VIDEO=1), so there is no list of sounds. */
function swift(kept: readonly Decision[]): ExportFiles {
  const turns = (decision: Decision) => [
    { role: 'system', content: QWEN_SYSTEM_PROMPT },
    { role: 'user', content: `<video>${promptOf(decision)}` },
  ];
  const sft = kept.map((one) => ({
    messages: [...turns(one), { role: 'assistant', content: one.caption }],
    videos: [one.sample.video],
  }));
  const grpo = kept.filter(isForGrpo).map((one) => ({
    messages: turns(one),
    videos: [one.sample.video],
    sample_id: one.sample.id,
    video_path: one.sample.video,
    solution: one.caption,
    keypoints: one.keypoints,
    dialogues: one.dialogues,
  }));
  return { 'ms-swift-sft.jsonl': lines(sft), 'ms-swift-grpo.jsonl': lines(grpo) };
}

/** With use_audio_in_video every video has its sound beside it, directly after it. */
function llamaFactory(kept: readonly Decision[]): ExportFiles {
  const rows = kept.map((one) => ({
    messages: [
      { role: 'user', content: `<video><audio>${promptOf(one)}` },
      { role: 'assistant', content: one.caption },
    ],
    videos: [one.sample.video],
    audios: [one.sample.video],
  }));
  const info = {
    avocado_sft: {
      file_name: 'llama-factory.json',
      formatting: 'sharegpt',
      columns: { messages: 'messages', videos: 'videos', audios: 'audios' },
      tags: {
        role_tag: 'role',
        content_tag: 'content',
        user_tag: 'user',
        assistant_tag: 'assistant',
        system_tag: 'system',
      },
    },
  };
  return {
    'llama-factory.json': jsonArray(rows),
    'dataset_info.json': [`${JSON.stringify(info, null, 2)}\n`],
  };
}

function trl(kept: readonly Decision[]): ExportFiles {
  const rows = kept.map((one) => ({
    messages: [
      {
        role: 'user',
        content: [
          { type: 'video', video: one.sample.video },
          { type: 'text', text: promptOf(one) },
        ],
      },
      { role: 'assistant', content: [{ type: 'text', text: one.caption }] },
    ],
  }));
  return { 'trl-sft.jsonl': lines(rows) };
}

/** JSON lines of what a row of its parquet file holds; the ground truth is one text. */
function verl(kept: readonly Decision[]): ExportFiles {
  const rows = kept.filter(isForGrpo).map((one, index) => ({
    data_source: `avocado/${one.sample.source}`,
    prompt: [
      { role: 'system', content: QWEN_SYSTEM_PROMPT },
      { role: 'user', content: `<video>${promptOf(one)}` },
    ],
    ability: 'captioning',
    reward_model: {
      style: 'model',
      ground_truth: JSON.stringify({ caption: one.caption, keypoints: one.keypoints, dialogues: one.dialogues }),
    },
    extra_info: { index, split: 'train', sample_id: one.sample.id },
    videos: [{ video: one.sample.video }],
  }));
  return { 'verl-grpo.jsonl': lines(rows) };
}

export function exportFiles(name: ExportName, kept: readonly Decision[]): ExportFiles {
  switch (name) {
    case 'own':
      return { 'captions.jsonl': lines(kept.map(ownRow)) };
    case 'ms-swift':
      return swift(kept);
    case 'llama-factory':
      return llamaFactory(kept);
    case 'trl':
      return trl(kept);
    case 'verl':
      return verl(kept);
    default:
      return name satisfies never;
  }
}
