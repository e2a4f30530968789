import { extname } from 'node:path';
import { FileMemo } from '../base/file-memo.ts';
import { probeMedia } from '../media/probe.ts';
import type { MediaProbe } from '../media/types.ts';
import type { CaptionRequest } from '../output/events.ts';

/** A probe is some hundred bytes. */
const PROBES_KEPT = 512;

/** What files hold, each looked at once: a server asks what a caption would cost, then for it, and clients send the same clip again. */
export class Probes {
  readonly #byPath = new FileMemo((path, signal) => probeMedia(path, { signal }), PROBES_KEPT);
  readonly #byContent = new Map<string, MediaProbe>();

  /** @throws AvocadoError as probeMedia; failures are not remembered */
  async get(
    { path, contentHash }: Pick<CaptionRequest, 'path' | 'contentHash'>,
    signal?: AbortSignal,
  ): Promise<MediaProbe> {
    // ffprobe's guess of a format listens to the name's extension too.
    const key = contentHash === undefined ? undefined : contentHash + extname(path);
    const known = key === undefined ? undefined : this.#byContent.get(key);
    const probe = known === undefined ? await this.#byPath.get(path, signal) : { ...known, path };
    if (key !== undefined) this.#keep(key, probe);
    return probe;
  }

  #keep(key: string, probe: MediaProbe): void {
    this.#byContent.delete(key);
    this.#byContent.set(key, probe);
    const oldest = this.#byContent.keys().next();
    if (this.#byContent.size > PROBES_KEPT && oldest.done !== true) this.#byContent.delete(oldest.value);
  }
}
