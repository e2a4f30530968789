// A first pass over the input, before anything runs: what would be done and why, and how long it may take.
import { probeMedia } from '../media/probe.ts';
import type { Action } from './decide.ts';
import { likeness } from './identity.ts';
import type { Listed } from './inputs.ts';
import { KeyTable } from './key-table.ts';
import { mapAhead, type KnownItem, type Looked, type Looker } from './look.ts';
import { fsPath, isPlain } from './path-text.ts';

/** New files that are opened to estimate how long all of them last. */
const SAMPLE = 32;
const PROBES_AT_ONCE = 2;
/** In larger libraries, likely duplicates are not looked for before the start. */
const MOST_COMPARED = 20_000;
const LOOK_AHEAD = 16;

export interface Survey {
  readonly listed: number;
  /** by action, then by reason */
  readonly actions: Readonly<Partial<Record<Action | 'repeated' | 'fault', Readonly<Record<string, number>>>>>;
  /** items that are captioned, as far as is known without reading them */
  readonly toCaption: number;
  /** items that have a caption of other settings */
  readonly otherSettings: number;
  /** files that look like another one; undefined: too many to compare */
  readonly likelyDuplicates: number | undefined;
  /** of the files that were opened */
  readonly sampled: { readonly files: number; readonly unreadable: number };
  /** seconds of all files to caption, from the sample; undefined: none was opened */
  readonly mediaSeconds: number | undefined;
}

/** An entry with what would be done, as `--plan` lists it. */
export interface PlannedEntry {
  readonly path: string;
  readonly action: Action | 'repeated' | 'fault';
  readonly reason: string;
}

function planned(looked: Looked): PlannedEntry {
  if (looked.kind === 'repeated') return { path: '', action: 'repeated', reason: 'listed twice' };
  if (looked.kind === 'fault') return { path: looked.fault.where, action: 'fault', reason: looked.fault.message };
  const { names, decision } = looked.known;
  return { path: names.path, action: decision.action, reason: decision.reason };
}

/** @param onPlanned called for every entry */
export async function survey(
  listing: AsyncIterable<Listed>,
  looker: Looker,
  signal: AbortSignal,
  onPlanned: (entry: PlannedEntry) => Promise<void> | void = () => undefined,
): Promise<Survey> {
  const actions: Partial<Record<PlannedEntry['action'], Record<string, number>>> = {};
  const sample = new Reservoir<string>(SAMPLE);
  const twins = new TwinCounter();
  let [listed, toCaption, otherSettings] = [0, 0, 0];
  for await (const looked of mapAhead(listing, (one) => looker.look(one), LOOK_AHEAD)) {
    if (signal.aborted) break;
    const entry = planned(looked);
    listed += 1;
    const reasons = (actions[entry.action] ??= {});
    const reason = entry.action === 'fault' && looked.kind === 'fault' ? looked.fault.code : entry.reason;
    reasons[reason] = (reasons[reason] ?? 0) + 1;
    await onPlanned(entry);
    if (looked.kind !== 'item') continue;
    const { known } = looked;
    if (known.decision.isOtherSettings === true) otherSettings += 1;
    if (!['caption', 'redo', 'retry'].includes(known.decision.action)) continue;
    toCaption += 1;
    if (known.item.source.kind !== 'file' || !known.isReadable) continue;
    if (isPlain(known.item.source.path)) sample.offer(known.item.source.path);
    await twins.add(known);
  }
  const { files, unreadable, seconds } = await probeAll(sample.values, signal);
  return {
    listed,
    actions,
    toCaption,
    otherSettings,
    likelyDuplicates: twins.count,
    sampled: { files, unreadable },
    mediaSeconds: files === 0 ? undefined : (seconds / files) * toCaption,
  };
}

async function probeAll(
  paths: readonly string[],
  signal: AbortSignal,
): Promise<{ files: number; unreadable: number; seconds: number }> {
  const sum = { files: 0, unreadable: 0, seconds: 0 };
  const rest = [...paths];
  const probe = async (): Promise<void> => {
    for (let path = rest.pop(); path !== undefined && !signal.aborted; path = rest.pop()) {
      const found = await probeMedia(path, { signal }).catch(() => undefined);
      sum.files += 1;
      if (found === undefined) sum.unreadable += 1;
      else sum.seconds += found.durationSeconds;
    }
  };
  await Promise.all(Array.from({ length: PROBES_AT_ONCE }, probe));
  return sum;
}

/** A sample of a stream of any length, each with the same chance (algorithm R). */
class Reservoir<T> {
  readonly values: T[] = [];
  readonly #size: number;
  #offered = 0;

  constructor(size: number) {
    this.#size = size;
  }

  offer(value: T): void {
    this.#offered += 1;
    if (this.values.length < this.#size) this.values.push(value);
    else {
      const place = Math.floor(Math.random() * this.#offered);
      if (place < this.#size) this.values[place] = value;
    }
  }
}

/** Counts files whose size, beginning and end another one has. */
class TwinCounter {
  readonly #sizes = new KeyTable();
  readonly #known = new KeyTable();
  /** the first file of each size is only opened when a second one comes */
  readonly #first = new Map<string, string>();
  #files = 0;
  #count = 0;

  get count(): number | undefined {
    return this.#files > MOST_COMPARED ? undefined : this.#count;
  }

  async add({ item: { source }, bytes, settings }: KnownItem): Promise<void> {
    if (source.kind !== 'file' || ++this.#files > MOST_COMPARED) return;
    const size = `${bytes} ${settings}`;
    if (this.#sizes.get(size) === undefined) {
      this.#sizes.set(size, 1);
      this.#first.set(size, source.path);
      return;
    }
    const first = this.#first.get(size);
    this.#first.delete(size);
    for (const path of first === undefined ? [source.path] : [first, source.path]) {
      const key = `${settings} ${await likeness(fsPath(path)).catch(() => path)}`;
      if (this.#known.get(key) === undefined) this.#known.set(key, 1);
      else this.#count += 1;
    }
  }
}
