import type { Writable } from 'node:stream';
import type { Captioner } from '../captioner/captioner.ts';
import type { EngineProcess, EngineProcessOptions } from '../engine-process/open-engine-process.ts';
import type { InspectOptions, InspectReport } from '../captioner/inspect.ts';
import type { Precision } from '../model/checkpoint/config-types.ts';
import type { OpenOptions } from '../captioner/open-model.ts';
import type { CaptionRequest } from '../output/events.ts';
import type { Diagnosis } from './diagnosis.ts';

export type OnProgress = (text: string, done: number, total: number) => void;

export interface ExportOptions {
  readonly onProgress: (done: number, total: number) => void;
  readonly signal: AbortSignal;
}

/** Everything the commands reach outside themselves, so that a test hands in its own. */
export interface Wiring {
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** whoever read stdout has gone, as `| head` does */
  readonly stdoutIsGone: () => boolean;
  /** people watch: progress may be drawn */
  readonly stderrIsTerminal: boolean;
  /** aborts on Ctrl-C; asking for it turns the default (die at once) off */
  readonly interruption: () => AbortSignal;
  readonly openCaptioner: (options: OpenOptions) => Promise<Captioner>;
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

/** How a run of the program ends; commands that go on after a failure note the first one here. */
export class Outcome {
  exitCode = 0;

  /** The first failure decides. */
  fail(exitCode: number): void {
    if (this.exitCode === 0) this.exitCode = exitCode;
  }
}
