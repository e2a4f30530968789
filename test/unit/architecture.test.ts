// The rules of the house, where a program can check them. A rule that a file breaks is mended there, not here.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { ERRORS } from '../../src/base/errors.ts';

const SRC = fileURLToPath(new URL('../../src/', import.meta.url));
const FILES = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .map((name) => name.replaceAll('\\', '/'))
  .sort();

interface Module {
  readonly file: string;
  readonly text: string;
  readonly tree: ts.SourceFile;
}

const MODULES: readonly Module[] = FILES.filter((file) => file.endsWith('.ts')).map((file) => {
  const text = readFileSync(join(SRC, file), 'utf8');
  return { file, text, tree: ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true) };
});

function visit(node: ts.Node, look: (node: ts.Node) => void): void {
  look(node);
  ts.forEachChild(node, (child) => {
    visit(child, look);
  });
}

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
