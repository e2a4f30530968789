// Files that come with this package, found from src/ as well as from dist/.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const PACKAGE_ROOT = new URL('../../', import.meta.url);

export function packageFile(name: string): string {
  return fileURLToPath(new URL(name, PACKAGE_ROOT));
}

/** The model that comes with the package, so that a first caption needs no flag. */
export function defaultModelDirectory(): string {
  return packageFile('models/avocado-nano');
}

export function packageVersion(): string {
  return (JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { version: string }).version;
}
