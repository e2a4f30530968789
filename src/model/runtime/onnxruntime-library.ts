import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { nonEmptyVariable } from '../../base/env.ts';
import { AvocadoError } from '../../base/errors.ts';

/**
 * Absolute path of the libonnxruntime that the native runtime loads: the one that onnxruntime-node ships, or the one named
 * by AVOCADO_ONNXRUNTIME (the library file), such as a CUDA build with its provider libraries beside it.
 * @throws AvocadoError `runtime_unavailable`
 */
export function onnxruntimeLibrary(): string {
  const override = nonEmptyVariable('AVOCADO_ONNXRUNTIME');
  const path = override ?? shippedLibrary();
  if (existsSync(path)) return path;
  const correct = 'Set AVOCADO_ONNXRUNTIME to the path of libonnxruntime.so.1, or unset it.';
  const advice = path === override ? correct : 'Install it again with `npm ci`.';
  throw new AvocadoError('runtime_unavailable', `There is no onnxruntime library at ${path}. ${advice}`);
}

function shippedLibrary(): string {
  // dist/index.js → the package's root; the file's name holds for Linux, the only system the addon is built on.
  const root = join(dirname(createRequire(import.meta.url).resolve('onnxruntime-node')), '..');
  return join(root, 'bin', 'napi-v6', 'linux', process.arch, 'libonnxruntime.so.1');
}
