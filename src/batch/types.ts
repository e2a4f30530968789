// The words of this room: an item is one entry of the input, its work is what its caption depends on.
import type { ErrorCode } from '../base/errors.ts';
import type { Json } from '../output/caption-answer.ts';

/** A media file on this disk or behind an address. Paths are texts of path-text.ts, absolute. */
export type ItemSource =
  { readonly kind: 'file'; readonly path: string } | { readonly kind: 'url'; readonly url: string };

/** One entry of the input, as it was listed. */
export interface ListedItem {
  readonly source: ItemSource;
  /** caption options that a manifest gives for it, by their names of the HTTP API */
  readonly options: Readonly<Record<string, unknown>>;
  /** the name of its sidecars without their extension, where a manifest gives one */
  readonly output?: string | undefined;
  /** other fields of its manifest line; they come back with the result */
  readonly fields?: Readonly<Record<string, Json>> | undefined;
}

/** An entry that is no item: a line that cannot be read, a directory that may not be opened. */
export interface ListingFault {
  /** what it is, for people */
  readonly where: string;
  readonly code: ErrorCode;
  readonly message: string;
}

/** What makes a caption besides the media; each part is compared on its own, so that a change can be named. */
export interface WorkSettings {
  readonly model: string;
  readonly precision: string;
  readonly profile: string;
  readonly prompt: string;
  readonly sampling: string;
  readonly engine: string;
}

export const FORMATS = ['json', 'txt', 'md', 'vtt', 'srt', 'xmp'] as const;
export type Format = (typeof FORMATS)[number];

/** A sidecar as it was left on disk. */
export interface OutputRecord {
  /** size and times, to see a change without reading the file */
  readonly seen: string;
  /** SHA-256 of what was written; '' for a file that another program or a person wrote, which is kept */
  readonly sha256: string;
}

export interface ItemFailure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly attempts: number;
  /** it may succeed in a later run without a change */
  readonly passing: boolean;
}

/** What is known of an item; the last record of a key counts. */
export interface ItemRecord {
  /** where its sidecars go: unique in a library */
  readonly key: string;
  /** identity and times of the media file when its bytes were hashed; '' = unknown */
  readonly seen: string;
  /** SHA-256 of the media; '' = could not be read */
  readonly content: string;
  /** hash of the WorkSettings */
  readonly settings: string;
  /** its line in the results file: first byte and length; undefined for a failure */
  readonly line?: readonly [at: number, bytes: number] | undefined;
  readonly outputs?: Readonly<Partial<Record<Format, OutputRecord>>> | undefined;
  readonly failure?: ItemFailure | undefined;
  /** ms since 1970 */
  readonly atMs: number;
}

/** The fields of a line of the results file that describe its item. */
export interface ResultHead {
  readonly key: string;
  /** relative to the library's root where it is inside, else absolute; or the address without its query */
  readonly path: string;
  /** what was done: the hash of `content` and `settings` */
  readonly id: string;
  readonly content: string;
  readonly settings: string;
  /** key of the item with the same bytes that was captioned for it */
  readonly duplicate_of?: string;
  readonly captioned_at: string;
  /** of its manifest line */
  readonly fields?: Readonly<Record<string, Json>> | undefined;
}

/** One line of the results file: the item, and its answer as over HTTP. */
export interface ResultLine extends ResultHead {
  readonly caption: string;
  readonly [field: string]: Json | undefined;
}
