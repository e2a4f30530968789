import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { textLines } from '../../../src/base/text-lines.ts';

it('lines of a stream end at \\n alone, wherever its pieces are cut', async () => {
  const bytes = Buffer.from('a\u2028ü🎈\r\n\n{"b": 2}\rc\nlast');
  for (const size of [1, 2, 3, 100]) {
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
      bytes.subarray(at * size, (at + 1) * size),
    );
    const found: string[] = [];
    for await (const line of textLines(Readable.from(pieces))) found.push(line);
    expect(found).toEqual(['a\u2028ü🎈\r', '', '{"b": 2}\rc', 'last']);
  }
});
