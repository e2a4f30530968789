// The file that an engine process runs, with the id of its server's process. First it is made sure that it ends with
// its server; then all else is loaded, which takes a while.
import { getPriority, setPriority } from 'node:os';
import process from 'node:process';
import { loadNative } from '../base/native.ts';
import type { EngineServer } from './engine-server.ts';
import type { ToEngine } from './messages.ts';

/** a third of the weight of a process with the default niceness; a server that was started with more keeps it */
const ENGINE_NICENESS = 5;
/** Where there is no addon: how often the parent is looked for. */
const LOOK_MS = 1000;

const serverPid = Number(process.argv[2]);

/** The decoders are in this process' group. */
function dieWithServer(): void {
  try {
    process.kill(-process.pid, 'SIGKILL');
  } catch {
    die();
  }
}

function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

// Nobody is left to read what runs. The kernel's signal comes even while this thread is busy.
loadNative()?.dieWithParent(serverPid);
process.on('disconnect', dieWithServer);
setInterval(() => {
  if (process.ppid !== serverPid) dieWithServer();
}, LOOK_MS).unref();
if (!process.connected || process.ppid !== serverPid) dieWithServer();
// A signal to the whole process group is meant for the server, which lets requests end before it closes this process.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

const server = serve();
process.on('message', (message) => {
  void server.then((ready) => {
    ready.take(message as ToEngine);
  });
});

async function serve(): Promise<EngineServer> {
  // Set before any thread or decoder starts, since they inherit it: the model uses every core, and the
  // server must stay responsive.
  setPriority(Math.max(ENGINE_NICENESS, getPriority()));
  const [{ openCaptioner }, { EngineServer }] = await Promise.all([
    import('../captioner/open-captioner.ts'),
    import('./engine-server.ts'),
  ]);
  return new EngineServer({
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
}
