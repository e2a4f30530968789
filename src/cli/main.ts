// The program itself: real streams and signals, and modules that only the command that needs them imports.
import process from 'node:process';
import { avocadoVariables } from '../base/env.ts';
import { ERRORS } from '../base/errors.ts';
import { run } from './run.ts';
import type { CliEnvironment } from './cli-environment.ts';

const interruption = new AbortController();

/** The first Ctrl-C lets the work end cleanly; the second one ends the process at once. */
function catchInterrupts(): AbortSignal {
  const interrupt = (): void => {
    if (interruption.signal.aborted) process.exit(130);
    interruption.abort();
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  return interruption.signal;
}

// A reader that closes stdout (`| head`) ends the work as Ctrl-C does. So does a full disk, which is a fault.
let stdoutError: NodeJS.ErrnoException | undefined;
process.stdout.on('error', (error) => {
  stdoutError ??= error;
  interruption.abort();
});
process.stderr.on('error', () => undefined);

const environment: CliEnvironment = {
  stdin: () => process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  stdoutIsGone: () => stdoutError !== undefined,
  stderrIsTerminal: process.stderr.isTTY,
  interruption: catchInterrupts,
  variables: avocadoVariables(),
  openCaptioner: async (settings, onProgress) =>
    (await import('../captioner/open-captioner.ts')).openCaptioner(settings, onProgress),
  openEngineProcess: async (options) =>
    (await import('../engine-process/open-engine-process.ts')).openEngineProcess({
      ...options,
      onFault: (sentence) => {
        process.stderr.write(`${sentence}\n`);
      },
    }),
  describeModel: async (settings) => (await import('../captioner/open-captioner.ts')).describeModel(settings),
  inspect: async (request, options, signal) =>
    (await import('../captioner/inspect.ts')).inspect(request, options, signal),
  exportModel: async (checkpoint, precision, out, options) => {
    if (out === undefined)
      return (await (await import('../model/export/export-cache.ts')).ensureExport(checkpoint, precision, options))
        .directory;
    return (await (await import('../model/export/export.ts')).exportModel(checkpoint, precision, out, options))
      .directory;
  },
  migrate: async (databaseUrl) => (await import('../jobs/store/migrations.ts')).migratePostgres(databaseUrl),
  diagnose: async (modelDir) => (await import('./diagnose.ts')).diagnose(modelDir),
};

process.exitCode = await run(process.argv.slice(2), environment);
if (stdoutError !== undefined && stdoutError.code !== 'EPIPE') {
  const reason = stdoutError.code ?? stdoutError.message;
  process.stderr.write(
    `error [storage_full]: Standard output cannot be written (${reason}). Make room and start the command again.\n`,
  );
  process.exitCode = ERRORS.storage_full.exit;
}
