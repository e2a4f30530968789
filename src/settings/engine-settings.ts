// What decides how a model is opened: plain data, frozen, sent to the engine process as it is.
import { defaultModelDirectory } from '../base/package-files.ts';
import { PRESET_NAMES } from './presets.ts';
import {
  boolean,
  choice,
  integer,
  text,
  withDefaults,
  type GivenValues,
  type SettingTable,
  type SettingType,
  type SettingValues,
} from './setting.ts';

export const PRECISIONS = ['fp32', 'int8', 'int4', 'bf16', 'fp16'] as const;
export type Precision = (typeof PRECISIONS)[number];
/** Precisions of weights only: they are written anew when a checkpoint is exported, differently for each device. */
export type QuantisedPrecision = 'int8' | 'int4';

/** How much onnxruntime itself writes to stderr; its levels are 4, 3, 2, 1 and 0. */
export const RUNTIME_LOGS = ['silent', 'error', 'warning', 'info', 'verbose'] as const;
export type RuntimeLog = (typeof RUNTIME_LOGS)[number];

export type Device = { readonly type: 'cpu' } | { readonly type: 'cuda'; readonly index: number };

function parseDevice(given: string): Device | undefined {
  if (given === 'cpu') return { type: 'cpu' };
  const match = /^cuda(?::(\d{1,3}))?$/.exec(given);
  return match === null ? undefined : { type: 'cuda', index: Number(match[1] ?? 0) };
}

export function deviceNames(devices: readonly Device[]): string {
  return devices.map((device) => (device.type === 'cpu' ? 'cpu' : `cuda:${device.index}`)).join(',');
}

/** One kind only: precisions and captions of two kinds differ. A GPU once: it has memory for one model. */
const devices: SettingType<readonly Device[]> = {
  expected: 'cpu, cuda or cuda:N, or several such as cuda:0,cuda:1',
  json: 'string',
  parse: (given) => {
    const named = given.split(',').map((name) => parseDevice(name.trim()));
    const known = named.filter((device) => device !== undefined);
    const kinds = new Set(known.map(({ type }) => type));
    const cards = known.flatMap((device) => (device.type === 'cuda' ? [device.index] : []));
    const isRight = known.length === named.length && kinds.size === 1 && new Set(cards).size === cards.length;
    return isRight ? known : undefined;
  },
  format: deviceNames,
};

const MIB = 1024 ** 2;

/** Four hours: a long film, or a morning of a meeting. */
export const MAX_MEDIA_SECONDS = 14_400;

export const ENGINE_TABLE = {
  modelDir: {
    group: 'model',
    flag: 'model',
    metavar: 'dir',
    type: text,
    default: defaultModelDirectory(),
    defaultText: 'avocado-nano, which comes with the package',
    help: 'checkpoint or export directory',
  },
  preset: {
    group: 'model',
    flag: 'preset',
    metavar: 'name',
    type: choice(['auto', ...PRESET_NAMES]),
    default: 'auto',
    help: `prompts, limits and output of a model of the family: auto, as its name tells, or ${PRESET_NAMES.join(', ')}`,
  },
  precision: {
    group: 'model',
    flag: 'precision',
    metavar: 'name',
    type: choice(PRECISIONS, 'precision_unsupported'),
    default: undefined,
    defaultText: 'fp32 on a CPU, bf16 on CUDA',
    help: 'fp32, int8, int4, bf16 or fp16',
  },
  device: {
    group: 'model',
    flag: 'device',
    metavar: 'name',
    type: devices,
    default: [{ type: 'cpu' }],
    help: 'cpu or cuda[:N]; several such as cuda:0,cuda:1: an engine process on each',
  },
  runtime: {
    group: 'model',
    flag: 'runtime',
    metavar: 'name',
    type: choice(['native', 'node']),
    default: undefined,
    defaultText: 'native where its addon is built',
    help: 'native or node',
  },
  threads: {
    group: 'model',
    flag: 'threads',
    metavar: 'n',
    type: integer(0, 1024),
    default: 0,
    help: 'threads of the model, 0 = all cores, fewer for the decoder of a small model',
  },
  spinning: {
    group: 'model',
    flag: 'spinning',
    type: boolean,
    default: false,
    help: 'keep waiting threads busy for longer than 20 microseconds: slower beside other work',
  },
  runtimeLog: {
    group: 'model',
    flag: 'runtime-log',
    metavar: 'level',
    type: choice(RUNTIME_LOGS),
    default: 'silent', // errors become exceptions: its log would only repeat them
    help: 'what onnxruntime itself writes to stderr: silent, error, warning, info or verbose',
  },
  context: {
    group: 'model',
    flag: 'context',
    metavar: 'tokens',
    type: integer(64),
    default: 32_768, // the budget of the AVoCaDO paper
    help: 'most tokens of prompt and caption together',
  },
  cacheDir: {
    group: 'model',
    flag: 'cache-dir',
    metavar: 'dir',
    type: text,
    default: undefined,
    defaultText: 'avocado-captioner in the user’s cache directory',
    help: 'where exports of a checkpoint are kept',
    variable: 'AVOCADO_CACHE',
  },
  slots: {
    group: 'engine',
    flag: 'slots',
    metavar: 'n',
    type: integer(1, 256),
    default: 4, // on a CPU, room in the KV cache costs nothing until it is used
    help: 'captions made at the same time',
  },
  prefixSlots: {
    group: 'engine',
    flag: 'prefix-slots',
    metavar: 'n',
    type: integer(0, 256),
    default: undefined,
    defaultText: '2 on a CPU, 0 on CUDA',
    help: 'slots that keep the beginning of prompts, for later requests about the same clip',
  },
  kvCacheBytes: {
    group: 'engine',
    flag: 'kv-cache-bytes',
    metavar: 'n',
    type: integer(1),
    default: undefined,
    defaultText: 'enough to fill all slots',
    help: 'memory of the KV cache; with less than all slots need, a caption starts when there is memory for it',
  },
  decodeTimeoutSeconds: {
    group: 'engine',
    flag: 'decode-timeout',
    metavar: 's',
    type: integer(1, 86_400),
    default: 300,
    help: 'longest decoding of one file, in seconds; an hour of video may need more',
  },
  maxMediaSeconds: {
    group: 'engine',
    flag: 'max-media-seconds',
    metavar: 's',
    type: integer(1, 1_000_000),
    default: MAX_MEDIA_SECONDS,
    help: 'longest file that is taken, in seconds',
  },
  mediaCacheBytes: {
    group: 'engine',
    flag: 'media-cache-bytes',
    metavar: 'n',
    type: integer(0),
    default: 256 * MIB,
    help: 'memory for encoded clips, for later requests about the same clip; 0 = none',
  },
} as const satisfies SettingTable;

type EngineValues = SettingValues<typeof ENGINE_TABLE>;

export interface EngineSettings extends Omit<EngineValues, 'prefixSlots'> {
  /**
   * slots beside the others that keep the start of prompts; each takes the memory of a slot once used, on CUDA at once
   */
  readonly prefixSlots: number;
}

const PREFIX_SLOTS = { cpu: 2, cuda: 0 };

/** Checked values, or some of them, with the defaults for the rest; frozen. */
export function engineSettings(given: GivenValues<typeof ENGINE_TABLE> = {}): EngineSettings {
  const values = withDefaults(ENGINE_TABLE, given);
  const prefixSlots =
    values.prefixSlots ?? PREFIX_SLOTS[values.device.some(({ type }) => type === 'cuda') ? 'cuda' : 'cpu'];
  return Object.freeze({ ...values, device: Object.freeze(values.device), prefixSlots });
}
