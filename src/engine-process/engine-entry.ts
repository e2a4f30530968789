// The file that an engine process runs.
import { setPriority } from 'node:os';
import process from 'node:process';
import { openCaptioner } from '../captioner/open-captioner.ts';
import { EngineServer } from './engine-server.ts';
import type { ToEngine } from './messages.ts';

/** For the runs in progress after the server has gone. */
const LAST_RUN_MS = 10_000;

/** a third of the weight of a process with the default niceness */
const ENGINE_NICENESS = 5;

function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

// Set before any thread or decoder starts, since they inherit it: the model uses every core, and the
// server must stay responsive.
setPriority(ENGINE_NICENESS);

const server = new EngineServer({
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

function onDisconnect(): void {
  setTimeout(die, LAST_RUN_MS);
  void server.close();
}

process.on('message', (message) => {
  server.take(message as ToEngine);
});
process.on('disconnect', onDisconnect);
if (!process.connected) onDisconnect(); // the server ended while this file was loading
// A signal to the whole process group is meant for the server, which lets requests end before it closes this process.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
