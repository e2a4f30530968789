import { fileURLToPath } from 'node:url';

/** Directory of the package, from src/cli as well as from dist/cli. */
const PACKAGE_ROOT = new URL('../../', import.meta.url);

/** The model that comes with the package: no flag needed for a first caption. */
export function defaultModelDirectory(): string {
  return fileURLToPath(new URL('models/avocado-nano', PACKAGE_ROOT));
}

export function packageFile(name: string): string {
  return fileURLToPath(new URL(name, PACKAGE_ROOT));
}
