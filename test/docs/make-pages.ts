// Writes the pages of .github/docs that come from tables in the code: npx tsx test/docs/make-pages.ts
// With --check it writes nothing and exits with 1 when a page is not what the code says;
// test/unit/docs.test.ts does the same.
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import process from 'node:process';
import { chartReadme, chartSchema } from './chart-pages.ts';
import { errorsPage } from './errors-page.ts';
import { metricsPage } from './metrics-page.ts';
import { settingsPage } from './settings-page.ts';

/** Where the pages are. */
export const DOCS = fileURLToPath(new URL('../../.github/docs/', import.meta.url));

/** Generated pages by their path from there. To add one: a function that returns its whole text. */
export const PAGES: Readonly<Record<string, () => string>> = {
  '../../helm/avocado/README.md': chartReadme,
  '../../helm/avocado/values.schema.json': chartSchema,
  'errors.md': errorsPage,
  'metrics.md': metricsPage,
  'settings.md': settingsPage,
};

/** Names of the pages whose file differs from what the code says. */
export async function stalePages(): Promise<string[]> {
  const stale = await Promise.all(
    Object.entries(PAGES).map(async ([name, render]) => {
      const text = await readFile(`${DOCS}${name}`, 'utf8').catch(() => '');
      return text === render() ? [] : [name];
    }),
  );
  return stale.flat();
}

async function main(): Promise<void> {
  if (!process.argv.includes('--check')) {
    for (const [name, render] of Object.entries(PAGES)) await writeFile(`${DOCS}${name}`, render());
    return;
  }
  const stale = await stalePages();
  if (stale.length === 0) return;
  console.error(`${stale.join(', ')} differ from the code: run npx tsx test/docs/make-pages.ts`);
  process.exitCode = 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
