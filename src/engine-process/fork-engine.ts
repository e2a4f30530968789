import { fork } from 'node:child_process';
import process from 'node:process';
import { workerEntry } from '../base/worker-entry.ts';
import type { FromEngine, ToEngine } from './messages.ts';

/** An engine process as its supervisor sees it. */
export interface EngineChild {
  readonly pid: number | undefined;
  /** Nothing happens when it has gone. */
  send(message: ToEngine): void;
  /** SIGKILL to it and the decoders it started. */
  kill(): void;
  onMessage(listener: (message: FromEngine) => void): void;
  /** Resolves once it has gone and all it said was heard; tells why, as the rest of a sentence about the process. */
  readonly ended: Promise<string>;
}

export type ForkEngine = () => EngineChild;

/** An engine process, or what stands for one where there is no room for it: it has ended before it began. */
export function startEngine(fork: ForkEngine): EngineChild {
  try {
    return fork();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const nothing = (): void => undefined;
    const ended = Promise.resolve(`could not be started (${reason})`);
    return { pid: undefined, send: nothing, kill: nothing, onMessage: nothing, ended };
  }
}

const STDERR = 2;

/**
 * Starts an engine process. It leads a process group of its own: Ctrl-C in a terminal must not reach its decoders,
 * whose captions the server lets end, and a kill must reach them. Whatever it writes goes to this process' stderr
 * directly, so that the last words of a crash are not lost.
 */
export function forkEngine(): EngineChild {
  const { filename, execArgv } = workerEntry(import.meta.url, './engine-entry');
  const child = fork(filename, [String(process.pid)], {
    execArgv,
    serialization: 'advanced',
    detached: true,
    stdio: ['ignore', STDERR, STDERR, 'ipc'],
  });

  const killGroup = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // Nobody of the group is left.
    }
  };
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => {
      if (child.pid === undefined) resolve(`could not be started (${error.message})`);
    });
    // 'exit' may overtake the last messages; 'disconnect' comes after them.
    const disconnected = new Promise((heard) => child.once('disconnect', heard));
    child.once('exit', (code, signal) => {
      killGroup();
      const reason = signal === null ? `ended with exit code ${code ?? 0}` : `was ended by ${signal}`;
      void disconnected.then(() => {
        resolve(reason);
      });
    });
  });

  return {
    pid: child.pid,
    send: (message) => {
      if (child.connected) child.send(message, () => undefined);
    },
    kill: killGroup,
    onMessage: (listener) =>
      child.on('message', (message) => {
        listener(message as FromEngine);
      }),
    ended,
  };
}
