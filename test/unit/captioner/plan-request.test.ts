import { describe, expect, it } from 'vitest';
import { captionRequest } from '../../../src/captioner/caption-options.ts';
import { defaultModelDirectory } from '../../../src/base/package-files.ts';
import { openPlanningModel } from '../../../src/captioner/open-model.ts';
import { checkPositions, planRequest, type PlanningModel } from '../../../src/captioner/plan-request.ts';
import type { Prompt } from '../../../src/prompt/types.ts';
import { examplePath, WIDE } from '../../fixtures/examples.ts';

const MODEL = { config: { text: { maxPositions: 1024 } }, context: 32_768 } as unknown as PlanningModel;

function promptWith(last: number, length = 10): Prompt {
  return {
    ids: new Int32Array(length),
    positions: new Int32Array(3 * length).fill(last),
    ropeDelta: last + 1 - length,
  } as unknown as Prompt;
}

describe('positions of a prompt and its answer', () => {
  it('may reach the last row of the rotary tables, which are never shorter than 32,768', () => {
    expect(() => {
      checkPositions(promptWith(32_667), 100, MODEL);
    }).not.toThrow();
    expect(() => {
      checkPositions(promptWith(32_668), 100, MODEL);
    }).toThrow(expect.objectContaining({ code: 'context_length_exceeded', param: 'processor_fps' }));
  });

  it('are refused where they wrapped around', () => {
    expect(() => {
      checkPositions(promptWith(-5), 1, MODEL);
    }).toThrow(expect.objectContaining({ code: 'context_length_exceeded' }));
  });

  it('count only the answer that the context leaves room for', () => {
    expect(() => {
      checkPositions(promptWith(32_765, 32_766), 2048, MODEL);
    }).not.toThrow();
  });
});

describe('a model that brings prompts of its own', () => {
  it('has no others, and says how many there are', async () => {
    const model = await openPlanningModel({ modelDir: defaultModelDirectory(), context: undefined });
    const own = { ...model, package: { ...model.package, prompts: ['What is seen?', 'What is heard?'] } };
    const plan = (promptId: number) =>
      planRequest(captionRequest(examplePath(WIDE), { prompt_id: promptId }), own, undefined, { enforceBudget: true });
    const usual = await planRequest(captionRequest(examplePath(WIDE), {}), model, undefined, { enforceBudget: true });
    expect((await plan(2)).draft.counts.total).toBeLessThan(usual.draft.counts.total);
    await expect(plan(3)).rejects.toMatchObject({
      code: 'bad_request',
      param: 'prompt_id',
      message: expect.stringContaining('must be 1 to 2 for this model') as string,
    });
  });
});
