import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { OPTION_PROPERTIES } from '../../src/captioner/caption-options.ts';
import { ERRORS } from '../../src/base/errors.ts';
import { REWARDS } from '../../src/lab/rewards/types.ts';
import { UNSCORED } from '../../src/lab/rewards/unscored.ts';
import { ITEM, OPTIONS } from '../../src/lab/rewards/wire.ts';
import { runCli } from '../fixtures/cli-run.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const readme = readFileSync(`${root}README.md`, 'utf8');

describe('README', () => {
  it('tells every error as the table in the code does, and no other', () => {
    const told = [...readme.matchAll(/^\| `(\w+)` \| (\d+) \| (\d+) \| .+ \|$/gm)].map(([, code, status, exit]) => [
      code,
      Number(status),
      Number(exit),
    ]);
    expect(told).toEqual(Object.entries(ERRORS).map(([code, { status, exit }]) => [code, status, exit]));
  });

  it('tells every reason of a reward that is null, as the code does', () => {
    const told = [...readme.matchAll(/^\| `(\w+)` \| ([^|]+) \|$/gm)].map(([, code, meaning]) => [code, meaning]);
    expect(told).toEqual(expect.arrayContaining(Object.entries(UNSCORED)));
    expect(
      told.filter(([code]) => !['AVOCADO_', 'ORT_', 'src', 'native'].some((start) => code?.startsWith(start))),
    ).toEqual(Object.entries(UNSCORED));
  });

  it('names every reward and every option of rewards', () => {
    const section = /^## Rewards for training[\s\S]*?^## /m.exec(readme)?.[0] ?? '';
    for (const name of [...REWARDS, ...Object.keys(OPTIONS.properties), ...Object.keys(ITEM.properties)]) {
      if (!['sample_id', 'finish_reason'].includes(name)) expect(section).toContain(`\`${name}`);
    }
  });

  it('names every option of a caption', () => {
    const paragraph = /^Options are form fields[\s\S]*?^A client/m.exec(readme)?.[0] ?? '';
    for (const option of Object.keys(OPTION_PROPERTIES)) expect(paragraph).toContain(`\`${option}\``);
  });

  it('links only to files that exist', () => {
    const links = [...readme.matchAll(/\]\((?!https?:|#)([^)]+)\)/g)].map(([, path]) => path ?? '');
    expect(links.length).toBeGreaterThan(3);
    for (const path of links) expect(existsSync(`${root}${path}`), path).toBe(true);
  });

  it('uses only commands and flags that the program knows', async () => {
    const uses = [
      ...readme.matchAll(/avocado (caption|inspect|export|serve|sample|doctor|reward|bench serve)\b([^\n`|#]*)/g),
    ];
    expect(uses.length).toBeGreaterThan(5);
    for (const [, name, rest] of uses) {
      const { stdout } = await runCli([...(name ?? '').split(' '), '--help']);
      for (const [flag] of (rest ?? '').matchAll(/--[a-z-]+/g))
        expect(stdout, `${name ?? ''} ${flag}`).toContain(`${flag} `);
    }
  });
});
