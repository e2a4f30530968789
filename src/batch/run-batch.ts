// One run over a library: survey, captions, report. What a front end does with the words and the lines is its own.
import { appendFileSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { rename, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { makeTemporaryDirectory, removeTemporaryDirectory } from '../base/temporary-directory.ts';
import type { CaptionOptions } from '../captioner/caption-options.ts';
import { plainExtension, type ModelIdentity } from './identity.ts';
import type { Listed } from './inputs.ts';
import type { BatchCaptioner, CheckCaption, WithLocalFile } from './item-work.ts';
import type { Layout } from './layout.ts';
import { Looker } from './look.ts';
import { LibraryStore } from './library-store.ts';
import { fsPath, isPlain } from './path-text.ts';
import { RateMeter, type ProgressFacts } from './progress.ts';
import { Tally, type Report } from './report.ts';
import { RETRY_POLICY, type RetryPolicy } from './retry.ts';
import { Runner, type Settled } from './runner.ts';
import { publish } from './sidecars.ts';
import { survey, type PlannedEntry, type Survey } from './survey.ts';
import type { Format, ItemFailure } from './types.ts';

export interface BatchOptions {
  readonly layout: Layout;
  /** for a plan alone: a directory for what a library lacks, in which nothing is made then */
  readonly planIn?: string | undefined;
  readonly identity: ModelIdentity;
  readonly formats: readonly Format[];
  readonly options: CaptionOptions;
  readonly retryFailed: boolean | string;
  /** what a measured rate is of: machine, device, model */
  readonly rateOf: string;
  /** the input, from its beginning, as often as it is asked for */
  readonly listing: () => AsyncIterable<Listed>;
  /** opens the engine, or the way to a server; called once, when there is work */
  readonly openCaptioner: (store: Pick<LibraryStore, 'id' | 'worker' | 'isDead'>) => Promise<BatchCaptioner>;
  /** gives a file behind an address a path here */
  readonly fetch: (url: string, signal: AbortSignal, use: (path: string) => Promise<unknown>) => Promise<unknown>;
  readonly check?: CheckCaption | undefined;
  readonly signal: AbortSignal;
  readonly policy?: RetryPolicy | undefined;
}

export interface RunOptions {
  /** captions of other settings are left as they are */
  readonly keepsOthers: boolean;
  /** entries that will be listed, as far as it is known */
  readonly total: number;
  /** those of them that are captioned, as far as it is known */
  readonly toCaption: number;
  readonly onProgress: (facts: ProgressFacts) => void;
  readonly onSettled?: ((settled: Settled) => void) | undefined;
}

/** Items in work beside those in the engine's slots: they are read and decoded meanwhile. */
const AHEAD_OF_SLOTS = 4;
const PROGRESS_MS = 1000;

/** A library that is open for work. */
export class Batch {
  readonly #options: BatchOptions;
  readonly #store: LibraryStore;
  #captioner: Promise<BatchCaptioner> | undefined;
  #opened: BatchCaptioner | undefined;

  private constructor(options: BatchOptions, store: LibraryStore) {
    this.#options = options;
    this.#store = store;
  }

  /** @throws AvocadoError `directory_unwritable` */
  static async open(options: BatchOptions): Promise<Batch> {
    const { planIn } = options;
    const placeOf = (path: string): string =>
      planIn === undefined || existsSync(path) ? path : join(planIn, basename(path));
    const { state, results } = options.layout;
    return new Batch(options, await LibraryStore.open(placeOf(state), placeOf(results)));
  }

  /** What would be done. Nothing is changed. */
  async survey(onPlanned?: (entry: PlannedEntry) => Promise<void>): Promise<Survey> {
    const { listing, signal } = this.#options;
    return await survey(listing(), this.#looker(), signal, onPlanned);
  }

  /** The file that tells what failed, and why. */
  get failuresFile(): string {
    return this.#options.layout.failures;
  }

  /** Hours of media an hour, as an earlier run measured them; undefined on the first. */
  measuredRate(): number | undefined {
    const rate = this.#store.rate(this.#options.rateOf);
    return rate === undefined || rate.wallSeconds === 0 ? undefined : rate.mediaSeconds / rate.wallSeconds;
  }

  /**
   * Captions what is to be captioned.
   * @throws AvocadoError what ended the run early, after `report` was called
   */
  async run(run: RunOptions, report: (report: Report) => Promise<void>): Promise<void> {
    const { signal, listing, layout, formats, check, policy = RETRY_POLICY } = this.#options;
    const tally = new Tally();
    const meter = new RateMeter();
    const failures = new FailureList(layout, this.#store);
    const facts = (): ProgressFacts => ({
      ended: tally.listed,
      total: Math.max(run.total, tally.listed),
      mediaSeconds: tally.mediaSeconds,
      wallSeconds: (performance.now() - startedMs) / 1000,
      remaining: meter.remaining(Math.max(0, run.toCaption - tally.worked)),
      failures: tally.failures,
    });
    const onSettled = (settled: Settled): void => {
      const { worked } = tally;
      tally.add(settled);
      failures.add(settled);
      if (tally.worked > worked) meter.ended(performance.now());
      run.onSettled?.(settled);
    };
    // Opened here where there is work, so that its time does not count as that of the first caption.
    const captioner = run.toCaption > 0 ? await this.#open() : undefined;
    const startedMs = performance.now();
    meter.begin(performance.now());
    const runner = new Runner({
      ...{ store: this.#store, layout, looker: this.#looker(), formats, signal, policy, onSettled },
      captioner: () => this.#open(),
      withLocalFile: this.#withLocalFile,
      check,
      keepsOthers: run.keepsOthers,
      startedMs: Date.now(),
      inFlight: (captioner?.model.slots ?? 1) + AHEAD_OF_SLOTS,
      engineStatus: () => this.#opened?.status(),
    });
    const timer = setInterval(() => {
      run.onProgress(facts());
    }, PROGRESS_MS);
    try {
      await runner.run(listing());
    } finally {
      clearInterval(timer);
      const wallSeconds = (performance.now() - startedMs) / 1000;
      const told = tally.report({ wallSeconds, engineRestarts: this.#opened?.status().restarts ?? 0 });
      await this.#keep(told, failures).catch(() => undefined); // of a full disk, which is what ended the run
      await report(told);
    }
  }

  async close(): Promise<void> {
    await (await this.#captioner?.catch(() => undefined))?.close();
    await this.#store.close();
  }

  #looker(): Looker {
    const { layout, identity, formats, options, retryFailed } = this.#options;
    return new Looker({ store: this.#store, layout, identity, formats, options, retryFailed });
  }

  #open(): Promise<BatchCaptioner> {
    this.#captioner ??= this.#options.openCaptioner(this.#store).then((opened) => (this.#opened = opened));
    return this.#captioner;
  }

  /** The report, the rate for the next estimate, and the failures, each with its reason. */
  async #keep(report: Report, failures: FailureList): Promise<void> {
    const { layout } = this.#options;
    const { mediaSeconds, wallSeconds } = report;
    if (mediaSeconds > 0) await this.#store.rememberRate({ of: this.#options.rateOf, mediaSeconds, wallSeconds });
    await publish(join(layout.state, 'report.json'), `${JSON.stringify(report, null, 2)}\n`, { replaces: true });
    await failures.publish();
  }

  /** A link with a plain name where a file's own is no UTF-8: programs get paths as text. */
  readonly #withLocalFile: WithLocalFile = async (item, signal, use) => {
    const { source } = item;
    type Result = Awaited<ReturnType<typeof use>>;
    if (source.kind === 'url') return (await this.#options.fetch(source.url, signal, use)) as Result;
    if (isPlain(source.path)) return await use(source.path);
    const directory = await makeTemporaryDirectory(tmpdir(), 'avocado-link');
    try {
      const link = join(directory, `link${plainExtension(source.path)}`);
      await symlink(fsPath(source.path), link);
      return await use(link);
    } finally {
      await removeTemporaryDirectory(directory);
    }
  };
}

const LINES_AT_ONCE = 200;

/** Failures as lines of JSON: of any number, so on the disk from the beginning. */
class FailureList {
  readonly #path: string;
  readonly #unfinished: string;
  #lines: string[] = [];
  #isBroken = false;

  constructor({ failures, state }: Layout, store: Pick<LibraryStore, 'worker' | 'isDead'>) {
    this.#path = failures;
    this.#unfinished = join(state, `failures-${store.worker}.part`);
    for (const name of readdirSync(state)) {
      const worker = /^failures-(.+)\.part$/.exec(name)?.[1];
      if (worker === undefined || (worker !== store.worker && !store.isDead(worker))) continue;
      rmSync(join(state, name), { force: true }); // of a run that was killed, or of the round before
    }
  }

  add(settled: Settled): void {
    if (settled.state === 'failed') this.#push(settled.known.names.path, settled.failure);
    else if (settled.state === 'fault') {
      const { where, code, message } = settled.fault;
      this.#push(where, { code, message, attempts: 1, passing: false });
    }
  }

  /** Takes the place of the list of the run before. @throws what the disk says */
  async publish(): Promise<void> {
    this.#flush();
    if (this.#isBroken) await rm(this.#unfinished, { force: true });
    else await rename(this.#unfinished, this.#path);
  }

  #push(path: string, failure: ItemFailure): void {
    this.#lines.push(`${JSON.stringify({ path, ...failure })}\n`);
    if (this.#lines.length >= LINES_AT_ONCE) this.#flush();
  }

  #flush(): void {
    try {
      appendFileSync(this.#unfinished, this.#lines.join(''));
    } catch {
      this.#isBroken = true; // a full disk; it ends the run by itself
    }
    this.#lines = [];
  }
}
