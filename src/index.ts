// What `import … from 'avocado-captioner'` gives: the captioner in this process, without a server.
import { AvocadoError } from './base/errors.ts';
import { captionRequest, type CaptionOptions } from './captioner/caption-options.ts';
import { captionEvents, type CaptionerModel, type Estimate } from './captioner/captioner.ts';
import { mergingCaptioner } from './captioner/merging-captioner.ts';
import * as inProcess from './captioner/open-captioner.ts';
import type { OnProgress } from './captioner/open-captioner.ts';
import type { CaptionEvent } from './output/events.ts';
import { ENGINE_TABLE, engineSettings, type EngineSettings, type Precision } from './settings/engine-settings.ts';
import type { PresetName } from './settings/presets.ts';
import type { Setting } from './settings/setting.ts';

export { AvocadoError };
export type { ErrorCode } from './base/errors.ts';
export type { CaptionerModel, CaptionEvent, CaptionOptions, Estimate, Precision };
export type { CaptionEnd, MediaReport, SegmentCaption, TextDelta, Timings, Usage } from './output/events.ts';

/** How to open a model; the settings of `avocado caption` and `avocado serve` by the same names. */
export interface OpenOptions {
  /** a checkpoint or an export; default: the small model that comes with the package */
  readonly model?: string | undefined;
  /** which model of the family it is; default: auto, as its name tells */
  readonly preset?: PresetName | 'auto' | undefined;
  /** default: fp32 on a CPU, bf16 on CUDA */
  readonly precision?: Precision | undefined;
  /** default: cpu */
  readonly device?: 'cpu' | 'cuda' | `cuda:${number}` | undefined;
  /** default: native where its addon is built */
  readonly runtime?: 'native' | 'node' | undefined;
  /** threads of the model; 0, the default, is all cores */
  readonly threads?: number | undefined;
  /** keeps waiting threads busy: faster on an idle machine, slower beside other work */
  readonly spinning?: boolean | undefined;
  /** most tokens of prompt and caption together; default 32,768 */
  readonly context?: number | undefined;
  /** captions made at the same time; default 4 */
  readonly slots?: number | undefined;
  /** slots that keep the beginning of prompts; default: 2 on a CPU, 0 on CUDA */
  readonly prefixSlots?: number | undefined;
  /** memory of the KV cache; default: enough to fill all slots. With less, captions wait until there is memory */
  readonly kvCacheBytes?: number | undefined;
  /** memory for encoded clips; default 256 MiB, 0 = none */
  readonly mediaCacheBytes?: number | undefined;
  /** longest file that is taken, in seconds; default 14,400 */
  readonly maxMediaSeconds?: number | undefined;
  /** where exports of a checkpoint are kept; default: the user's cache directory */
  readonly cacheDir?: string | undefined;
  /** told while the model is exported and loaded, which takes minutes the first time for a large one */
  readonly onProgress?: OnProgress | undefined;
}

export interface OpenedCaptioner {
  readonly model: CaptionerModel;
  /**
   * Captions a video, picture or sound file. Options are the fields of `POST /v1/captions`.
   * @returns events; exactly one ends the caption, last: `caption-end`, `caption-error` or `caption-aborted`. A faulty
   *   file is a `caption-error`. Leaving the loop or aborting `signal` stops the work.
   * @throws AvocadoError `bad_request` or `unknown_field` at once, for options that are wrong
   */
  caption(file: string, options?: CaptionOptions, signal?: AbortSignal): AsyncIterable<CaptionEvent>;
  /** What a caption would cost, from the file's headers alone. @throws AvocadoError for a bad file or bad options */
  estimate(file: string, options?: CaptionOptions, signal?: AbortSignal): Promise<Estimate>;
  /** Aborts what runs and frees the model. */
  close(): Promise<void>;
}

/**
 * Opens a model. The first time it is converted for onnxruntime, which is kept in `cacheDir`.
 * @throws AvocadoError for options that are wrong, a model that cannot be read, or a device that is not there
 */
export async function openCaptioner(options: OpenOptions = {}): Promise<OpenedCaptioner> {
  const { onProgress, ...settings } = options;
  const opened = await inProcess.openCaptioner(checkedSettings(settings), onProgress);
  const captioner = mergingCaptioner(opened, undefined); // refuses a request that wants to be merged
  return {
    model: captioner.model,
    caption: (file, fields = {}, signal) => captionEvents(captioner, captionRequest(file, fields), signal),
    estimate: async (file, fields = {}, signal) => captioner.estimate(captionRequest(file, fields), signal),
    close: () => captioner.close(),
  };
}

/** Callers in JavaScript have no types: every value is checked like one of the command line. */
function checkedSettings({ model, ...others }: Omit<OpenOptions, 'onProgress'>): EngineSettings {
  const rows: Readonly<Record<string, Setting>> = ENGINE_TABLE;
  const given: Record<string, unknown> = { modelDir: model };
  for (const [name, value] of Object.entries(others) as [string, string | number | boolean | undefined][]) {
    const setting = rows[name];
    if (setting === undefined || name === 'modelDir')
      throw new AvocadoError('unknown_field', `openCaptioner has no option ${name}.`, { param: name });
    if (value === undefined) continue;
    given[name] = setting.type.parse(String(value));
    if (given[name] !== undefined) continue;
    const message = `The option ${name} must be ${setting.type.expected}, not ${String(value)}.`;
    throw new AvocadoError(setting.type.errorCode ?? 'bad_request', message, { param: name });
  }
  return engineSettings(given);
}
