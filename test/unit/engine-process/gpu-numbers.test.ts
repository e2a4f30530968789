import { expect, it } from 'vitest';
import { parseGpuLines, watchGpus } from '../../../src/engine-process/gpu-numbers.ts';

it('reads a line for each card, and none of what is no numbers', () => {
  const text = '0, 1024, 81559, 50, 310.5\n3, 2048, 81559, 0, [N/A]\nNo devices were found\n';
  const of = (index: string, mib: number, utilization: number, powerWatts: number | undefined): object => ({
    ...{ index, memoryUsedBytes: mib * 2 ** 20, memoryTotalBytes: 81_559 * 2 ** 20, utilization, powerWatts },
  });
  expect(parseGpuLines(text)).toEqual([of('0', 1024, 0.5, 310.5), of('3', 2048, 0, undefined)]);
});

it('asks for nothing where there is no card', () => {
  expect(watchGpus('cpu,cpu')()).toEqual([]);
});
