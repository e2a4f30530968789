// The provider on the stub, for tests that start a process with both.
import { join } from 'node:path';
import process from 'node:process';
import { nativeStatus } from '../../../src/base/native.ts';
import { cachedProvider } from '../provider.ts';
import { buildStub, type Stub } from './build-stub.ts';

export interface Prepared {
  readonly provider: string;
  readonly stub: Stub;
}

/** The provider and the stub, or why there is none. */
export function prepare(): Prepared | string {
  if (!nativeStatus().loaded) return 'The native addon is not built.';
  const provider = cachedProvider();
  if (provider === undefined) return 'The CUDA provider is not in .gpu: `npm run test:gpu` fetches it.';
  try {
    return { provider, stub: buildStub(provider) };
  } catch (error) {
    return `The stub does not compile: ${(error as Error).message.split('\n')[0] ?? ''}`;
  }
}

/** The environment of a process on the stub, which writes to `log`. */
export function stubEnvironment({ provider, stub }: Prepared, log: string): NodeJS.ProcessEnv {
  return {
    ...process.env,
    AVOCADO_ONNXRUNTIME: join(provider, 'libonnxruntime.so.1'),
    LD_LIBRARY_PATH: `${stub.cuda}:${stub.cudnn}`,
    CUDA_STUB_LOG: log,
  };
}
