import { declineOnnxruntimeTelemetry, preferQuantisedProducts } from '../../base/env.ts';
import { AvocadoError } from '../../base/errors.ts';
import { loadNative, nativeStatus } from '../../base/native.ts';
import type { Device } from '../../settings/engine-settings.ts';
import { findCudaLibraries, onnxruntimeLibrary } from './describe-runtime.ts';
import { NativeRuntime } from './native-runtime.ts';
import { openNodeRuntime } from './node-runtime.ts';
import type { Runtime } from './runtime.ts';

interface RuntimeChoice {
  /** undefined: native if its addon is built, otherwise node */
  readonly runtime: Runtime['name'] | undefined;
  readonly device: Device;
}

/**
 * Opens the runtime for all graphs of this process.
 * @throws AvocadoError `runtime_unavailable` when the wanted runtime is missing, `device_unavailable` when CUDA cannot
 * be used; both messages say what to do
 */
export async function openRuntime({ runtime, device }: RuntimeChoice): Promise<Runtime> {
  declineOnnxruntimeTelemetry();
  preferQuantisedProducts();
  const wantsNative =
    runtime === 'native' || (runtime === undefined && (device.type === 'cuda' || loadNative() !== undefined));
  if (wantsNative) return openNative(device);
  if (device.type === 'cuda') {
    const advice = 'Leave out `--runtime node`, or use `--device cpu`.';
    throw new AvocadoError('device_unavailable', `CUDA needs the native runtime. ${advice}`, { param: 'device' });
  }
  return openNodeRuntime();
}

async function openNative(device: Device): Promise<Runtime> {
  const addon = loadNative();
  const status = nativeStatus();
  if (addon === undefined || !status.loaded) {
    const reason = status.loaded ? '' : status.reason;
    const alternative = device.type === 'cuda' ? 'CUDA needs it.' : 'Or use `--runtime node`.';
    throw new AvocadoError('runtime_unavailable', `${reason} ${alternative}`, { param: 'runtime' });
  }
  const library = onnxruntimeLibrary();
  if (device.type === 'cuda') await requireCuda(library);
  return new NativeRuntime(addon, library);
}

async function requireCuda(library: string): Promise<void> {
  const { complete, missing, advice } = await findCudaLibraries(library);
  if (complete) return;
  const lacking = `${missing.join(', ')} not found (for ${library})`;
  throw new AvocadoError('device_unavailable', `CUDA cannot be used: ${lacking}. ${advice}`, { param: 'device' });
}
