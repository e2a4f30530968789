import { describe, expect, it } from 'vitest';
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

async function planningModel(context = 32_768): Promise<PlanningModel> {
  return openPlanningModel({ modelDir: defaultModelDirectory(), context });
}

describe('a plan', () => {
  it('tells a prompt that does not fit by its refusal, and the estimate says so', async () => {
    const model = await planningModel(256);
    const plan = await planRequest(captionRequest(examplePath(WIDE), {}), model, new ProbeCache());
    expect(plan.refusal).toMatchObject({ code: 'context_length_exceeded' });
    expect(estimateOf(plan, model.context)).toMatchObject({ fits: false, maxTokens: 0, context: 256 });
    const fitting = await planRequest(captionRequest(examplePath(WIDE), {}), await planningModel(), new ProbeCache());
    expect(fitting.refusal).toBeUndefined();
    expect(estimateOf(fitting, 32_768)).toMatchObject({ fits: true, promptTokens: { total: 333 } });
  });

  it('counts a size far beyond the context without building anything of that size', async () => {
    const model = await planningModel();
    const request = captionRequest(examplePath(WIDE), { processor_min_pixels: 1e11 });
    const plan = await planRequest(request, model, new ProbeCache()).catch((thrown: unknown) => thrown);
    const refusal = plan instanceof Error ? plan : (plan as { refusal: unknown }).refusal;
    expect(refusal).toMatchObject({ name: 'AvocadoError' });
  });
});

describe('a model that brings prompts of its own', () => {
  it('has no others, and says how many there are', async () => {
    const model = await planningModel();
    const own = { ...model, package: { ...model.package, prompts: ['What is seen?', 'What is heard?'] } };
    const plan = (promptId: number) =>
      planRequest(captionRequest(examplePath(WIDE), { prompt_id: promptId }), own, new ProbeCache());
    const usual = await planRequest(captionRequest(examplePath(WIDE), {}), model, new ProbeCache());
    expect((await plan(2)).counts.total).toBeLessThan(usual.counts.total);
    await expect(plan(3)).rejects.toMatchObject({
      code: 'bad_request',
      param: 'prompt_id',
      message: expect.stringContaining('must be 1 to 2 for this model') as string,
    });
  });
});
