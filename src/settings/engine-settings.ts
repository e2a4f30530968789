// What decides how a model is opened, and nothing else: plain data, frozen, sent to the engine process as it is.
import type { Precision } from '../model/checkpoint/config-types.ts';
import type { Device } from '../model/runtime/runtime.ts';

export interface EngineSettings {
  readonly modelDir: string;
  /** undefined: fp32 on a CPU, bf16 on CUDA */
  readonly precision: Precision | undefined;
  readonly device: Device;
  readonly runtime: 'native' | 'node' | undefined;
  /** intra-op threads; 0 = the runtime's choice */
  readonly threads: number;
  /** threads that wait for work keep their core busy: faster alone, much slower beside other work */
  readonly spinning: boolean;
  /** sequences that run at the same time */
  readonly slots: number;
  /** slots beside them that keep the start of prompts; each takes the memory of a slot once it is used (on CUDA at once) */
  readonly prefixSlots: number;
  /** most tokens of prompt and caption together */
  readonly context: number;
  /** undefined: the user's cache directory */
  readonly cacheDir: string | undefined;
  /** bytes of encoded media kept for later requests about the same file; 0 = none */
  readonly mediaCacheBytes: number;
}
