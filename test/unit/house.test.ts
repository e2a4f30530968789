// The rules of the house, where a program can check them. A rule that a file breaks is mended there, not here.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { ERRORS } from '../../src/errors.ts';

const SRC = fileURLToPath(new URL('../../src/', import.meta.url));
const FILES = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .map((name) => name.replaceAll('\\', '/'))
  .sort();

/** From left to right: a stage knows only what lies left of it, and of that only the types. */
const STAGES = ['media', 'features', 'prompt', 'engine', 'stream'];
/** What every folder may import. */
const COMMON: ReadonlySet<string> = new Set([
  'check-value.ts',
  'errors.ts',
  'native.ts',
  'random.ts',
  'similarity.ts',
  'worker-entry.ts',
]);
/** Boxes around the story, and the other boxes whose values each may import ('' = the files of src/ itself). Types may come from anywhere but the doors. */
const AROUND: Readonly<Record<string, readonly string[]>> = {
  'engine-process': ['', 'stream'],
  intake: [],
  serving: ['stream'],
  openai: ['', 'stream'],
  load: [],
  rewards: ['world'],
  world: ['media'],
};
/** These start an HTTP door; otherwise the doors know each other as little as anyone knows them. */
const SERVER_STARTERS = ['cli/reward-command.ts', 'cli/serve-command.ts'];

interface Module {
  readonly file: string;
  readonly text: string;
  readonly tree: ts.SourceFile;
}

const MODULES: readonly Module[] = FILES.filter((file) => file.endsWith('.ts')).map((file) => {
  const text = readFileSync(join(SRC, file), 'utf8');
  return { file, text, tree: ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true) };
});

interface Import {
  readonly from: string;
  /** a package's name, or the imported file relative to src/ */
  readonly to: string;
  readonly typeOnly: boolean;
}

function visit(node: ts.Node, look: (node: ts.Node) => void): void {
  look(node);
  ts.forEachChild(node, (child) => {
    visit(child, look);
  });
}

function target(from: string, specifier: string): string {
  return specifier.startsWith('.') ? posix.join(posix.dirname(from), specifier) : specifier;
}

/** Static and dynamic imports, re-exports and `import('…')` types. An import with any value in it counts as one of values. */
function importsOf({ file, tree }: Module): Import[] {
  const found: Import[] = [];
  const add = (specifier: ts.Node | undefined, typeOnly: boolean): void => {
    if (specifier !== undefined && ts.isStringLiteralLike(specifier))
      found.push({ from: file, to: target(file, specifier.text), typeOnly });
  };
  visit(tree, (node) => {
    if (ts.isImportDeclaration(node))
      add(node.moduleSpecifier, node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword);
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly);
    else if (ts.isImportTypeNode(node))
      add(ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined, true);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      add(node.arguments[0], false);
  });
  return found;
}

const IMPORTS = MODULES.flatMap(importsOf);

/** The first folder of a path, '' for files of src/ itself. */
function folder(file: string): string {
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : '';
}

const inside = IMPORTS.filter(({ to }) => to.endsWith('.ts'));
const told = ({ from, to, typeOnly }: Import): string => `${from} → ${to}${typeOnly ? ' (types)' : ''}`;

describe('imports', () => {
  it('are found: this test is not blind', () => {
    expect(MODULES.length).toBeGreaterThan(100);
    expect(inside.length).toBeGreaterThan(300);
    expect(inside.map(told)).toEqual(
      expect.arrayContaining([
        'caption.ts → generate.ts',
        'caption.ts → stream/events.ts (types)',
        'cli/main.ts → open-captioner.ts',
        'features/types.ts → media/types.ts (types)',
      ]),
    );
  });

  it('of a stage reach its own folder, what is common, and the types of the stages left of it and of model', () => {
    const broken = inside.filter(({ from, to, typeOnly }) => {
      const stage = STAGES.indexOf(folder(from));
      if (stage === -1 || folder(to) === folder(from) || COMMON.has(to)) return false;
      const left = STAGES.slice(0, stage).includes(folder(to)) || folder(to) === 'model';
      return !(left && typeOnly);
    });
    expect(broken.map(told)).toEqual([]);
  });

  it('of model reach its own folder and what is common: it lies below every stage', () => {
    const broken = inside.filter(
      ({ from, to }) => folder(from) === 'model' && folder(to) !== 'model' && !COMMON.has(to),
    );
    expect(broken.map(told)).toEqual([]);
  });

  it('of the boxes around the story reach what each may, and nothing of the doors', () => {
    const broken = inside.filter(({ from, to, typeOnly }) => {
      const allowed = AROUND[folder(from)];
      if (allowed === undefined || folder(to) === folder(from) || COMMON.has(to)) return false;
      return ['server', 'cli'].includes(folder(to)) || !(typeOnly || allowed.includes(folder(to)));
    });
    expect(Object.keys(AROUND).filter((name) => !FILES.includes(name))).toEqual([]);
    expect(broken.map(told)).toEqual([]);
  });

  it('of the story never reach a box around it', () => {
    expect(inside.filter(({ from, to }) => folder(from) === '' && folder(to) in AROUND).map(told)).toEqual([]);
  });

  it('of what is common reach only what is common', () => {
    expect(inside.filter(({ from, to }) => COMMON.has(from) && !COMMON.has(to)).map(told)).toEqual([]);
  });

  it('never reach into the command line or the HTTP door, but for the commands that serve', () => {
    const broken = inside.filter(
      ({ from, to }) =>
        ['cli', 'server'].includes(folder(to)) &&
        folder(from) !== folder(to) &&
        !(SERVER_STARTERS.includes(from) && folder(to) === 'server'),
    );
    expect(broken.map(told)).toEqual([]);
  });

  it('go one way between files too: no circle of values', () => {
    const values = new Map<string, string[]>();
    for (const { from, to, typeOnly } of inside) if (!typeOnly) values.set(from, [...(values.get(from) ?? []), to]);
    const done = new Set<string>();
    const circles: string[] = [];
    const walk = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' → '));
      if (path.includes(file) || done.has(file)) return;
      for (const next of values.get(file) ?? []) walk(next, [...path, file]);
      done.add(file);
    };
    for (const { file } of MODULES) walk(file, []);
    expect(circles).toEqual([]);
  });

  it('by name, as worker threads and processes start, stay in their folder, but for the task that joins media to features', () => {
    const started = MODULES.flatMap(({ file, text }) =>
      [...text.matchAll(/'(\.\.?\/[\w/-]+)'/g)].map(([, name = '']) => `${file} → ${target(file, name)}`),
    );
    expect(started.sort()).toEqual([
      'engine-process/fork-engine.ts → engine-process/engine-entry',
      'features/pool.ts → features/patch-task',
      'features/pool.ts → prepare-task',
      'model/node-runtime-thread.ts → model/node-runtime-worker',
      'model/quantise-checkpoint.ts → model/quantise-slab',
    ]);
  });
});

describe('each thing outside is reached through one file', () => {
  it.each([
    ['onnxruntime-node', ['model/node-runtime-worker.ts']],
    ['fluent-ffmpeg', ['media/ffmpeg.ts']],
    ['sharp', ['media/decode-still.ts', 'media/probe-still.ts']],
    ['@huggingface/tokenizers', ['prompt/tokenizer.ts']],
    ['@huggingface/jinja', ['prompt/chat-template.ts']],
    ['fastify', ['server/app.ts', 'server/rewards/app.ts']],
    // The engine process, decoding, its version, ldconfig, nvidia-smi.
    [
      'node:child_process',
      [
        'engine-process/fork-engine.ts',
        'media/ffmpeg-version.ts',
        'media/ffmpeg.ts',
        'model/cuda-libraries.ts',
        'model/describe-runtime.ts',
      ],
    ],
  ])('%s', (name, files) => {
    const values = IMPORTS.filter(({ to, typeOnly }) => !typeOnly && (to === name || to.startsWith(`${name}/`))).map(
      ({ from }) => from,
    );
    expect([...new Set(values)].sort()).toEqual(files);
  });

  it('the native addon', () => {
    const loaders = MODULES.filter(({ text }) => /avocado\.node|process\.dlopen/.test(text)).map(({ file }) => file);
    expect(loaders).toEqual(['native.ts']);
  });
});

describe('files', () => {
  const lines = FILES.filter((file) => /\.(ts|mjs|html)$/.test(file)).map(
    (file) => [file, readFileSync(join(SRC, file), 'utf8').split('\n').length - 1] as const,
  );

  it('have at most 400 lines, and half of them at most 90', () => {
    expect(lines.filter(([, count]) => count > 400)).toEqual([]);
    const counts = lines.map(([, count]) => count).sort((a, b) => a - b);
    expect(counts[Math.floor(counts.length / 2)]).toBeLessThanOrEqual(90);
  });

  it('have kebab-case names that say what is in them', () => {
    const names = FILES.map((file) => file.split('/').at(-1)!);
    expect(names.filter((name) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z]+)?$/.test(name))).toEqual([]);
    expect(names.filter((name) => /^index\.|util|helper|manager|service|common|misc/.test(name))).toEqual([]);
  });

  it('open with at most six lines about themselves', () => {
    const heads = MODULES.map(
      ({ file, text }) => [file, /^(\/\/[^\n]*\n)*/.exec(text)![0].split('\n').length - 1] as const,
    );
    expect(heads.filter(([, count]) => count > 6)).toEqual([]);
  });
});

interface Literal {
  readonly file: string;
  readonly node: ts.StringLiteralLike;
}

const LITERALS: readonly Literal[] = MODULES.flatMap(({ file, tree }) => {
  const found: Literal[] = [];
  visit(tree, (node) => {
    if (ts.isStringLiteralLike(node)) found.push({ file, node });
  });
  return found;
});

/** Asking for a code is no use of it. */
function isComparison({ parent }: ts.Node): boolean {
  if (ts.isCaseClause(parent)) return true;
  return ts.isBinaryExpression(parent) && ['===', '!=='].includes(parent.operatorToken.getText());
}

describe('errors', () => {
  it('have no code beside the table', () => {
    const isThrown = ({ node, node: { parent } }: Literal): boolean =>
      ts.isNewExpression(parent) && parent.expression.getText() === 'AvocadoError' && parent.arguments?.[0] === node;
    const thrown = LITERALS.filter(isThrown);
    expect(thrown.length).toBeGreaterThan(100);
    expect(
      thrown.filter(({ node }) => !(node.text in ERRORS)).map(({ file, node }) => `${file}: ${node.text}`),
    ).toEqual([]);
  });

  it('of the table are all used', () => {
    const used = new Set(LITERALS.filter(({ node }) => !isComparison(node)).map(({ node }) => node.text));
    expect(Object.keys(ERRORS).filter((code) => !used.has(code))).toEqual([]);
  });

  it('that are no AvocadoError are bugs, and say so', () => {
    const silent: string[] = [];
    for (const { file, tree } of MODULES) {
      visit(tree, (node) => {
        if (
          !ts.isThrowStatement(node) ||
          !ts.isNewExpression(node.expression) ||
          node.expression.expression.getText() !== 'Error'
        )
          return;
        if (!node.getText().includes('This is a bug.')) silent.push(`${file}: ${node.getText()}`);
      });
    }
    expect(silent).toEqual([]);
  });
});

describe('what is tested', () => {
  it('lies in folders that mirror src/', () => {
    const tests = readdirSync(dirname(fileURLToPath(import.meta.url)), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
    expect(tests.filter((name) => !FILES.includes(name))).toEqual([]);
  });
});
