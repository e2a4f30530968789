// The package as another project has it: packed, unpacked, imported by its name, and checked by TypeScript.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { examplePath, WIDE } from '../fixtures/examples.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const CLIP = examplePath(WIDE);

const { dependencies, version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly version: string;
};
const scratch = scratchDirectory();
const project = scratch('project');
const installed = join(project, 'node_modules/avocado-captioner');

function run(command: string, args: readonly string[], cwd = project): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${String(status)}: ${stdout}${stderr}`);
  return stdout;
}

/** A package of ours, as it lies here, for the project. */
function link(name: string): void {
  const path = join(project, 'node_modules', name);
  mkdirSync(dirname(path), { recursive: true });
  symlinkSync(realpathSync(join(ROOT, 'node_modules', name)), path);
}

beforeAll(() => {
  mkdirSync(installed, { recursive: true });
  run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', scratch('.')], ROOT);
  run('tar', ['-xzf', scratch(`avocado-captioner-${version}.tgz`), '-C', installed, '--strip-components', '1']);
  for (const name of [...Object.keys(dependencies), '@types/node']) link(name);
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
});

describe('the package', () => {
  it('holds what runs and no tests', () => {
    const top = readdirSync(installed).sort();
    expect(top).toEqual(['LICENSE', 'README.md', 'dist', 'models', 'native', 'package.json', 'src', 'tsconfig.json']);
  });

  it('captions a clip, refuses wrong options and closes, for a program that imports it by its name', () => {
    const program = `
      import { AvocadoError, openCaptioner } from 'avocado-captioner';
      const refusals = [];
      const refused = (error) => refusals.push([error instanceof AvocadoError, error.code, error.param, error.message]);
      await openCaptioner({ precision: 'fp8' }).catch(refused);
      await openCaptioner({ modelDir: 'x' }).catch(refused);
      const captioner = await openCaptioner({ threads: 1, cacheDir: 'cache' });
      try {
        captioner.caption('x', { max_token: 1 });
      } catch (error) {
        refused(error);
      }
      const events = [];
      for await (const event of captioner.caption(process.argv[2], { max_tokens: 8 })) events.push(event);
      for await (const event of captioner.caption('none.mp4')) events.push(event);
      const { promptTokens } = await captioner.estimate(process.argv[2]);
      await captioner.close();
      console.log(JSON.stringify({ model: captioner.model.name, refusals, events, promptTokens }));
    `;
    writeFileSync(join(project, 'program.js'), program);
    const said = JSON.parse(run(process.execPath, ['program.js', CLIP])) as {
      readonly model: string;
      readonly refusals: unknown[];
      readonly events: { readonly type: string }[];
      readonly promptTokens: { readonly total: number };
    };
    expect(said.model).toBe('avocado-nano');
    expect(said.refusals).toEqual([
      [true, 'precision_unsupported', 'precision', expect.stringContaining('fp32, int8, int4, bf16, fp16')],
      [true, 'unknown_field', 'modelDir', 'openCaptioner has no option modelDir.'],
      [true, 'unknown_field', 'max_token', expect.stringContaining('max_token')],
    ]);
    const ends = said.events.filter(({ type }) => type.startsWith('caption-'));
    expect(ends).toMatchObject([
      {
        type: 'caption-end',
        finishReason: 'length',
        usage: { completionTokens: 8, promptTokens: said.promptTokens.total },
      },
      { type: 'caption-error', code: 'media_not_found' },
    ]);
  });

  it('has types, by which a wrong use does not compile', () => {
    const program = `
      import { openCaptioner, type CaptionEvent, type OpenOptions } from 'avocado-captioner';
      const options: OpenOptions = { model: 'm', device: 'cuda:1', precision: 'bf16' };
      const captioner = await openCaptioner(options);
      const show = (event: CaptionEvent): string | number => (event.type === 'text-delta' ? event.text : 0);
      for await (const event of captioner.caption('clip.mp4', { prompt: 'What is heard?' }, AbortSignal.timeout(1000))) {
        show(event);
        if (event.type === 'caption-end') event.caption.toUpperCase();
        // @ts-expect-error
        if (event.type === 'caption-end') event.words;
      }
      // @ts-expect-error
      captioner.caption('clip.mp4', { max_token: 3 });
      // @ts-expect-error
      await openCaptioner({ precision: 'fp8' });
      // @ts-expect-error
      captioner.model.name = 3;
    `;
    writeFileSync(join(project, 'program.ts'), program);
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
    const flags = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--types', 'node'];
    expect(run(process.execPath, [tsc, ...flags, '--skipLibCheck', 'program.ts'])).toBe('');
  });
});
