import { describe, expect, it } from 'vitest';
import { checkPositions, type PlanningModel } from '../../src/plan-request.ts';
import type { Prompt } from '../../src/prompt/types.ts';

const MODEL = { config: { text: { maxPositions: 1024 } }, context: 32_768 } as unknown as PlanningModel;

function promptWith(last: number, length = 10): Prompt {
  return { ids: new Int32Array(length), positions: new Int32Array(3 * length).fill(last), ropeDelta: last + 1 - length } as unknown as Prompt;
}

describe('positions of a prompt and its answer', () => {
  it('may reach the last row of the rotary tables, which are never shorter than 32,768', () => {
    expect(() => { checkPositions(promptWith(32_667), 100, MODEL); }).not.toThrow();
    expect(() => { checkPositions(promptWith(32_668), 100, MODEL); }).toThrow(expect.objectContaining({ code: 'context_length_exceeded', param: 'processor_fps' }));
  });

  it('are refused where they wrapped around', () => {
    expect(() => { checkPositions(promptWith(-5), 1, MODEL); }).toThrow(expect.objectContaining({ code: 'context_length_exceeded' }));
  });

  it('count only the answer that the context leaves room for', () => {
    expect(() => { checkPositions(promptWith(32_765, 32_766), 2048, MODEL); }).not.toThrow();
  });
});
