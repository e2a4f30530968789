import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FinishedSegments, keepsSegments } from '../../../src/batch/finished-segments.ts';
import { captionRequest } from '../../../src/captioner/caption-options.ts';
import { usageOfNothing } from '../../../src/captioner/segmented-answer.ts';
import type { SegmentCaption } from '../../../src/output/events.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();

function segment(index: number, caption = `Segment ${index}.`): SegmentCaption {
  const [start, end] = [index * 7.1, (index + 1) * 7.1];
  return { index, start, end, caption, finishReason: 'stop', usage: usageOfNothing };
}

test('finished segments of a work are known to the next run, in order, each once, until they are removed', () => {
  const directory = scratch('state/segments');
  const path = join(directory, 'one.jsonl');
  const first = new FinishedSegments(directory, 'one');
  expect(first.known).toEqual([]);
  first.add(segment(0));
  first.add(segment(1));
  first.close();
  first.add(segment(2)); // after the end of its run
  // A crash tore the last line, and another process had told the second one too.
  appendFileSync(path, `${JSON.stringify(segment(1, 'Again.'))}\nno JSON\n${JSON.stringify(segment(2)).slice(0, 30)}`);

  const second = new FinishedSegments(directory, 'one');
  expect(second.known).toEqual([segment(0), segment(1)]);
  second.add(segment(1)); // taken over, and told again
  second.add(segment(2));
  second.close();
  expect(readFileSync(path, 'utf8').match(/Segment 1/g)).toHaveLength(1);
  const third = new FinishedSegments(directory, 'one');
  expect(third.known).toEqual([segment(0), segment(1), segment(2)]);
  third.close();
  const other = new FinishedSegments(directory, 'two');
  expect(other.known).toEqual([]);
  other.close();
  FinishedSegments.remove(directory, 'one');
  FinishedSegments.remove(directory, 'one');
  expect(existsSync(path)).toBe(false);
});

test('segments are kept where their captions make the answer', () => {
  const request = captionRequest('film.mp4', { segments: 'auto' });
  expect(keepsSegments(request)).toBe(true);
  for (const other of [{ segments: undefined }, { samples: 2 }, { topLogprobs: 1 }])
    expect(keepsSegments({ ...request, ...other })).toBe(false);
});
