// The whole product on two cards: a server with an engine process on each, as the stub plays them. Kernels compute
// nothing there, so a caption has as many tokens as it may, which say nothing.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { nodeChildren } from '../fixtures/child-processes.ts';
import { CLIPS } from '../fixtures/engine-processes.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { form } from '../fixtures/served-app.ts';
import { spawnServer, type SpawnedServer } from '../fixtures/spawned-server.ts';
import { prepare, stubEnvironment } from './stub/prepared.ts';

const scratch = scratchDirectory();
const prepared = prepare();
if (typeof prepared === 'string') console.warn(`Skipped: test/gpu/cuda-server.test.ts. ${prepared}`);

/** Waits of a restart and of a first caption. */
const PATIENT = { timeout: 60_000, interval: 100 } as const;

describe.skipIf(typeof prepared === 'string')('a server on two cards', () => {
  let server: SpawnedServer;
  beforeAll(async () => {
    if (typeof prepared === 'string') return;
    const cards = { CUDA_STUB_DEVICES: '2', CUDA_STUB_BROKEN: scratch('broken') };
    const args = ['--device', 'cuda:0,cuda:1', '--slots', '2', '--media-cache-bytes', '0'];
    server = await spawnServer(args, scratch('run'), { ...stubEnvironment(prepared, scratch('log')), ...cards });
    await vi.waitFor(async () => {
      expect(await ready()).toEqual(['1', '1']);
    }, PATIENT);
  });
  afterAll(async () => {
    server.kill('SIGTERM');
    expect(await server.ended).toBe(0);
  });

  /** of each engine: whether it is ready */
  async function ready(): Promise<string[]> {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    return [0, 1].map((card) => new RegExp(`^avocado_engine_ready.*cuda:${card}.* (\\d)$`, 'm').exec(text)?.[1] ?? '');
  }

  async function caption(tokens: number): Promise<{ status: number; code: string }> {
    const fields = { max_tokens: String(tokens), min_tokens: String(tokens) };
    const body = form(readFileSync(CLIPS[0] ?? ''), fields);
    const response = await fetch(`${server.url}/v1/captions`, { method: 'POST', body });
    const answer = (await response.json()) as { error?: { code: string }; finish_reason?: string };
    return { status: response.status, code: answer.error?.code ?? answer.finish_reason ?? '' };
  }

  const many = (count: number, tokens: number) => Array.from({ length: count }, () => caption(tokens));

  /** What four captions come to, two on each card, when `harm` is done in the middle; in order of their ends. */
  async function endsWhen(harm: () => void): Promise<string[]> {
    const running = many(4, 2000);
    await sleep(500);
    harm();
    return (await Promise.all(running)).map(({ status, code }) => `${status} ${code}`).sort();
  }

  it('captions on both', async () => {
    const answers = await Promise.all(many(4, 20));
    expect(answers.map(({ code }) => code)).toEqual(['length', 'length', 'length', 'length']);
    const log = readFileSync(scratch('log'), 'utf8').split('\n');
    const launches = log.filter((line) => line.startsWith('GRAPH launch'));
    expect(new Set(launches)).toEqual(new Set(['GRAPH launch', 'GRAPH launch on 1']));
  });

  it('loses the captions of an engine process that dies, and no others', async () => {
    const ends = await endsWhen(() => process.kill(nodeChildren(server.child.pid ?? 0)[1] ?? 0, 'SIGKILL'));
    expect(ends).toEqual(['200 length', '200 length', '503 engine_unavailable', '503 engine_unavailable']);
    await vi.waitFor(async () => {
      expect(await ready()).toEqual(['1', '1']);
    }, PATIENT);
  });

  it('loses the captions of a card that fails, makes all others on the other one, and has it again', async () => {
    const broken = scratch('broken.1');
    const ends = await endsWhen(() => {
      writeFileSync(broken, '');
    });
    expect(ends).toEqual(['200 length', '200 length', '503 engine_unavailable', '503 engine_unavailable']);
    expect(await ready()).toEqual(['1', '0']);
    expect((await Promise.all(many(4, 20))).map(({ code }) => code)).toEqual(['length', 'length', 'length', 'length']);
    rmSync(broken);
    await vi.waitFor(async () => {
      expect(await ready()).toEqual(['1', '1']);
    }, PATIENT);
  });
});
