import type { Writable } from 'node:stream';

/** Writes and waits until it is out: a slow reader slows us down. A reader that went away is no error here (its stream says so itself). */
export function write(stream: Writable, text: string): Promise<void> {
  return new Promise((resolve) => {
    stream.write(text, () => {
      resolve();
    });
  });
}

export async function warn(stderr: Writable, sentences: readonly string[]): Promise<void> {
  for (const sentence of sentences) await write(stderr, `warning: ${sentence}\n`);
}

export function writeJson(stream: Writable, value: unknown): Promise<void> {
  return write(stream, `${JSON.stringify(value)}\n`);
}
