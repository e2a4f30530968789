import { fileURLToPath } from 'node:url';

/**
 * Where a worker thread or a forked process starts. In dist/ it is plain JavaScript; when this code itself runs as
 * TypeScript (tests, development), it needs tsx to read its file.
 * @param from `import.meta.url` of the caller
 * @param name its file without extension, relative to the caller, such as `./task`
 */
export function workerEntry(from: string, name: string): { filename: string; execArgv: string[] } {
  const isTypeScript = from.endsWith('.ts');
  const filename = fileURLToPath(new URL(`${name}${isTypeScript ? '.ts' : '.js'}`, from));
  return { filename, execArgv: isTypeScript ? ['--import', typeScriptLoader(from)] : [] };
}

// `--import tsx` registers nothing in a thread: tsx leaves that to the main thread, whose
// loaders Node 20 does not share.
function typeScriptLoader(from: string): string {
  const script = `import { register } from 'node:module'; register('tsx/esm', ${JSON.stringify(from)}, { data: true });`;
  return `data:text/javascript,${encodeURIComponent(script)}`;
}
