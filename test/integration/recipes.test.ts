// The Python of jobs.md: its programs parse, and the one that calls the server does so.
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { serveApp } from '../fixtures/served-app.ts';

const run = promisify(execFile);
const scratch = scratchDirectory();
const PAGE = readFileSync(new URL('../../.github/docs/jobs.md', import.meta.url), 'utf8');
const PROGRAMS = [...PAGE.matchAll(/^```python\n([^]*?)^```$/gm)].map(([, text]) => text ?? '');
const python = await run('python3', ['--version']).then(
  () => true,
  () => false,
);
if (!python) console.log('recipes.test.ts is skipped: there is no python3.');

const ASK = `
frame = add_captions({"media": ["media://m/a.mp4", "media://m/none.mp4"]}, prompt="Why?", max_tokens=9)
print(json.dumps(frame))
`;

describe.skipIf(!python)('recipes for other engines', () => {
  it('parse, and call the server as it wants it', async () => {
    const directory = scratch('media');
    mkdirSync(directory);
    writeFileSync(join(directory, 'a.mp4'), 'a');
    expect(PROGRAMS).toHaveLength(4);
    const parse = 'import ast, sys\nfor text in sys.argv[1:]: ast.parse(text)';
    await run('python3', ['-c', parse, ...PROGRAMS]);
    const captioner = fakeCaptioner();
    const app = await serveApp(captioner, { mediaRoots: [`m=${directory}`] });
    try {
      const environment = { ...process.env, AVOCADO_SERVER: app.url };
      const { stdout } = await run('python3', ['-c', (PROGRAMS[0] ?? '') + ASK], { env: environment });
      expect(JSON.parse(stdout)).toEqual({
        media: ['media://m/a.mp4', 'media://m/none.mp4'],
        caption: ['A red ball rolls.\nMüße 🎈', null],
        error: [null, 'media_not_found'],
      });
      expect(captioner.seen[0]?.request).toMatchObject({ prompt: 'Why?', maxTokens: 9, priority: 'batch' });
    } finally {
      await app.close();
    }
  });
});
