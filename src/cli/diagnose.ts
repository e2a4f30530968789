import process from 'node:process';
import { asAvocadoError } from '../base/errors.ts';
import { ffmpegVersion } from '../media/ffmpeg.ts';
import { describeRuntime, type RuntimeFacts } from '../model/runtime/describe-runtime.ts';
import { openPlanningModel } from '../captioner/open-captioner.ts';
import { engineSettings } from '../settings/engine-settings.ts';

/** One thing the machine has or lacks. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** without it no caption can be made; the others only make it faster */
  readonly needed: boolean;
  readonly value: string;
  /** what to do when it is not there */
  readonly advice?: string | undefined;
}

export interface Diagnosis {
  readonly checks: readonly Check[];
}

const OLDEST_NODE = [20, 19] as const;

function checkNode(): Check {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const ok = major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1]);
  return {
    name: 'node',
    ok,
    needed: true,
    value: process.versions.node,
    advice: `Install Node ${OLDEST_NODE.join('.')} or newer.`,
  };
}

/** For parts whose absence throws an error: its message is the advice. */
async function checkPart(name: string, look: () => Promise<string>): Promise<Check> {
  try {
    return { name, ok: true, needed: true, value: await look() };
  } catch (thrown) {
    return { name, ok: false, needed: true, value: 'missing', advice: asAvocadoError(thrown).message };
  }
}

function runtimeChecks(facts: RuntimeFacts): Check[] {
  const { runtime, addon, onnxruntime, gpus } = facts;
  const library = onnxruntime.version ?? onnxruntime.path;
  return [
    {
      name: 'addon',
      ok: addon.loaded,
      needed: false,
      value: addon.loaded ? addon.path : 'not loaded: slower, through onnxruntime-node',
      advice: addon.loaded ? undefined : addon.reason,
    },
    // On other systems than Linux, onnxruntime-node has a library of another name, and the addon is not built.
    {
      name: 'onnxruntime',
      ok: onnxruntime.problem === undefined,
      needed: process.platform === 'linux',
      value: library ?? 'missing',
      advice: onnxruntime.problem,
    },
    { name: 'runtime', ok: true, needed: true, value: runtime },
    cudaCheck(facts),
    {
      name: 'gpu',
      ok: gpus.length > 0,
      needed: false,
      value: gpus.length > 0 ? gpus.join(', ') : 'no NVIDIA GPU: captions are made on the CPU',
    },
  ];
}

/** Advice only where there is a GPU. */
function cudaCheck({ cuda, gpus }: RuntimeFacts): Check {
  const name = 'cuda libraries';
  if (cuda === undefined) return { name, ok: false, needed: false, value: 'not looked for without onnxruntime' };
  const built = cuda.cudaMajor === undefined ? '' : ` (for CUDA ${cuda.cudaMajor})`;
  const value = cuda.complete ? `${cuda.provider}${built}` : `missing: ${cuda.missing.join(', ')}${built}`;
  return { name, ok: cuda.complete, needed: false, value, advice: gpus.length > 0 ? cuda.advice : undefined };
}

/**
 * Looks at everything a caption needs and everything that would make it faster. Never throws: what is missing is
 * reported in the result.
 */
export async function diagnose(modelDir: string): Promise<Diagnosis> {
  const [ffmpeg, runtime, model] = await Promise.all([
    checkPart('ffmpeg', async () => {
      const { version, soxr } = await ffmpegVersion();
      return soxr ? version : `${version} (without libsoxr: sound is resampled by swr)`;
    }),
    describeRuntime(),
    checkPart(
      'model',
      async () => `${(await openPlanningModel(engineSettings({ modelDir }))).package.name} in ${modelDir}`,
    ),
  ]);
  return { checks: [checkNode(), ffmpeg, ...runtimeChecks(runtime), model] };
}
