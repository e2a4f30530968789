// One or several engine processes, each on its device, that look like one: which of them takes a request.
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import type { CaptionerModel, CaptionerStats, CaptionerStatus } from '../captioner/captioner.ts';
import type { CaptionRequest } from '../output/events.ts';
import { deviceNames, type Device } from '../settings/engine-settings.ts';
import type { EngineConnection } from './engine-connection.ts';
import { statsTogether } from './stats-accumulator.ts';
import type { Supervisor } from './supervisor.ts';
import { RecentMap } from '../base/recent-map.ts';

/** An engine process of the pool. */
interface Member {
  readonly device: Device;
  readonly supervisor: Supervisor;
}

/** An engine is left for another one only when that has clearly less to do: the request is planned again there. */
const MOVES_BELOW = 0.75;
/** Files whose engine is remembered. */
const FILES_KEPT = 4096;
const KEY_BYTES = 65_536;

/** A ready engine process, and whether it is still the one for the request that it was chosen for. */
export interface Chosen {
  readonly connection: EngineConnection;
  readonly isStillBest: () => boolean;
}

/**
 * Names a file by its size and its two ends: enough to send the same clip to the engine that has it in its caches.
 * @returns undefined where it cannot be read, which the engine will say better
 */
async function fileKey(path: string): Promise<string | undefined> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return undefined;
  try {
    const { size } = await file.stat();
    const hash = createHash('sha256').update(String(size));
    for (const position of new Set([0, Math.max(0, size - KEY_BYTES)])) {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(KEY_BYTES), 0, KEY_BYTES, position);
      hash.update(buffer.subarray(0, bytesRead));
    }
    return hash.digest('hex');
  } catch {
    return undefined;
  } finally {
    await file.close();
  }
}

export class EnginePool {
  readonly #members: readonly Member[];
  readonly #first: Member;
  /** file key to the engine that captioned it last; the least recent first */
  readonly #engineOfFile = new RecentMap<string, Member>(FILES_KEPT);

  /** @param members at least one */
  constructor(members: readonly Member[]) {
    const [first] = members;
    if (first === undefined) throw new Error('An engine pool needs an engine. This is a bug.');
    this.#members = members;
    this.#first = first;
  }

  /**
   * The engine for a request about a file: the one that has the file in its caches while it has a free slot, else the
   * one with the least to do. Waits while none is ready.
   * @throws AvocadoError `aborted`, `engine_unavailable` after close, why the engines cannot be started
   */
  async choose(request: CaptionRequest, signal: AbortSignal | undefined): Promise<Chosen> {
    if (this.#members.length === 1) {
      const connection = await this.#first.supervisor.ready(signal);
      return { connection, isStillBest: () => true };
    }
    const key = request.contentHash ?? (await fileKey(request.path));
    const anyReady = await this.#anyReady(signal);
    const member = this.#best(key);
    const connection = member?.supervisor.connection;
    if (member === undefined || connection === undefined) return { connection: anyReady, isStillBest: () => true };
    if (key !== undefined) this.#engineOfFile.set(key, member);
    return { connection, isStillBest: () => this.#isStillBest(member, connection, key) };
  }

  /** @throws AvocadoError why one of them cannot be started */
  async allDescribed(): Promise<void> {
    await Promise.all(this.#members.map(({ supervisor }) => supervisor.described()));
  }

  /** @throws AvocadoError why one of them cannot be started */
  async allReady(signal?: AbortSignal): Promise<void> {
    await Promise.all(this.#members.map(({ supervisor }) => supervisor.ready(signal)));
  }

  /** Call after allDescribed. */
  model(): CaptionerModel {
    const { model: first } = this.#first.supervisor;
    if (first === undefined) throw new Error('The engines have not told their model yet. This is a bug.');
    const { slots, ...model } = first;
    const all = this.#members.map(({ supervisor }) => supervisor.model?.slots ?? slots);
    const device = deviceNames(this.#members.map((member) => member.device));
    return { ...model, device, slots: all.reduce((sum, each) => sum + each) };
  }

  status(): CaptionerStatus {
    const all = this.#members.map(({ device, supervisor }) => ({ device, status: supervisor.status() }));
    const first = this.#first.supervisor.status();
    const [status = first] = (['ready', 'loading', 'restarting'] as const).flatMap((state) =>
      all.flatMap((each) => (each.status.state === state ? [each.status] : [])),
    );
    return {
      ...status,
      restarts: all.reduce((sum, each) => sum + each.status.restarts, 0),
      pid: first.pid,
      engines: all.map(({ device, status: { state, restarts, pid } }) => ({
        device: deviceNames([device]),
        state,
        restarts,
        pid,
      })),
    };
  }

  stats(): CaptionerStats {
    return statsTogether(this.#members.map(({ supervisor }) => supervisor.stats()));
  }

  async close(): Promise<void> {
    await Promise.all(this.#members.map(({ supervisor }) => supervisor.close()));
  }

  async #anyReady(signal: AbortSignal | undefined): Promise<EngineConnection> {
    const found = new AbortController();
    const either = signal === undefined ? found.signal : AbortSignal.any([signal, found.signal]);
    try {
      return await Promise.any(this.#members.map(({ supervisor }) => supervisor.ready(either)));
    } catch (thrown) {
      throw (thrown as AggregateError).errors[0];
    } finally {
      found.abort();
    }
  }

  #readyMembers(): readonly Member[] {
    return this.#members.filter(({ supervisor }) => supervisor.connection !== undefined);
  }

  #best(key: string | undefined): Member | undefined {
    const before = key === undefined ? undefined : this.#engineOfFile.get(key);
    if (before !== undefined && hasFreeSlot(before)) return before;
    return [...this.#readyMembers()].sort((a, b) => workOf(a) - workOf(b))[0];
  }

  #isStillBest(member: Member, connection: EngineConnection, key: string | undefined): boolean {
    if (member.supervisor.connection !== connection) return true; // it has died, and ends its requests itself
    if (key !== undefined && this.#engineOfFile.get(key) === member && hasFreeSlot(member)) return true;
    const least = Math.min(...this.#readyMembers().map(workOf));
    return least >= workOf(member) * MOVES_BELOW;
  }
}

function workOf({ supervisor }: Member): number {
  return supervisor.connection?.working ?? Infinity;
}

function hasFreeSlot(member: Member): boolean {
  return workOf(member) < (member.supervisor.model?.slots ?? 1);
}
