// What the documents say, checked against the code, as far as a program can.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ERRORS } from '../../src/base/errors.ts';
import { BENCHMARKS } from '../../src/lab/evaluate/benchmarks/all.ts';
import { REWARDS, UNSCORED } from '../../src/lab/rewards/types.ts';
import { ITEM, OPTIONS } from '../../src/lab/rewards/wire.ts';
import { captionBody } from '../../src/server/wire/caption-body.ts';
import { stalePages } from '../docs/make-pages.ts';
import { runCli } from '../fixtures/cli-run.ts';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { serveApp } from '../fixtures/served-app.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const DOCS = '.github/docs';

function filesBelow(folder: string, ending: RegExp): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => ending.test(name) && !/(^|\/)(node_modules|build|golden)\//.test(name))
    .map((name) => join(folder, name));
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** Every document of the project by its path. */
const PAGES = new Map(
  ['README.md', ...['.github', 'src', 'models', 'helm'].flatMap((folder) => filesBelow(folder, /\.md$/))].map(
    (path) => [path, read(path)],
  ),
);

function page(name: string): string {
  return PAGES.get(`${DOCS}/${name}`) ?? '';
}

/** Headings outside of code blocks. */
function headingsOf(text: string): string[] {
  return [...text.replaceAll(/^```[^]*?^```/gm, '').matchAll(/^#+ (.+)$/gm)].map(([, title]) => title ?? '');
}

/** As GitHub makes anchors of headings. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}_\- ]/gu, '')
    .replaceAll(' ', '-');
}

/** The rows of all tables in a text, as cells. */
function rowsOf(text: string): string[][] {
  return [...text.matchAll(/^\| (.+) \|$/gm)].map(([, row]) => (row ?? '').split(' | '));
}

function namesIn(cell = ''): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name ?? '');
}

function sectionOf(text: string, title: string): string {
  const start = text.indexOf(`## ${title}\n`);
  const end = text.indexOf('\n## ', start + 1);
  return start < 0 ? '' : text.slice(start, end < 0 ? undefined : end);
}

describe('generated pages', () => {
  it('are what the code says', async () => {
    expect(await stalePages()).toEqual([]);
  });

  it('tell every error as the table in the code does, and no other', () => {
    const told = rowsOf(page('errors.md')).flatMap(([code, status, exit]) =>
      namesIn(code).map((name) => [name, Number(status), Number(exit)]),
    );
    expect(told).toEqual(Object.entries(ERRORS).map(([code, { status, exit }]) => [code, status, exit]));
  });
});

describe('rewards.md', () => {
  it('tells every reason of a missing reward, as the code does', () => {
    const told = rowsOf(page('rewards.md')).flatMap(([code, meaning]) => namesIn(code).map((name) => [name, meaning]));
    expect(told).toEqual(Object.entries(UNSCORED));
  });

  it('names every reward, every option and every field of an item', () => {
    for (const name of [...REWARDS, ...Object.keys(OPTIONS.properties), ...Object.keys(ITEM.properties)])
      expect(page('rewards.md')).toContain(`\`${name}\``);
  });
});

describe('benchmarks.md', () => {
  it('names every benchmark, and no other', () => {
    const told = rowsOf(sectionOf(page('benchmarks.md'), 'Benchmarks')).flatMap(([names]) => namesIn(names));
    expect(told.sort()).toEqual(BENCHMARKS.map(({ name }) => name).sort());
  });
});

describe('http-api.md', () => {
  it('names every option of a caption, and no other', () => {
    const told = rowsOf(sectionOf(page('http-api.md'), 'Options')).flatMap(([names]) => namesIn(names));
    const form = captionBody({} as never).content['multipart/form-data'] as unknown as { properties: object };
    const options = Object.keys(form.properties).filter((name) => name !== 'file' && name !== 'options');
    expect(told.sort()).toEqual(options.sort());
  });

  it('names every route of the API, and no other', async () => {
    const app = await serveApp(fakeCaptioner());
    try {
      const { paths } = (await (await fetch(`${app.url}/openapi.json`)).json()) as {
        paths: Record<string, Record<string, unknown>>;
      };
      const served = Object.entries(paths).flatMap(([path, methods]) =>
        Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
      );
      const told = namesIn(sectionOf(page('http-api.md'), 'Routes')).filter((name) => /^[A-Z]+ \//.test(name));
      expect(told.filter((route) => !['GET /', 'GET /openapi.json'].includes(route)).sort()).toEqual(served.sort());
    } finally {
      await app.close();
    }
  });
});

describe('architecture.md', () => {
  it('names every room and what it may import, as the import rules do', async () => {
    const rules = (await import(new URL('../../.dependency-cruiser.mjs', import.meta.url).href)) as {
      default: { forbidden: { name: string; to: { pathNot?: string | string[] } }[] };
    };
    const roomOf = (pattern: string): string => pattern.replace('^src/', '').replace(/\/$/, '');
    const allowed = rules.default.forbidden.flatMap(({ name, to: { pathNot = [] } }) => {
      const room = /^imports of (.+)$/.exec(name)?.[1];
      const rooms = [pathNot]
        .flat()
        .map(roomOf)
        .filter((other) => ![room, 'base', 'settings'].includes(other));
      return room === undefined ? [] : [[room, rooms.sort().join(', ')]];
    });
    const told = rowsOf(sectionOf(page('architecture.md'), 'Rooms')).flatMap(([name, , , may = '']) =>
      namesIn(name).map((folder) => [folder.replace('src/', ''), may.trim().split(', ').sort().join(', ')]),
    );
    expect(told.sort()).toEqual(allowed.sort());
  });
});

describe('documents', () => {
  it('link only to files and sections that exist', () => {
    const broken: string[] = [];
    let links = 0;
    for (const [path, text] of PAGES) {
      for (const [, target = ''] of text.matchAll(/\]\((?!https?:|mailto:)([^)]+)\)/g)) {
        links += 1;
        const [file = '', anchor] = target.split('#');
        const to = file === '' ? path : relative(ROOT, join(ROOT, dirname(path), file));
        const anchors = anchor === undefined ? [] : headingsOf(PAGES.get(to) ?? '').map(anchorOf);
        if (!existsSync(join(ROOT, to)) || (anchor !== undefined && !anchors.includes(anchor)))
          broken.push(`${path}: ${target}`);
      }
    }
    expect(broken).toEqual([]);
    expect(links).toBeGreaterThan(50);
  });

  it('use only commands and flags that the program knows', async () => {
    const helps = new Map<string, string>();
    let uses = 0;
    for (const [path, text] of PAGES) {
      const found = text.matchAll(
        /avocado (caption|batch|inspect|export|serve|sample|doctor|reward|evaluate|curate|bench serve)\b([^\n`|#]*)/g,
      );
      for (const [, name = '', rest = ''] of found) {
        uses += 1;
        const help = helps.get(name) ?? (await runCli([...name.split(' '), '--help'])).stdout;
        helps.set(name, help);
        for (const [flag] of rest.matchAll(/--[a-z-]+/g))
          expect(help, `${path}: ${name} ${flag}`).toContain(`${flag} `);
      }
    }
    expect(uses).toBeGreaterThan(20);
  });

  it('name only scripts and files of tests that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    for (const [path, text] of PAGES) {
      for (const [, script = ''] of text.matchAll(/npm run (?:--silent )?([\w:-]+)/g))
        expect(Object.keys(scripts), path).toContain(script);
      for (const [file] of text.matchAll(/\btest\/[\w./-]+\.(?:ts|js)\b/g))
        expect(existsSync(join(ROOT, file)), `${path}: ${file}`).toBe(true);
    }
  });

  it('name only files of the source that exist', () => {
    const missing: string[] = [];
    for (const [path, text] of PAGES) {
      for (const [, file = ''] of text.matchAll(/`((?:src|native|test)\/[\w./-]+)`/g))
        if (!existsSync(join(ROOT, file))) missing.push(`${path}: ${file}`);
    }
    expect(missing).toEqual([]);
  });

  it('have the sections that comments cite', () => {
    const missing: string[] = [];
    for (const path of [
      ...['src', 'test', 'native'].flatMap((folder) => filesBelow(folder, /\.(ts|mjs|js|cc|h)$/)),
      ...filesBelow('models', /\.py$/),
    ]) {
      // A title may go on in the next line of its comment.
      const text = read(path).replaceAll(/\n\s*(?:\*|\/\/|#)?\s*/g, ' ');
      for (const [, name = '', title = ''] of text.matchAll(/\b([a-z-]+\.md), ([A-Z].{0,60})/g)) {
        const headings = headingsOf(page(name));
        if (page(name) !== '' && !headings.some((heading) => title.startsWith(heading)))
          missing.push(`${path}: ${name}, ${title}`);
      }
      for (const [cited] of text.matchAll(
        /\b(?:reference-model(?:\.md)?|(?:onnxruntime|evaluation)\.md) (?:section )?\d+\.\d/g,
      ))
        missing.push(`${path}: ${cited} is a number, cite a title`);
    }
    expect(missing).toEqual([]);
  });
});

describe('README', () => {
  it('is short enough to be read to its end', () => {
    expect(read('README.md').split('\n').length).toBeLessThan(145);
  });
});
