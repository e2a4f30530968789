import type { Readable, Writable } from 'node:stream';
import type { Captioner, CaptionerModel } from '../captioner/captioner.ts';
import type { InspectOptions, InspectReport } from '../captioner/inspect.ts';
import type { OnProgress } from '../captioner/open-captioner.ts';
import type { EngineProcess, EngineProcessOptions } from '../engine-process/open-engine-process.ts';
import type { Migration } from '../jobs/store/migrations.ts';
import type { CaptionRequest } from '../output/events.ts';
import type { Device, EngineSettings, Precision } from '../settings/engine-settings.ts';
import type { Diagnosis } from './diagnose.ts';

interface ExportOptions {
  readonly device: Device['type'];
  readonly onProgress: (done: number, total: number) => void;
  readonly signal: AbortSignal;
}

/** Everything the commands use of the process and of the rest of the program; tests pass their own. */
export interface CliEnvironment {
  /** called only when a command reads it */
  readonly stdin: () => Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** the reader of stdout has closed it, as `| head` does */
  readonly stdoutIsGone: () => boolean;
  /** progress may be drawn */
  readonly stderrIsTerminal: boolean;
  /** aborts on Ctrl-C; the first call turns off the default, which is to end at once */
  readonly interruption: () => AbortSignal;
  /** AVOCADO_* variables of the process */
  readonly variables: Readonly<Record<string, string>>;
  readonly openCaptioner: (settings: EngineSettings, onProgress: OnProgress) => Promise<Captioner>;
  /** resolves when the model is known; its `ready()` when it is loaded */
  readonly openEngineProcess: (options: EngineProcessOptions) => Promise<EngineProcess>;
  /** what a model is, from its small files */
  readonly describeModel: (settings: EngineSettings) => Promise<CaptionerModel>;
  readonly inspect: (request: CaptionRequest, options: InspectOptions, signal: AbortSignal) => Promise<InspectReport>;
  /** `out` undefined = the cache. @returns the directory that holds the export */
  readonly exportModel: (
    checkpoint: string,
    precision: Precision,
    out: string | undefined,
    options: ExportOptions,
  ) => Promise<string>;
  /** makes and changes the tables of jobs in a PostgreSQL */
  readonly migrate: (databaseUrl: string) => Promise<Migration>;
  readonly diagnose: (modelDir: string) => Promise<Diagnosis>;
}

/** The exit code of the program. Commands that continue after a failure record it here. */
export class ExitStatus {
  exitCode = 0;

  /** Of several files, the first failure decides. */
  fail(exitCode: number): void {
    if (this.exitCode === 0) this.exitCode = exitCode;
  }

  /** What stops the whole command decides over what failed before. */
  stop(exitCode: number): void {
    this.exitCode = exitCode;
  }
}
