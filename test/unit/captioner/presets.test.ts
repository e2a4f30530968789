import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { captionRequest } from '../../../src/captioner/caption-options.ts';
import { openPlanningModel } from '../../../src/captioner/open-captioner.ts';
import { planRequest, ProbeCache, promptOf, type PlanningModel } from '../../../src/captioner/plan.ts';
import type { MediaProbe } from '../../../src/media/types.ts';
import { runLengths } from '../../../src/prompt/build-prompt.ts';
import { PRESET_NAMES, PRESETS, recognisePreset, type PresetName } from '../../../src/settings/presets.ts';
import { golden } from '../../fixtures/golden.ts';

interface Clip {
  readonly width: number;
  readonly height: number;
  readonly frames: number;
  readonly fps: number;
  readonly seconds: number;
}

interface Case {
  readonly frames: number;
  readonly size: readonly [number, number];
  readonly grid: readonly number[];
  readonly chat_text: string;
  readonly length: number;
  readonly run_lengths: string;
  readonly input_ids_sha256: string;
  readonly position_ids_sha256: string;
  readonly rope_delta: number;
}

const FIXTURE = new URL('../../fixtures/presets/presets.json', import.meta.url);
const { clips, cases } = JSON.parse(readFileSync(fileURLToPath(FIXTURE), 'utf8')) as {
  readonly clips: Readonly<Record<string, Clip>>;
  readonly cases: Readonly<Record<string, Case>>;
};
const sha256 = (values: Int32Array): string => createHash('sha256').update(values).digest('hex');

const modelOf = (preset: PresetName): Promise<PlanningModel> =>
  openPlanningModel({ modelDir: golden('checkpoints/tiny-a'), context: 200_000, preset });

function probesOf({ width, height, frames, fps, seconds }: Clip): ProbeCache {
  const probe: MediaProbe = {
    path: fileURLToPath(FIXTURE),
    container: 'mp4',
    sizeBytes: 1,
    durationSeconds: seconds,
    video: {
      ...{ index: 0, codec: 'h264', pixelFormat: 'yuv420p', rotation: 0, still: false },
      ...{ storedWidth: width, storedHeight: height, width, height },
      ...{ averageFps: fps, totalFrames: frames, durationSeconds: seconds },
    },
    audio: { index: 1, codec: 'aac', sampleRate: 48_000, channels: 2, durationSeconds: seconds },
  };
  return new ProbeCache(() => Promise.resolve(probe));
}

describe('each preset', () => {
  it('has its reference numbers', () => {
    expect(Object.keys(cases).sort()).toEqual(
      PRESET_NAMES.flatMap((preset) => Object.keys(clips).map((clip) => `${preset} ${clip}`)).sort(),
    );
  });

  it.each(Object.entries(cases))('gives the prompt of its repository’s script: %s', async (name, expected) => {
    const [preset = '', clip = ''] = name.split(' ');
    const model = await modelOf(preset as PresetName);
    const request = captionRequest(fileURLToPath(FIXTURE), {});
    const plan = await planRequest(request, model, probesOf(clips[clip]!));
    const { video, audio } = plan.media;
    expect([video?.frameIndices.length, video?.stageA]).toEqual([
      expected.frames,
      { height: expected.size[0], width: expected.size[1] },
    ]);
    expect(video?.gridThw).toEqual(expected.grid);
    const { systemPrompt, textFirst, prompts } = model.package;
    const turn = { systemPrompt: systemPrompt ?? undefined, userText: prompts[0]!, media: 'video' as const, textFirst };
    expect(
      model.template
        .render(turn)
        .map(({ text }) => text)
        .join(''),
    ).toBe(expected.chat_text);
    const facts = { plan: plan.media, audio: { tokens: audio!.estimatedTokens, samples: 0 }, warnings: [] };
    const prompt = promptOf(plan, facts, model);
    const { tokens } = model.config;
    expect(runLengths(prompt.ids, tokens, model.tokenizer.idOf('<|im_start|>'))).toBe(expected.run_lengths);
    expect([prompt.ids.length, prompt.ropeDelta]).toEqual([expected.length, expected.rope_delta]);
    expect(sha256(prompt.ids)).toBe(expected.input_ids_sha256);
    expect(sha256(prompt.positions)).toBe(expected.position_ids_sha256);
  });

  it.each(PRESET_NAMES)('has texts that the chat template keeps as they are: %s', async (preset) => {
    const { package: defaults, template } = await modelOf(preset);
    const { systemPrompt, prompts, textFirst } = defaults;
    for (const userText of prompts) {
      const turn = { systemPrompt: systemPrompt ?? undefined, userText, media: 'video' as const, textFirst };
      const text = template.render(turn).map((segment) => segment.text);
      expect(text.join('')).toContain(textFirst ? `${userText}<|vision_bos|>` : `<|vision_eos|>${userText}`);
    }
  });
});

describe('what a request leaves open', () => {
  const plan = async (preset: PresetName, options: object) =>
    planRequest(captionRequest(fileURLToPath(FIXTURE), options), await modelOf(preset), probesOf(clips['hd-12s']!));

  it('is the preset’s, and what it says counts', async () => {
    expect(await plan('asid', {})).toMatchObject({ maxTokens: 4096, sampling: { repetitionPenalty: 1.1 } });
    expect(await plan('asid', { repetition_penalty: 1, max_tokens: 5 })).toMatchObject({
      maxTokens: 5,
      sampling: { repetitionPenalty: 1 },
    });
    expect(await plan('timechat', {})).toMatchObject({ maxTokens: 8192, output: 'timed-scenes' });
    expect((await plan('timechat', {})).profileLabel).toBe('timechat@1');
    expect((await plan('timechat', { profile: 'capricorn-eval' })).profileLabel).toBe('capricorn-eval@1');
    await expect(plan('asid', { prompt_id: 16 })).rejects.toMatchObject({ param: 'prompt_id' });
  });

  it('has a system prompt of its own where the request brings one', async () => {
    const [without, own] = [
      await plan('timechat', {}),
      await plan('timechat', { system_prompt: 'Be very brief now.' }),
    ];
    expect(own.turn.before).not.toEqual(without.turn.before);
  });
});

describe('capricorn-eval', () => {
  it('has at most 200 frames of 256 merged patches', async () => {
    const clip = { width: 1920, height: 1080, frames: 7500, fps: 25, seconds: 300 };
    const request = captionRequest(fileURLToPath(FIXTURE), { profile: 'capricorn-eval' });
    const { media } = await planRequest(request, await modelOf('avocado'), probesOf(clip));
    const [steps, height, width] = media.video!.gridThw;
    expect(media.video!.frameIndices).toHaveLength(200);
    expect(steps).toBe(100);
    expect((height * width) / 4).toBeLessThanOrEqual(256);
    expect((height * width) / 4).toBeGreaterThan(225);
  });
});

describe('a name', () => {
  it.each<[string, PresetName | undefined]>([
    ['AVoCaDO-Captioner/AVoCaDO', 'avocado'],
    ['DiaDem-Captioner/DiaDem', 'diadem'],
    ['DiaDem-7B', 'diadem'],
    ['yaolily/TimeChat-Captioner-GRPO-7B', 'timechat'],
    ['AudioVisual-Caption/ASID-Captioner-3B', 'asid'],
    ['openinterx/UGC-VideoCaptioner', 'ugc'],
    ['NJU-LINK/AVSCap-7B', 'avscap'],
    ['Qwen/Qwen2.5-Omni-7B', undefined],
    ['AVSCapBench', undefined],
    ['my-DiaDem', undefined],
    ['', undefined],
  ])('%s tells the preset %s', (name, preset) => {
    expect(recognisePreset([name])).toBe(preset);
  });

  it('that tells none leaves it to the next', () => {
    expect(recognisePreset(['checkpoint-42', 'DiaDem', 'AVSCap'])).toBe('diadem');
    expect(Object.keys(PRESETS)).toHaveLength(6);
  });
});
