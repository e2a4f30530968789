// The file that an engine process runs.
import { setPriority } from 'node:os';
import process from 'node:process';
import { describeModel } from '../captioner/describe-model.ts';
import { openCaptioner } from '../captioner/open-captioner.ts';
import { EngineHost } from './engine-host.ts';
import type { ToEngine } from './messages.ts';

/** After its server has gone, for the runs that are under way. */
const LAST_RUN_MS = 10_000;

/** a third of the weight of a process that asks for nothing */
const ENGINE_NICENESS = 5;

function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

// Before any thread or decoder starts, which inherit it: the model takes all cores it can get, and the server must answer beside it.
setPriority(ENGINE_NICENESS);

const host = new EngineHost({
  describe: describeModel,
  openCaptioner,
  // A server that has gone reads nothing; 'disconnect' follows.
  send: (message) =>
    new Promise((resolve) => {
      if (process.send === undefined || !process.connected) resolve();
      else
        process.send(message, undefined, undefined, () => {
          resolve();
        });
    }),
  exit: (code) => process.exit(code),
  die,
});

process.on('message', (message) => {
  host.take(message as ToEngine);
});
process.on('disconnect', () => {
  setTimeout(die, LAST_RUN_MS);
  void host.close();
});
// Who stops a whole group of processes means the server, which lets requests end before it asks this process to.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
