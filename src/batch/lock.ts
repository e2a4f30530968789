// Which of several processes may change a library's state, and which of them still live. Only files: it works between
// containers and machines that share a directory.
import { randomUUID } from 'node:crypto';
import {
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { isLive } from '../base/live-process.ts';
import { makeDirectory } from '../base/make-directory.ts';

/** What a process writes about itself for the others. */
interface WorkerFacts {
  readonly host: string;
  /** this start of the machine; '' where it is not known */
  readonly boot: string;
  /** process ids mean the same within one of these (Linux: the namespace of process ids) */
  readonly space: string;
  readonly pid: number;
  /** when the process began, in ticks of the machine: ids are used again */
  readonly started: string;
}

const BEAT_MS = 5000;
/** A worker of another machine, or one that is stopped, counts as dead after this silence. */
const SILENCE_MS = 60_000;
const LONGEST_PAUSE_MS = 20;

function readOr<T>(other: T, read: () => T): T {
  try {
    return read();
  } catch {
    return other;
  }
}

function startOf(pid: number | 'self'): string {
  const stat = readOr('', () => readFileSync(`/proc/${pid}/stat`, 'utf8'));
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

function ownFacts(): WorkerFacts {
  return {
    host: hostname(),
    boot: readOr('', () => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
    space: readOr('', () => readlinkSync('/proc/self/ns/pid')),
    pid: process.pid,
    started: startOf('self'),
  };
}

function processLives({ pid, started }: WorkerFacts): boolean {
  return isLive(pid) && startOf(pid) === started;
}

/** This process among the workers of a library, and what is known of the others. */
export class Workers {
  readonly id = randomUUID();
  readonly #directory: string;
  readonly #facts = ownFacts();
  readonly #silenceMs: number;
  readonly #beats = new Map<string, { readonly beatMs: number; readonly sinceMs: number }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(directory: string, silenceMs = SILENCE_MS) {
    this.#directory = directory;
    this.#silenceMs = silenceMs;
  }

  /** From now on the others see this process. */
  enter(): void {
    makeDirectory(this.#directory);
    writeFileSync(this.#path(this.id), JSON.stringify(this.#facts));
    this.#timer = setInterval(() => {
      const now = new Date();
      readOr(undefined, () => {
        utimesSync(this.#path(this.id), now, now);
      });
    }, BEAT_MS).unref();
  }

  leave(): void {
    clearInterval(this.#timer);
    rmSync(this.#path(this.id), { force: true });
  }

  /**
   * Whether its process ended for certain, or another machine's has been silent for a minute. `hung` counts a process
   * of this machine that has been silent so long as well.
   */
  isDead(id: string, { hung }: { readonly hung: boolean }): boolean {
    if (id === this.id) return false;
    const facts = readOr(undefined, () => JSON.parse(readFileSync(this.#path(id), 'utf8')) as WorkerFacts);
    if (facts === undefined) return !readOr(false, () => statSync(this.#path(id)).isFile()) || this.#isSilent(id);
    const { host, boot, space } = this.#facts;
    const isHere = facts.host === host && facts.boot === boot && facts.space === space;
    if (isHere && !processLives(facts)) return true;
    return (!isHere || hung) && this.#isSilent(id);
  }

  /** Forgets workers that are dead. */
  sweep(): void {
    for (const id of readdirSync(this.#directory))
      if (this.isDead(id, { hung: false })) rmSync(this.#path(id), { force: true });
  }

  #path(id: string): string {
    return join(this.#directory, id);
  }

  /** Told by changes that this process sees on its own clock: the clocks of two machines differ. */
  #isSilent(id: string): boolean {
    const nowMs = performance.now();
    const beatMs = readOr(0, () => statSync(this.#path(id)).mtimeMs);
    const known = this.#beats.get(id);
    if (known?.beatMs === beatMs) return nowMs - known.sinceMs > this.#silenceMs;
    this.#beats.set(id, { beatMs, sinceMs: nowMs });
    return false;
  }
}

/**
 * A lock of numbered files: the highest number holds it, unless a `.free` file beside it says that it was released or
 * its worker is dead. Numbers only grow, so each holder's number is a fencing token.
 */
export class DirectoryLock {
  readonly #directory: string;
  readonly #workers: Workers;

  constructor(directory: string, workers: Workers) {
    this.#directory = directory;
    this.#workers = workers;
    makeDirectory(directory);
  }

  /** Runs synchronous work while this process alone holds the lock; `token` is larger than every earlier one. */
  async hold<T>(work: (token: number) => T): Promise<T> {
    for (let tries = 0; ; tries++) {
      const token = this.#tryAcquire();
      if (token === undefined) {
        await sleep(Math.random() * Math.min(LONGEST_PAUSE_MS, 1 + tries));
        continue;
      }
      try {
        return work(token);
      } finally {
        this.#release(token);
      }
    }
  }

  #tryAcquire(): number | undefined {
    const { top, isFree } = this.#look();
    if (!isFree && !this.#isAbandoned(top)) return undefined;
    const token = top + 1;
    const file = join(this.#directory, String(token));
    try {
      writeFileSync(file, this.#workers.id, { flag: 'wx' });
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === 'EEXIST') return undefined;
      rmSync(file, { force: true }); // of a full disk: made, but without its words
      throw thrown;
    }
    // A process that looked long ago may take a number that others have passed since.
    const now = this.#look();
    if (now.top !== token) {
      rmSync(file, { force: true });
      return undefined;
    }
    for (const name of now.names)
      if (Number.parseInt(name) < token) rmSync(join(this.#directory, name), { force: true });
    return token;
  }

  #look(): { readonly top: number; readonly isFree: boolean; readonly names: readonly string[] } {
    const names = readdirSync(this.#directory).filter((name) => /^\d+(\.free)?$/.test(name));
    const top = Math.max(0, ...names.map((name) => Number.parseInt(name)));
    return { top, isFree: top === 0 || names.includes(`${top}.free`), names };
  }

  #isAbandoned(token: number): boolean {
    const owner = readOr('', () => readFileSync(join(this.#directory, String(token)), 'utf8'));
    // Made but not yet written: its maker is between two calls, or died there.
    return owner === ''
      ? readOr(false, () => Date.now() - statSync(join(this.#directory, String(token))).mtimeMs > SILENCE_MS)
      : this.#workers.isDead(owner, { hung: false });
  }

  #release(token: number): void {
    const file = join(this.#directory, String(token));
    try {
      writeFileSync(`${file}.free`, '');
    } catch {
      renameSync(file, `${file}.free`); // a full disk has no room for another file
    }
    rmSync(file, { force: true });
  }
}
