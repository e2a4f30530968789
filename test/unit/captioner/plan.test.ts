import { describe, expect, it, vi } from 'vitest';
import { captionRequest } from '../../../src/captioner/caption-options.ts';
import { openPlanningModel } from '../../../src/captioner/open-captioner.ts';
import { checkSpan, estimateOf, planRequest, ProbeCache, type PlanningModel } from '../../../src/captioner/plan.ts';
import { defaultModelDirectory } from '../../../src/base/package-files.ts';
import { examplePath, WIDE } from '../../fixtures/examples.ts';

const MODEL = { config: { text: { maxPositions: 1024 } }, context: 32_768 };

describe('the positions of a prompt and its caption', () => {
  it('may reach the last row of the rotary tables, which are never shorter than 32,768', () => {
    expect(() => {
      checkSpan(32_668, 10, 100, MODEL);
    }).not.toThrow();
    expect(() => {
      checkSpan(32_669, 10, 100, MODEL);
    }).toThrow(expect.objectContaining({ code: 'context_length_exceeded', param: 'processor_fps' }));
  });

  it('count only the caption that the context leaves room for', () => {
    expect(() => {
      checkSpan(32_766, 32_766, 2048, MODEL);
    }).not.toThrow();
  });
});

let opened: Promise<PlanningModel> | undefined;
const probes = new ProbeCache();

async function planningModel(context = 32_768): Promise<PlanningModel> {
  return { ...(await (opened ??= openPlanningModel({ modelDir: defaultModelDirectory(), context: 64 }))), context };
}

describe('a plan', () => {
  it('tells a prompt that does not fit by its refusal, and the estimate says so', async () => {
    const model = await planningModel(256);
    const plan = await planRequest(captionRequest(examplePath(WIDE), {}), model, probes);
    expect(plan.refusal).toMatchObject({ code: 'context_length_exceeded' });
    expect(estimateOf(plan, model.context)).toMatchObject({ fits: false, maxTokens: 0, context: 256 });
    const fitting = await planRequest(captionRequest(examplePath(WIDE), {}), await planningModel(), probes);
    expect(fitting.refusal).toBeUndefined();
    expect(estimateOf(fitting, 32_768)).toMatchObject({ fits: true, promptTokens: { total: 333 } });
  });

  it.each([
    ['bad_request', { processor_min_pixels: 1e8 }], // more pixels than memory should hold
    ['context_length_exceeded', { processor_min_pixels: 3e7 }],
    ['context_length_exceeded', { min_pixels: 3e7, max_pixels: 1e8, processor_max_pixels: 1e8 }],
    ['context_length_exceeded', { min_pixels: 3e7, max_pixels: 1e8, nframes: 2 }], // small again after the second resize
    ['context_length_exceeded', { max_tokens: 2 ** 31 - 1 }],
    ['context_length_exceeded', { min_tokens: 40_000 }],
    ['context_length_exceeded', { processor_fps: 0.0001 }],
    ['bad_request', { stop_token_ids: [2 ** 31 - 1] }],
    ['bad_request', { nframes: 1_000_000 }],
  ])('refuses with %s what fits no context, before anything of that size is built: %j', async (code, options) => {
    const built = vi.spyOn(Array, 'from');
    const request = captionRequest(examplePath(WIDE), options);
    const plan = await planRequest(request, await planningModel(), probes).catch((thrown: unknown) => thrown);
    const refusal = plan instanceof Error ? plan : (plan as { refusal: unknown }).refusal;
    expect(refusal).toMatchObject({ name: 'AvocadoError', code });
    const longest = built.mock.results.map(({ value }) => (value as unknown[] | undefined)?.length ?? 0);
    expect(longest.reduce((most, length) => Math.max(most, length), 0)).toBeLessThan(100_000);
    built.mockRestore();
  });

  it.each([
    ['context_length_exceeded', 'words', 'the cat '.repeat(12_000)],
    ['context_length_exceeded', 'one word without an end', '汉'.repeat(99_000)],
    ['context_length_exceeded', 'characters of two units', '😀'.repeat(49_000)],
    ['bad_request', 'marks that take minutes to put in order', `a${'\u0316\u0301'.repeat(49_000)}`],
  ])('refuses with %s a prompt of %s before all of it is tokenised', async (code, _, prompt) => {
    const model = await planningModel(4096);
    const tokenised: number[] = [];
    const encodePlain = model.tokenizer.encodePlain.bind(model.tokenizer);
    const spy = vi.spyOn(model.tokenizer, 'encodePlain').mockImplementation((text) => {
      tokenised.push(text.length);
      return encodePlain(text);
    });
    const request = captionRequest(examplePath(WIDE), { prompt });
    await expect(planRequest(request, model, probes)).rejects.toMatchObject({ code });
    spy.mockRestore();
    expect(tokenised.reduce((sum, length) => sum + length, 0)).toBeLessThan(prompt.length / 2);
  });

  it('takes a long prompt whose tokens fit', async () => {
    const request = captionRequest(examplePath(WIDE), { prompt: `${' '.repeat(20_000)}x` });
    const plan = await planRequest(request, await planningModel(22_000), probes);
    expect(plan.refusal).toBeUndefined();
  });

  it('raises the usual most tokens to the fewest that are asked for', async () => {
    const plan = async (options: object) =>
      planRequest(captionRequest(examplePath(WIDE), options), await planningModel(), probes);
    expect((await plan({})).maxTokens).toBe(256);
    expect((await plan({ min_tokens: 300 })).maxTokens).toBe(300);
  });
});

describe('a model that brings prompts of its own', () => {
  it('has no others, and says how many there are', async () => {
    const model = await planningModel();
    const own = { ...model, package: { ...model.package, prompts: ['What is seen?', 'What is heard?'] } };
    const plan = (promptId: number) =>
      planRequest(captionRequest(examplePath(WIDE), { prompt_id: promptId }), own, probes);
    const usual = await planRequest(captionRequest(examplePath(WIDE), {}), model, probes);
    expect((await plan(2)).counts.total).toBeLessThan(usual.counts.total);
    await expect(plan(3)).rejects.toMatchObject({
      code: 'bad_request',
      param: 'prompt_id',
      message: expect.stringContaining('must be 1 to 2 for this model') as string,
    });
  });
});
