import type { Writable } from 'node:stream';
import type { Captioner } from '../captioner/captioner.ts';
import type { InspectReport, InspectStage } from '../captioner/inspect.ts';
import type { EngineProcess } from '../engine-process/open-engine-process.ts';
import type { CaptionRequest } from '../output/events.ts';
import type { EngineSettings, Precision } from '../settings/engine-settings.ts';
import type { Diagnosis } from './diagnose.ts';

/** `done` of `total`; `text` says of what */
export type OnProgress = (text: string, done: number, total: number) => void;

interface EngineProcessOptions {
  readonly settings: EngineSettings;
  /** work without progress for so long counts as a hang */
  readonly stallMs: number;
  readonly onProgress: OnProgress;
}

interface InspectOptions {
  readonly settings: EngineSettings;
  readonly stage: InspectStage;
  /** safetensors file to write, undefined = none */
  readonly dump: string | undefined;
  readonly onProgress: OnProgress;
}

interface ExportOptions {
  readonly onProgress: (done: number, total: number) => void;
  readonly signal: AbortSignal;
}

/** Everything the commands use of the process and of the rest of the program; tests pass their own. */
export interface CliEnvironment {
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
  readonly inspect: (request: CaptionRequest, options: InspectOptions, signal: AbortSignal) => Promise<InspectReport>;
  /** `out` undefined = the cache. @returns the directory that holds the export */
  readonly exportModel: (
    checkpoint: string,
    precision: Precision,
    out: string | undefined,
    options: ExportOptions,
  ) => Promise<string>;
  readonly diagnose: (modelDir: string) => Promise<Diagnosis>;
}

/** The exit code of the program. Commands that continue after a failure record it here. */
export class ExitStatus {
  exitCode = 0;

  /** The first failure decides. */
  fail(exitCode: number): void {
    if (this.exitCode === 0) this.exitCode = exitCode;
  }
}
