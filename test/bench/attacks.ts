// What honest clients notice of an attack: time to the first token of the bundled example clip, quiet and beside each
// attack, in turn. Usage: npx tsx test/bench/attacks.ts [--rounds N] [--captions N] [--only NAME,NAME]
// The server is started as `npm start` does. Attackers are a process of the lowest priority, which stands for another
// machine, and come from an address of their own, as two clients do.
import { spawn, type ChildProcess } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { connect, type Socket } from 'node:net';
import { constants, setPriority } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { clipSender } from '../../src/lab/loadtest/caption-client.ts';
import { rawForm, rawPost } from '../fixtures/fuzz-clients.ts';
import { largeCanvasGif, manyPackets } from '../fixtures/fuzz-files.ts';
import { manyPages } from '../fixtures/hostile-media.ts';
import { examplePath, WIDE } from '../fixtures/examples.ts';
import { median } from './median.ts';
import { startServer, type BenchServer } from './served.ts';

const ATTACKER_ADDRESS = '127.0.0.2';
/** Before the honest client asks. */
const WARM_UP_MS = 4000;
const FORM = { 'content-type': 'multipart/form-data; boundary=b' };
const JSON_BODY = { 'content-type': 'application/json' };
const PIXEL =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

let serial = 0;

/** The same file to a decoder, and another one to a cache. */
function unlikeAnyOther(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.from(`${process.pid}-${++serial}`)]);
}

/** An mp4 with an empty box behind it. */
function freshClip(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const tail = Buffer.from(`\0\0\0\x18free${String(++serial).padStart(16)}`, 'latin1');
  return Uint8Array.from(Buffer.concat([bytes, tail]));
}

/** Sends a request and reads its answer; resolves however it ends. */
function send(port: number, path: string, headers: Record<string, string>, body: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      resolve();
    };
    const options = { host: '127.0.0.1', port, path, method: 'POST', localAddress: ATTACKER_ADDRESS };
    const sent = httpRequest({ ...options, headers: { ...headers, 'content-length': body.length } }, (response) => {
      response.resume().once('close', done);
    });
    sent.once('error', done).end(body);
  });
}

function open(port: number, first: Uint8Array | string): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress: ATTACKER_ADDRESS });
    socket.on('error', () => undefined);
    socket.once('connect', () => socket.write(first));
    setTimeout(resolve, 5, socket);
  });
}

/** So many at a time, each again when it is done. */
async function repeat(atOnce: number, pauseMs: number, act: () => Promise<unknown>): Promise<void> {
  const forever = async (): Promise<never> => {
    for (;;) {
      await act();
      await sleep(pauseMs);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, forever));
}

/** A socket that is opened again when the server closes it. */
async function held(port: number, text: () => Uint8Array | string, drip?: string): Promise<void> {
  const socket = await open(port, text());
  const dripping = drip === undefined ? undefined : setInterval(() => socket.write(drip), 1000);
  await new Promise((resolve) => socket.resume().once('close', resolve));
  clearInterval(dripping);
}

function jsonOf(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

type Attack = (port: number) => Promise<unknown>;

const ATTACKS: Readonly<Record<string, { readonly what: string; readonly run: Attack }>> = {
  'huge-sizes': {
    what: 'four clients, each ten times a second: processor_min_pixels of 1e11',
    run: (port) => {
      const body = jsonOf({ media: PIXEL, processor_min_pixels: 1e11 });
      return repeat(4, 100, () => send(port, '/v1/captions/estimate', JSON_BODY, body));
    },
  },
  'stalled-bodies': {
    what: '200 sockets that send a head, and no body',
    run: (port) => {
      const head = rawPost('/v1/captions', { ...JSON_BODY, 'content-length': '100' }, Buffer.from('{'));
      return repeat(200, 10, () => held(port, () => head));
    },
  },
  unread: {
    what: '8 clients whose captions are done, and who read nothing of them',
    run: async (port) => {
      const clip = await readFile(examplePath(WIDE));
      const fields = {
        stream: 'true',
        n: '4',
        logprobs: '20',
        max_tokens: '1000',
        ignore_eos: 'true',
        temperature: '1',
      };
      const body = rawForm(clip, fields);
      await Promise.all(
        Array.from({ length: 8 }, async () => {
          const socket = await open(port, rawPost('/v1/captions', FORM, body));
          socket.pause();
        }),
      );
      await new Promise(() => setInterval(() => undefined, 60_000));
    },
  },
  'heavy-gifs': {
    what: 'four clients with a GIF of 46 kB: 2,000 frames of 5900x5900',
    run: (port) => {
      const gif = largeCanvasGif(5900, 5900, 2000);
      return repeat(4, 10, () => send(port, '/v1/captions', FORM, rawForm(unlikeAnyOther(gif), { timeout: '70' })));
    },
  },
  svg: {
    what: 'four clients, each ten times a second: an SVG that claims to be WebP',
    run: (port) => {
      const size = 'width="7000" height="7000"';
      const svg = Buffer.from(`<svg    WEBP="" xmlns="http://www.w3.org/2000/svg" ${size}><rect width="9"/></svg>`);
      return repeat(4, 100, () => send(port, '/v1/captions', FORM, rawForm(unlikeAnyOther(svg), {})));
    },
  },
  'many-pages': {
    what: 'four clients with a TIFF of 20 MB: 200,000 pages',
    run: (port) => {
      const tiff = manyPages(200_000);
      return repeat(4, 10, () => send(port, '/v1/captions', FORM, rawForm(unlikeAnyOther(tiff), {})));
    },
  },
  'large-json': {
    what: '31 clients with JSON of 62 MB',
    run: (port) => {
      const body = jsonOf({ media: 'media://r/a.mp4', prompt: 'x'.repeat(62e6) });
      return repeat(31, 100, () => send(port, '/v1/captions', JSON_BODY, body));
    },
  },
  'many-packets': {
    what: 'four clients with 3.4 million packets in 17 MB',
    run: (port) => {
      const file = manyPackets(3_400_000);
      return repeat(4, 10, () => send(port, '/v1/captions', FORM, rawForm(unlikeAnyOther(file), {})));
    },
  },
  'long-prompts': {
    what: 'four clients with prompts of 100,000 characters, combining marks',
    run: (port) => {
      const body = jsonOf({ media: PIXEL, prompt: `a${'\u0301'.repeat(99_990)}` });
      return repeat(4, 10, () => send(port, '/v1/captions', JSON_BODY, body));
    },
  },
  'plain-prompts': {
    what: 'four clients with prompts of 200,000 digits: a token each',
    run: (port) => {
      const digits = Array.from({ length: 100_000 }, (_, index) => (index * 7919) % 10).join('');
      const body = jsonOf({ media: PIXEL, prompt: digits, system_prompt: digits });
      return repeat(4, 10, () => send(port, '/v1/captions', JSON_BODY, body));
    },
  },
  'idle-connections': {
    what: '1,000 connections with a piece of a head',
    run: (port) => repeat(1000, 10, () => held(port, () => 'GET /heal')),
  },
  'slow-heads': {
    what: '300 connections that send a byte of their head each second',
    run: (port) => repeat(300, 10, () => held(port, () => 'GET /healthz HTTP/1.1\r\nX-Y: ', 'x')),
  },
};

function startAttack(name: string, port: number): ChildProcess {
  const [, self = ''] = process.argv;
  const args = [...process.execArgv, self, '--attack', name, '--port', String(port)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const kill = (): void => {
    child.kill('SIGKILL');
  };
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  setPriority(child.pid ?? 0, constants.priority.PRIORITY_LOW);
  return child;
}

async function stopAttack(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

/** Waits until nothing of earlier requests runs. */
async function untilIdle(server: BenchServer): Promise<void> {
  for (let looks = 0; looks < 600; looks += 1) {
    const { running } = (await (await fetch(`${server.url}/healthz`)).json()) as { readonly running: number };
    if (running === 0) return;
    await sleep(200);
  }
}

interface Phase {
  readonly seconds: number[];
  /** captions that did not come */
  readonly failed: string[];
}

async function askHonestly(server: BenchServer, clip: Uint8Array, captions: number, phase: Phase): Promise<void> {
  const ask = clipSender({ url: server.url, apiKey: undefined, fields: { max_tokens: '32' } });
  for (let left = captions; left > 0; left -= 1) {
    const result = await ask({ name: WIDE, bytes: freshClip(clip) }, undefined, AbortSignal.timeout(120_000));
    if (result.kind === 'caption') phase.seconds.push(result.firstTokenSeconds);
    else phase.failed.push(result.kind === 'failed' ? result.code : result.kind);
  }
}

function row(name: string, quiet: Phase, attacked: Phase): string {
  const [before, beside] = [median(quiet.seconds), median(attacked.seconds)];
  const failed =
    attacked.failed.length === 0 ? '' : `, ${attacked.failed.length} failed (${attacked.failed.join(', ')})`;
  const cells = [`${before.toFixed(2)} s`, `${beside.toFixed(2)} s`, `${(beside / before).toFixed(2)} x${failed}`];
  return `| ${name} | ${cells.join(' | ')} | ${ATTACKS[name]?.what ?? ''} |`;
}

async function measure(server: BenchServer, name: string, rounds: number, captions: number): Promise<string> {
  const clip = await readFile(examplePath(WIDE));
  const [quiet, attacked]: Phase[] = [
    { seconds: [], failed: [] },
    { seconds: [], failed: [] },
  ];
  if (quiet === undefined || attacked === undefined) throw new Error('No phases.');
  for (let round = 0; round < rounds; round += 1) {
    await askHonestly(server, clip, captions, quiet);
    const attack = startAttack(name, Number(new URL(server.url).port));
    await sleep(WARM_UP_MS);
    if (name === 'unread') await untilIdle(server);
    await askHonestly(server, clip, captions, attacked);
    await stopAttack(attack);
    await sleep(1000);
    await untilIdle(server);
  }
  return row(name, quiet, attacked);
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    captions: { type: 'string', default: '5' },
    only: { type: 'string' },
    attack: { type: 'string' },
    port: { type: 'string', default: '0' },
  },
});
if (values.attack !== undefined) {
  await ATTACKS[values.attack]?.run(Number(values.port));
} else {
  const server = await startServer([]);
  const warmUp: Phase = { seconds: [], failed: [] };
  await askHonestly(server, await readFile(examplePath(WIDE)), 3, warmUp);
  console.log('| attack | quiet | beside it | ratio | what it does |\n|---|---|---|---|---|');
  for (const name of Object.keys(ATTACKS)) {
    if (values.only !== undefined && !values.only.split(',').includes(name)) continue;
    console.log(await measure(server, name, Number(values.rounds), Number(values.captions)));
  }
  console.log(`engine restarts: ${await server.metric('avocado_engine_restarts_total')}`);
  await server.close();
}
