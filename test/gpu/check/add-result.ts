// npm run gpu:result -- FILE: keeps a report of the check on a card in test/gpu/results and makes the table of
// .github/docs/numbers.md from all that are kept.
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { gpuTables, parseReport } from './report.ts';

export const RESULTS = fileURLToPath(new URL('../results', import.meta.url));
const BEGIN = '<!-- made by `npm run gpu:result`: begin -->';
const END = '<!-- made by `npm run gpu:result`: end -->';

/** The page with the tables of the kept reports between its two marks. @throws Error when the marks are not there */
export function withGpuTables(page: string, folder = RESULTS): string {
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (from < 0 || to < from) throw new Error('The page has no place for the tables of the GPU check.');
  const names = readdirSync(folder).filter((name) => name.endsWith('.json'));
  const reports = names.sort().map((name) => parseReport(readFileSync(join(folder, name), 'utf8')));
  return `${page.slice(0, from)}${BEGIN}\n\n${gpuTables(reports)}\n\n${page.slice(to)}`;
}

/** Copies the report; one of the same card replaces it. @throws Error when it is none, or not of a card */
export function keepReport(path: string, folder = RESULTS): string {
  const report = parseReport(readFileSync(path, 'utf8'));
  if (!/NVIDIA/i.test(report.device)) throw new Error(`This is a report of "${report.device}", not of a card.`);
  mkdirSync(folder, { recursive: true });
  const target = join(folder, `${report.device.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}.json`);
  copyFileSync(path, target);
  return target;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , path] = process.argv;
  const page = fileURLToPath(new URL('../../../.github/docs/numbers.md', import.meta.url));
  if (path !== undefined) console.log(keepReport(path));
  writeFileSync(page, withGpuTables(readFileSync(page, 'utf8')));
}
