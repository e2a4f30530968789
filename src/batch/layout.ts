// Where a library keeps what, and what its items are called. Pure.
import { hash } from 'node:crypto';
import { basename, dirname, extname, isAbsolute, join, relative, resolve } from 'node:path';
import { AvocadoError } from '../base/errors.ts';
import { parseUrl, redactedUrl } from '../intake/url-policy.ts';
import { shownPath } from './path-text.ts';
import type { Format, ListedItem } from './types.ts';

export interface LayoutOptions {
  /** paths in results are relative to it */
  readonly root: string;
  /** where results and sidecars go; undefined: results into the root, sidecars beside the media */
  readonly out: string | undefined;
  /** `clip.vtt` instead of `clip.mp4.vtt` */
  readonly shortNames: boolean;
}

/** What an item is called. */
export interface ItemNames {
  /** unique in the library: where its sidecars go, relative to the results where it is inside */
  readonly key: string;
  /** the sidecars' path without `.json` */
  readonly stem: string;
  /** as results name it */
  readonly path: string;
}

export class Layout {
  /** where the results file and the state are */
  readonly base: string;
  readonly state: string;
  readonly results: string;
  readonly failures: string;
  /** captions of segments of items that are in work */
  readonly segments: string;
  readonly #options: LayoutOptions;

  constructor(options: LayoutOptions) {
    this.#options = options;
    this.base = options.out ?? options.root;
    this.state = join(this.base, '.avocado');
    this.results = join(this.base, 'captions.jsonl');
    this.failures = join(this.state, 'failures.jsonl');
    this.segments = join(this.state, 'segments');
  }

  /** @throws AvocadoError `bad_request` for an output outside of --out, or an address without --out */
  namesOf(item: ListedItem): ItemNames {
    const stem = this.#stemOf(item);
    const { source } = item;
    const path = source.kind === 'url' ? shownUrl(source.url) : within(this.#options.root, source.path);
    return { key: within(this.base, stem), stem, path };
  }

  sidecar(stem: string, format: Format): string {
    if (!this.#options.shortNames || format === 'xmp') return `${stem}.${format}`;
    return `${join(dirname(stem), basename(stem, extname(stem)))}.${format}`;
  }

  #stemOf({ source, output }: ListedItem): string {
    const { out, root } = this.#options;
    if (output !== undefined) {
      const stem = resolve(this.base, output);
      if (within(this.base, stem) !== stem && stem !== this.base) return stem;
      throw new AvocadoError('bad_request', `The output ${shownPath(output)} is not inside ${shownPath(this.base)}.`);
    }
    if (source.kind === 'url') {
      if (out === undefined)
        throw new AvocadoError('bad_request', 'Sidecars of an address need a place: give --out DIR.', { param: 'out' });
      return join(out, urlStem(source.url));
    }
    if (out === undefined) return source.path;
    const inside = within(root, source.path);
    return join(out, isAbsolute(inside) ? inside.slice(1) : inside);
  }
}

/** A path relative to a directory where it is inside, else the path itself. */
function within(directory: string, path: string): string {
  const inside = relative(directory, path);
  return inside === '' || inside === '..' || inside.startsWith('../') || isAbsolute(inside) ? path : inside;
}

/** Without credentials and query, which may hold a signature. */
function shownUrl(url: string): string {
  const parsed = parseUrl(url);
  return parsed === undefined ? shownPath(url) : redactedUrl(parsed);
}

/** A path for an address: its host and path, and a hash of the query where there is one. */
function urlStem(url: string): string {
  const parsed = parseUrl(url);
  if (parsed === undefined) return join('addresses', hash('sha256', url).slice(0, 16));
  const { host, pathname, search } = parsed;
  const segments = [host, ...pathname.split('/')].filter((segment) => !['', '.', '..'].includes(segment));
  const plain = segments.map((segment) => segment.replaceAll(/[^\w.%~+@=,-]/g, '_'));
  const path = plain.join('/');
  if (path.length < 200 && search === '' && plain.length > 1) return path;
  return `${path.slice(0, 180)}-${hash('sha256', url).slice(0, 8)}`;
}
