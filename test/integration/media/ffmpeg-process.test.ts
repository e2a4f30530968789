import { readdirSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Foreground } from '../../../src/base/foreground.ts';
import { runProcess, type ProcessRun } from '../../../src/media/ffmpeg-process.ts';

/** A run of the shell in place of ffmpeg. */
function shell(script: string, options: Partial<ProcessRun> = {}): ProcessRun {
  return { program: 'sh', args: ['-c', script], timeoutSeconds: 30, timeoutMessage: 'Too slow.', ...options };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Prints its process id, then fills its pipe forever. */
const ENDLESS = 'echo $$; exec yes';

describe('a process', () => {
  test('ends with its exit code, its last lines and the number of its errors', async () => {
    const outcome = await runProcess(shell('echo "[error] bad block" >&2; printf "[warning] odd" >&2; exit 3'));
    expect(outcome).toEqual({ exitCode: 3, errors: 1, log: ['[error] bad block', '[warning] odd'] });
  });

  test.each(['kill -KILL $$', 'kill -HUP $$', 'exit 255'])('that something else ends (%s) is no success', (script) =>
    expect(runProcess(shell(`echo half; ${script}`, { onChunk: () => 'more' }))).rejects.toMatchObject({
      code: 'engine_error',
      message: expect.stringMatching(/^sh was .* from outside/) as string,
    }),
  );

  test('that crashes has one more error', async () => {
    const lines: string[] = [];
    const onLine = (line: string): number => lines.push(line);
    const outcome = await runProcess(shell('ulimit -c 0; kill -SEGV $$', { onLine }));
    expect(outcome).toEqual({ exitCode: null, errors: 1, log: ['[fatal] sh was ended by SIGSEGV'] });
    expect(lines).toEqual(outcome.log);
  });

  test('that ended well before its slow reader is a success, and the reader gets every byte', async () => {
    const runs = Array.from({ length: 4 }, async () => {
      const read: Buffer[] = [];
      let readers = 0;
      const { exitCode } = await runProcess(
        shell('seq 1 50000', {
          onChunk: async (chunk): Promise<'more'> => {
            expect(++readers).toBe(1);
            await setTimeout(40);
            read.push(Buffer.from(chunk)); // its memory is still its own
            readers--;
            return 'more';
          },
        }),
      );
      return [exitCode, Buffer.concat(read).toString()];
    });
    const lines = Array.from({ length: 50_000 }, (_, index) => `${index + 1}\n`).join('');
    for (const [exitCode, text] of await Promise.all(runs)) {
      expect(exitCode).toBe(0);
      expect(text === lines).toBe(true);
    }
  });

  test('gets its inputs at stdin and at further descriptors', async () => {
    let text = '';
    const inputs = [['one ', 'two '], ['three']].map((pieces) => pieces.map((piece) => Buffer.from(piece)));
    const onChunk = (chunk: Uint8Array): 'more' => {
      text += Buffer.from(chunk).toString();
      return 'more';
    };
    await runProcess(shell('cat; cat <&3', { inputs, onChunk }));
    expect(text).toBe('one two three');
  });

  test('does nothing while it is held, and that time is not of its deadline', async () => {
    const foreground = new Foreground();
    const leave = foreground.enter();
    let text = '';
    const onChunk = (chunk: Uint8Array): 'more' => {
      text += Buffer.from(chunk).toString();
      return 'more';
    };
    const run = runProcess(shell('sleep 1; echo done', { onChunk, timeoutSeconds: 2, hold: foreground }));
    try {
      await setTimeout(2500);
      expect(text).toBe('');
    } finally {
      leave();
    }
    expect([(await run).exitCode, text]).toEqual([0, 'done\n']);
  });

  test('may stop reading its input: its exit code says why', async () => {
    const input = [new Uint8Array(1_000_000)];
    expect((await runProcess(shell('exec <&-; exit 5', { inputs: [input] }))).exitCode).toBe(5);
  });

  test('that does not start is ffmpeg_missing', async () => {
    const missing = { code: 'ffmpeg_missing', message: expect.stringContaining('avocado doctor') as string };
    await expect(runProcess({ ...shell(''), program: '/no/such/program' })).rejects.toMatchObject(missing);
  });
});

test.skipIf(process.platform !== 'linux')('no run leaves a file descriptor open, however it ends', async () => {
  const onChunk = (): 'enough' => 'enough';
  const refuse = (): never => {
    throw new RangeError('disk full');
  };
  const runs = async (): Promise<void> => {
    await runProcess(shell('echo one', { onChunk: () => 'more' }));
    await runProcess(shell(ENDLESS, { onChunk }));
    await runProcess(shell(ENDLESS, { onChunk: refuse })).catch(() => undefined);
    await runProcess({ ...shell('', { onChunk }), program: '/no/such/program' }).catch(() => undefined);
    // Node throws here before it starts anything.
    await runProcess({ ...shell('', { onChunk }), program: 'sh\0' }).catch(() => undefined);
  };
  const open = (): number => readdirSync('/proc/self/fd').length;
  await runs();
  await setTimeout(50);
  const before = open();
  for (let round = 0; round < 5; round++) await runs();
  await expect.poll(open, { timeout: 5000 }).toBeLessThanOrEqual(before);
});

describe('a process that is stopped is gone when the promise settles', () => {
  let pid = 0;
  const remember = (chunk: Uint8Array): void => {
    if (pid === 0) pid = Number.parseInt(Buffer.from(chunk).toString(), 10);
  };
  const expectGone = (): void => {
    expect(pid).toBeGreaterThan(0);
    expect(isAlive(pid)).toBe(false);
    pid = 0;
  };

  test('by its reader that has enough: a success', async () => {
    const onChunk = (chunk: Uint8Array): 'enough' => {
      remember(chunk);
      return 'enough';
    };
    expect(await runProcess(shell(ENDLESS, { onChunk }))).toEqual({ exitCode: null, errors: 0, log: [] });
    expectGone();
  });

  test('by an error of its reader: that error', async () => {
    const onChunk = async (chunk: Uint8Array): Promise<'more'> => {
      remember(chunk);
      throw new RangeError('disk full');
    };
    await expect(runProcess(shell(ENDLESS, { onChunk }))).rejects.toThrow(new RangeError('disk full'));
    expectGone();
  });

  test('by its deadline, though its reader never answers: media_timeout', async () => {
    const onChunk = (chunk: Uint8Array): Promise<'more'> => {
      remember(chunk);
      return new Promise(() => undefined);
    };
    const run = runProcess(shell(ENDLESS, { onChunk, timeoutSeconds: 0.5 }));
    await expect(run).rejects.toMatchObject({ code: 'media_timeout', message: 'Too slow.' });
    expectGone();
  });

  test('by its signal: aborted', async () => {
    const controller = new AbortController();
    const onChunk = (chunk: Uint8Array): 'more' => {
      remember(chunk);
      controller.abort();
      return 'more';
    };
    const run = runProcess(shell(ENDLESS, { onChunk, signal: controller.signal }));
    await expect(run).rejects.toMatchObject({ code: 'aborted' });
    expectGone();
  });
});
