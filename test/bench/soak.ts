// Full load for a long time, with clients that leave: does memory stay flat? Usage:
// npx tsx test/bench/soak.ts [minutes]
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { clipSender } from '../../src/lab/loadtest/caption-client.ts';
import { levelTable, runLevel, summarise, type LevelSummary } from '../../src/lab/loadtest/load-test.ts';
import { NANO_EXAMPLES } from '../fixtures/nano.ts';
import { slopeAnHour, startServer } from './served.ts';

const CLIENTS = 8;
const LEAVING = 0.2;
const REQUESTS_A_TURN = 64;
/** Caches fill and arenas grow in the first quarter. */
const WARM_UP_SHARE = 0.25;

interface Reading {
  readonly minutes: number;
  readonly server: number;
  readonly engine: number;
}

const minutes = Number(process.argv[2] ?? 15);
const names = (await readdir(NANO_EXAMPLES)).filter((name) => name.endsWith('.mp4'));
const clips = await Promise.all(
  names.map(async (name) => ({ name, bytes: Uint8Array.from(await readFile(join(NANO_EXAMPLES, name))) })),
);
const server = await startServer(['--slots', String(CLIENTS)]);
const send = clipSender({ url: server.url, apiKey: undefined, fields: {} });
const never = new AbortController().signal;
const readings: Reading[] = [];
const levels: LevelSummary[] = [];
const startedMs = performance.now();
for (let turn = 1; performance.now() - startedMs < minutes * 60_000; turn++) {
  levels.push(
    summarise(
      await runLevel(
        clips,
        send,
        { concurrency: CLIENTS, requests: REQUESTS_A_TURN, leaving: LEAVING, seed: turn },
        never,
      ),
    ),
  );
  const reading = { minutes: (performance.now() - startedMs) / 60_000, ...server.memory() };
  readings.push(reading);
  if (turn % 10 === 1)
    console.log(
      `${reading.minutes.toFixed(1)} min: server ${reading.server.toFixed(0)} MiB, engine ${reading.engine.toFixed(0)} MiB`,
    );
}
// of all the time: it begins anew with every reading
const eventLoopDelay = await server.metric('avocado_event_loop_delay_max_seconds');
const last = levels.at(-1);
if (last !== undefined) console.log(levelTable([last]));
const settled = readings.filter((reading) => reading.minutes > minutes * WARM_UP_SHARE);
const total = (value: (level: LevelSummary) => number): number => levels.reduce((sum, level) => sum + value(level), 0);
console.log(
  JSON.stringify({
    minutes,
    captions: total(({ captions }) => captions),
    left: total(({ left }) => left),
    failed: total(({ failed }) => Object.values(failed).reduce((sum, count) => sum + count, 0)),
    server_mib: [settled[0]?.server, settled.at(-1)?.server],
    engine_mib: [settled[0]?.engine, settled.at(-1)?.engine],
    server_mib_per_hour: slopeAnHour(settled, ({ server: mib }) => mib),
    engine_mib_per_hour: slopeAnHour(settled, ({ engine: mib }) => mib),
    free_slots: await server.metric('avocado_kv_slots_free'),
    restarts: await server.metric('avocado_engine_restarts_total'),
    event_loop_delay_max_seconds: eventLoopDelay,
  }),
);
await server.close();
