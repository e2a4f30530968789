import type { Readable } from 'node:stream';

/**
 * The lines of a stream, without their `\n`; of any length. Not by node:readline, which from Node 24 on takes U+2028
 * and U+2029 inside a text of JSON for ends of a line.
 */
export async function* textLines(input: Readable): AsyncGenerator<string> {
  let held: string[] = [];
  for await (const chunk of input.setEncoding('utf8') as AsyncIterable<string>) {
    const [rest = '', ...begun] = chunk.split('\n');
    held.push(rest);
    for (const next of begun) {
      yield held.join('');
      held = [next];
    }
  }
  const last = held.join('');
  if (last !== '') yield last;
}
