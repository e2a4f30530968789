import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';

/** Where a file is written before it has its name: another one each time, as several may write it at once. */
export function unfinishedName(path: string): string {
  return `${path}.${randomBytes(4).toString('hex')}.part`;
}

/** Writes a file that is never seen half, over one that is there. @throws what the system says */
export async function replaceFile(path: string, texts: Iterable<string>): Promise<void> {
  const unfinished = unfinishedName(path);
  try {
    await pipeline(texts, createWriteStream(unfinished));
    await rename(unfinished, path);
  } catch (thrown) {
    await rm(unfinished, { force: true });
    throw thrown;
  }
}
