// Sessions that come and go, so that a model fits where its parts do not fit together: towers are used once per clip, the
// decoder for every token. Order of use on a fresh start: vision, audio, decoder, each loaded after the one before has left.
import { refuseAborted } from '../runtime/refuse-aborted.ts';
import type { RunOptions, Session, Tensor } from '../runtime/runtime.ts';

export type LoadSession = () => Promise<Session>;

/** A session that is loaded at its first run, and again after it was released. */
class OnDemandSession implements Session {
  readonly #load: LoadSession;
  readonly #beforeRun: (loaded: boolean) => Promise<void>;
  #loaded: Promise<Session> | undefined;
  #session: Session | undefined;
  #running = 0;
  #lastUse = 0;

  constructor(load: LoadSession, beforeRun: (loaded: boolean) => Promise<void>) {
    this.#load = load;
    this.#beforeRun = beforeRun;
  }

  get inputs(): readonly string[] {
    return this.#session?.inputs ?? [];
  }

  get outputs(): readonly string[] {
    return this.#session?.outputs ?? [];
  }

  async run(
    feeds: Readonly<Record<string, Tensor>>,
    fetches: Readonly<Record<string, Tensor>>,
    options?: RunOptions,
  ): Promise<void> {
    refuseAborted(options?.signal); // who left while waiting for its turn needs nothing loaded
    this.#running += 1;
    try {
      await this.#beforeRun(this.#loaded !== undefined);
      const session = await this.#get();
      await session.run(feeds, fetches, options);
    } finally {
      this.#running -= 1;
      this.#lastUse = performance.now();
    }
  }

  /** Frees the memory unless a run is under way or ended less than `idleMs` ago; the next run loads it again. */
  async releaseIdle(idleMs: number): Promise<void> {
    if (this.#running > 0 || performance.now() - this.#lastUse < idleMs) return;
    await this.release();
  }

  async release(): Promise<void> {
    const loaded = this.#loaded;
    this.#loaded = undefined;
    this.#session = undefined;
    await (await loaded?.catch(() => undefined))?.release();
  }

  async #get(): Promise<Session> {
    const loading = this.#loaded ?? this.#load();
    this.#loaded = loading;
    try {
      this.#session = await loading;
      return this.#session;
    } catch (error) {
      // The next run tries again: memory may be there by then.
      if (this.#loaded === loading) this.#loaded = undefined;
      throw error;
    }
  }
}

export interface ThinkerSessions {
  readonly vision: Session;
  readonly audio: Session;
  readonly decoder: Session;
}

/** How long a tower may rest between the parts of one clip while other sequences decode. */
const IDLE_MS = 2000;

/** Sessions of which at most one tower is loaded at a time, and none while the decoder is being loaded. */
export function onDemandSessions(load: Readonly<Record<keyof ThinkerSessions, LoadSession>>): ThinkerSessions {
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = async (work: () => Promise<void>): Promise<void> => {
    const mine = turn.then(work);
    turn = mine.catch(() => undefined);
    await mine;
  };
  const vision = new OnDemandSession(load.vision, async (loaded) => {
    if (!loaded) await audio.releaseIdle(0);
  });
  const audio = new OnDemandSession(load.audio, async (loaded) => {
    if (!loaded) await vision.releaseIdle(0);
  });
  const decoder = new OnDemandSession(load.decoder, async (loaded) => {
    const idleMs = loaded ? IDLE_MS : 0;
    await vision.releaseIdle(idleMs);
    await audio.releaseIdle(idleMs);
  });
  // Picture and sound of one clip may be asked for at once: they take turns.
  const tower = (session: OnDemandSession): Session => ({
    inputs: session.inputs,
    outputs: session.outputs,
    run: (feeds, fetches, options) => inTurn(() => session.run(feeds, fetches, options)),
    release: () => session.release(),
  });
  return { vision: tower(vision), audio: tower(audio), decoder };
}

/** All three loaded now, one after another, to stay. */
export async function residentSessions(
  load: Readonly<Record<keyof ThinkerSessions, LoadSession>>,
): Promise<ThinkerSessions> {
  const loaded: Session[] = [];
  try {
    for (const part of ['vision', 'audio', 'decoder'] as const) loaded.push(await load[part]());
  } catch (error) {
    await Promise.all(loaded.map((session) => session.release()));
    throw error;
  }
  const [vision, audio, decoder] = loaded;
  if (vision === undefined || audio === undefined || decoder === undefined)
    throw new Error('Three sessions were loaded. This is a bug.');
  return { vision, audio, decoder };
}
