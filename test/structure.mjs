// Prints the size of the code's structure: `npm run structure`, or `-- --files` for the names behind the numbers.
// Type imports count. What only one file imports may belong into that file; a loose file is one in src/ itself.
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const SRC = fileURLToPath(new URL('../src/', import.meta.url));
const REQUEST_PATH = ['captioner', 'encoder', 'output', 'engine', 'engine-process', 'admission', 'openai', 'server'];
const IMPORT = /(?:from\s+|import\(\s*|import\s+)'(\.[^']+)'/g;
const GENERATOR = /\basync (function)?\s*\*/g;

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((name) => /\.(ts|mjs|js)$/.test(name))
  .sort();
const text = new Map(files.map((file) => [file, readFileSync(join(SRC, file), 'utf8')]));
const imports = new Map(
  files.map((file) => {
    const named = [...text.get(file).matchAll(IMPORT)].map((match) =>
      relative(SRC, resolve(SRC, dirname(file), match[1])),
    );
    return [file, new Set(named.filter((name) => name !== file && text.has(name)))];
  }),
);
const importers = new Map(files.map((file) => [file, files.filter((other) => imports.get(other).has(file)).length]));

/** The groups of files that reach each other (Tarjan's strongly connected components). */
function findCircles() {
  const order = new Map();
  const lowest = new Map();
  const stack = [];
  const circles = [];
  const enter = (file) => {
    order.set(file, order.size);
    lowest.set(file, order.get(file));
    stack.push(file);
    for (const next of imports.get(file)) {
      if (!order.has(next)) enter(next);
      if (stack.includes(next)) lowest.set(file, Math.min(lowest.get(file), lowest.get(next)));
    }
    if (lowest.get(file) !== order.get(file)) return;
    const circle = stack.splice(stack.indexOf(file));
    if (circle.length > 1) circles.push(circle);
  };
  for (const file of files) if (!order.has(file)) enter(file);
  return circles;
}

const roomOf = (file) => (file.includes('/') ? dirname(file) : '.');
const lines = (file) => text.get(file).split('\n').length - 1;
const single = files.filter((file) => importers.get(file) === 1);
const generators = files.filter((file) => REQUEST_PATH.includes(file.split('/')[0]));
const numbers = {
  files: files.length,
  lines: files.reduce((sum, file) => sum + lines(file), 0),
  'lines of the longest file': Math.max(...files.map(lines)),
  'files with one importer': single.length,
  'loose files': files.filter((file) => roomOf(file) === '.').length,
  'import circles': findCircles().length,
  'async generators on the way of a request': generators.reduce(
    (sum, file) => sum + (text.get(file).match(GENERATOR)?.length ?? 0),
    0,
  ),
};
for (const [name, value] of Object.entries(numbers)) console.log(`${String(value).padStart(6)} ${name}`);

console.log('\n files  one importer  room');
for (const room of new Set(files.map(roomOf))) {
  const inside = files.filter((file) => roomOf(file) === room);
  const one = inside.filter((file) => importers.get(file) === 1).length;
  console.log(`${String(inside.length).padStart(6)}${String(one).padStart(14)}  ${room}`);
}
if (process.argv.includes('--files')) console.log(`\nwith one importer:\n${single.join('\n')}`);
for (const circle of findCircles()) console.log(`\ncircle: ${circle.join(' → ')}`);
