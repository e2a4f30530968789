// onnxruntime has no error codes for what a device lacks or does: its CUDA provider and the CUDA runtime tell it in
// words. These are the words, and what they mean for the person who asked.
import { AvocadoError } from '../../base/errors.ts';
import type { Device } from '../../settings/engine-settings.ts';

/** A library or the device is not there. */
const MISSING =
  /Failed to load (shared )?library|no CUDA-capable device|invalid device ordinal|driver version|cuDNN is unavailable|cannot open shared object|execution provider is not enabled in this build/i;

const OUT_OF_MEMORY =
  /out of memory|Failed to allocate memory|ALLOC_FAILED|cudaErrorMemoryAllocation|Available memory of \d+ is smaller/i;

/** After these, every later call of the process fails: CUDA calls them sticky. */
const DEVICE_FAILED =
  /illegal memory access|illegal instruction|misaligned address|device-side assert|unspecified launch failure|launch timed out|uncorrectable ECC|hardware stack error|invalid program counter|devices? unavailable|GPU (is|has) (lost|fallen)|CUDA failure (214|220|46|7(00|02|10|14|15|16|17|18|19))\b/i;

const CUDA_FAILED = /CUDA (failure|error)|CUBLAS failure|CUDNN failure/i;

/** Of a device that is not there: how many are. */
const NO_SUCH_DEVICE = /Invalid device ID: \d+, must be between 0 \(inclusive\) and (\d+) \(exclusive\)/;

const LESS_MEMORY =
  'Lower `--slots`, `--prefix-slots`, `--kv-cache-bytes` or `--context`, or free the memory that other programs hold.';
const DOCTOR = 'Run `avocado doctor` to see what is missing.';

function said(what: string, message: string): string {
  return `${what}: ${message.trim().replace(/\.?$/, '.')}`;
}

/** Why a session could not be made: `device_unavailable`, or `engine_error` for a graph that does not load. */
export function loadError(device: Device, message: string): AvocadoError {
  if (device.type === 'cpu') return new AvocadoError('engine_error', `The graph does not load: ${message}`);
  const name = `CUDA device ${device.index}`;
  if (OUT_OF_MEMORY.test(message)) {
    return new AvocadoError(
      'device_unavailable',
      `${said(`${name} has no room for the model`, message)} ${LESS_MEMORY}`,
    );
  }
  const devices = NO_SUCH_DEVICE.exec(message)?.[1];
  if (devices !== undefined) {
    const shown = `there is no such device; CUDA shows ${devices}, counted from 0`;
    return new AvocadoError('device_unavailable', `${said(`${name} cannot be used`, shown)} ${DOCTOR}`, {
      param: 'device',
    });
  }
  if (MISSING.test(message) || DEVICE_FAILED.test(message) || CUDA_FAILED.test(message)) {
    return new AvocadoError('device_unavailable', `${said(`${name} cannot be used`, message)} ${DOCTOR}`);
  }
  return new AvocadoError('engine_error', `The graph does not load: ${message}`);
}

/** Why the KV cache could not be allocated. */
export function allocationError(device: Device, message: string, cause: unknown): AvocadoError {
  const code = device.type === 'cuda' ? 'device_unavailable' : 'engine_error';
  const advice = OUT_OF_MEMORY.test(message) ? ` ${LESS_MEMORY}` : '';
  return new AvocadoError(code, `No memory for the KV cache: ${message}${advice}`, { cause });
}

/**
 * Why a run failed: `device_unavailable` when no later run can succeed in this process, else `engine_error`, such as a
 * run that found no memory.
 */
export function runError(message: string, what = 'The run failed'): AvocadoError {
  if (DEVICE_FAILED.test(message)) {
    const advice = 'This process cannot use the device until it is started again.';
    return new AvocadoError('device_unavailable', `${said(what, message)} ${advice}`);
  }
  if (MISSING.test(message)) return new AvocadoError('device_unavailable', `${said(what, message)} ${DOCTOR}`);
  if (OUT_OF_MEMORY.test(message)) return new AvocadoError('engine_error', `${said(what, message)} ${LESS_MEMORY}`);
  return new AvocadoError('engine_error', `${what}: ${message}`);
}
