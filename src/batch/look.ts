// A listed item beside what is known of it: what it is called, how it is captioned, and what is to be done.
import { stat } from 'node:fs/promises';
import { AvocadoError, asAvocadoError } from '../base/errors.ts';
import { captionRequest, type CaptionOptions } from '../captioner/caption-options.ts';
import type { CaptionRequest } from '../output/events.ts';
import { decide, type Decision, type DecideInput } from './decide.ts';
import { settingsHash, workSettings, type ModelIdentity } from './identity.ts';
import type { Listed } from './inputs.ts';
import { sourceName } from './inputs.ts';
import { KeyTable } from './key-table.ts';
import type { ItemNames, Layout } from './layout.ts';
import type { LibraryStore } from './library-store.ts';
import { fsPath } from './path-text.ts';
import { missingSidecars, seenOf, sidecarPaths } from './sidecars.ts';
import type { Format, ItemRecord, ListedItem, ListingFault, WorkSettings } from './types.ts';

/** An item, ready to be worked on. */
export interface KnownItem {
  readonly item: ListedItem;
  readonly names: ItemNames;
  /** its `path` is not set yet */
  readonly request: CaptionRequest;
  readonly settings: string;
  readonly parts: WorkSettings;
  /** of the file now; undefined: it cannot be looked at */
  readonly seen: string | undefined;
  /** a file with bytes that may be read: no directory, no pipe */
  readonly isReadable: boolean;
  readonly bytes: number;
  readonly record: ItemRecord | undefined;
  readonly decision: Decision;
}

/** What a listed entry turned out to be. */
export type Looked =
  | { readonly kind: 'item'; readonly known: KnownItem }
  | { readonly kind: 'fault'; readonly fault: ListingFault }
  /** the same file with the same options was listed before */
  | { readonly kind: 'repeated' };

export interface LookOptions {
  readonly store: LibraryStore;
  readonly layout: Layout;
  readonly identity: ModelIdentity;
  readonly formats: readonly Format[];
  /** of the command line; a manifest's own come first */
  readonly options: CaptionOptions;
  readonly retryFailed: DecideInput['retryFailed'];
}

type ItemSettings = Pick<KnownItem, 'request' | 'settings' | 'parts'>;

/** A file behind an address is fetched once: whether it has changed is not asked. */
const ADDRESS_SEEN = 'address';
/** Settings of so many different manifest lines are hashed once. */
const REMEMBERED = 1000;

export class Looker {
  readonly #options: LookOptions;
  readonly #listed = new KeyTable();
  readonly #settings = new Map<string, ItemSettings>();

  constructor(options: LookOptions) {
    this.#options = options;
  }

  /** Never rejects. Calls may overlap; of entries with one name the first call counts. */
  async look(listed: Listed): Promise<Looked> {
    if ('fault' in listed) return { kind: 'fault', fault: listed.fault };
    const { item } = listed;
    try {
      const names = this.#options.layout.namesOf(item);
      const { request, settings, parts } = this.#settingsOf(item);
      const mark = Number.parseInt(settings.slice(0, 12), 16);
      const before = this.#listed.get(names.key);
      if (before === mark) return { kind: 'repeated' };
      if (before !== undefined) throw sameOutput(names);
      this.#listed.set(names.key, mark);
      return { kind: 'item', known: await this.#known({ item, names, request, settings, parts }) };
    } catch (thrown) {
      const { code, message } = asAvocadoError(thrown);
      return { kind: 'fault', fault: { where: sourceName(item), code, message } };
    }
  }

  /** The item as it is now. */
  async again({ item, names, request, settings, parts }: KnownItem): Promise<KnownItem> {
    return await this.#known({ item, names, request, settings, parts });
  }

  async #known(facts: Pick<KnownItem, 'item' | 'names' | 'request' | 'settings' | 'parts'>): Promise<KnownItem> {
    const { store, layout, formats, retryFailed } = this.#options;
    const { names, settings, parts } = facts;
    const file = await fileFacts(facts.item);
    const record = store.item(names.key);
    const missing =
      record?.line === undefined ? [] : await missingSidecars(record, formats, sidecarPaths(layout, names.stem));
    const recordSettings = record === undefined ? undefined : store.settingsOf(record.settings);
    const decision = decide({ record, recordSettings, seen: file.seen, settings, parts, missing, retryFailed });
    return { ...facts, ...file, record, decision };
  }

  /** Most items have the same options, and checking them takes longer than all else that is done here. */
  #settingsOf({ options }: ListedItem): ItemSettings {
    const key = JSON.stringify(options);
    const known = this.#settings.get(key);
    if (known !== undefined) return known;
    const request = this.#requestOf(options);
    const parts = workSettings(request, this.#options.identity);
    const found = { request, parts, settings: settingsHash(parts) };
    if (this.#settings.size >= REMEMBERED) this.#settings.clear();
    this.#settings.set(key, found);
    return found;
  }

  #requestOf(options: ListedItem['options']): CaptionRequest {
    const given: Record<string, unknown> = { ...this.#options.options, ...options };
    // A manifest's prompt takes the place of the command line's, however that is given.
    if (options['prompt'] !== undefined && options['prompt_id'] === undefined) delete given['prompt_id'];
    if (options['prompt_id'] !== undefined && options['prompt'] === undefined) delete given['prompt'];
    const request = captionRequest('', given);
    refuseFormats(request.samples, this.#options.formats);
    return { ...request, priority: 'batch' };
  }
}

async function fileFacts({ source }: ListedItem): Promise<Pick<KnownItem, 'seen' | 'isReadable' | 'bytes'>> {
  if (source.kind === 'url') return { seen: ADDRESS_SEEN, isReadable: true, bytes: 0 };
  const found = await stat(fsPath(source.path), { bigint: true }).catch(() => undefined);
  if (found === undefined) return { seen: undefined, isReadable: false, bytes: 0 };
  return { seen: seenOf(found), isReadable: found.isFile() && found.size > 0n, bytes: Number(found.size) };
}

/** @throws AvocadoError `bad_request` for sidecars in which only the first of several captions would be */
export function refuseFormats(captions: number, formats: readonly Format[]): void {
  const single = formats.find((format) => format !== 'json');
  if (captions > 1 && single !== undefined)
    throw new AvocadoError(
      'bad_request',
      `A sidecar of the format ${single} has room for one caption, not for ${captions}: leave out n, or choose json.`,
      { param: 'format' },
    );
}

function sameOutput({ key }: ItemNames): AvocadoError {
  return new AvocadoError(
    'bad_request',
    `Another entry with other options has the same sidecars (${key}). Give each an output of its own in the manifest.`,
  );
}

/** Calls `use` for each of a stream, `width` at a time; results come in order. `use` must not reject. */
export async function* mapAhead<From, To>(
  source: AsyncIterable<From>,
  use: (one: From) => Promise<To>,
  width: number,
): AsyncGenerator<To> {
  const running: Promise<To>[] = [];
  for await (const one of source) {
    running.push(use(one));
    const first = running.length >= width ? running.shift() : undefined;
    if (first !== undefined) yield await first;
  }
  for (const rest of running) yield await rest;
}
