// Sessions that are loaded on demand, so that a model fits into memory that is too small for all its parts at once.
// Towers are used once per clip, the decoder for every token. At most one tower is loaded at a time.
import { throwIfAborted, type RunOptions, type Session, type Tensor } from '../runtime/runtime.ts';

export type LoadSession = () => Promise<Session>;

/** A session that loads at its first run, and again at the first run after a release. */
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
    throwIfAborted(options?.signal); // do not load anything for a run that was cancelled while it waited
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

  /** Frees the memory unless a run is in progress or ended less than `idleMs` ago. The next run loads it again. */
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
      // The next run tries again: memory may be available by then.
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

/** How long a tower stays loaded between the parts of one clip while other sequences decode. */
const IDLE_MS = 2000;

/** Sessions of which at most one tower is loaded at a time, and none while the decoder is being loaded. */
export function onDemandSessions(load: Readonly<Record<keyof ThinkerSessions, LoadSession>>): ThinkerSessions {
  let last: Promise<unknown> = Promise.resolve();
  const inOrder = async (work: () => Promise<void>): Promise<void> => {
    const mine = last.then(work);
    last = mine.catch(() => undefined);
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
  // The pictures and the sound of one clip may be encoded at the same time: run one after the other.
  const tower = (session: OnDemandSession): Session => ({
    inputs: session.inputs,
    outputs: session.outputs,
    run: (feeds, fetches, options) => inOrder(() => session.run(feeds, fetches, options)),
    release: () => session.release(),
  });
  return { vision: tower(vision), audio: tower(audio), decoder };
}

/** Loads all three sessions now, one after another. They stay loaded until they are released. */
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
