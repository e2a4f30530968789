import { caption } from './pipeline.ts';
import type { Captioner, CaptionerModel, CaptionerStats } from './captioner.ts';
import { estimate } from './estimate.ts';
import { openModel, type OpenOptions } from './open-model.ts';
import { resolveProfile } from '../media/profile.ts';
import { profileLabel } from './plan-request.ts';
import { captionerContext, type CaptionerContext } from './captioner-context.ts';

export type { OpenOptions };

export interface CaptionerOptions extends OpenOptions {
  /** of encoded clips kept for the next request about them; undefined or 0 = none */
  readonly mediaCacheBytes?: number | undefined;
}

/** Opens a model in this process as a Captioner: what the doors talk to. A captioner in another process has the same face. */
export async function openCaptioner(options: CaptionerOptions): Promise<Captioner> {
  const { mediaCacheBytes = 0, prefixSlots = 0 } = options;
  const model = captionerContext(await openModel(options), { mediaCacheBytes, prefixSlots });
  let closed = false;
  return {
    caption: (request, signal) => caption(request, model, signal),
    estimate: (request, signal) => estimate(request, model, signal),
    model: describe(model),
    status: () => ({
      state: closed ? 'stopped' : 'ready',
      text: closed ? 'The captioner was closed.' : '',
      done: 1,
      total: 1,
      restarts: 0,
      pid: undefined,
    }),
    stats: () => statsOf(model),
    close: async () => {
      closed = true;
      await model.close();
    },
  };
}

function describe(model: CaptionerContext): CaptionerModel {
  const { description, decoder } = model.thinker;
  return {
    name: model.package.name,
    directory: model.config.directory,
    precision: model.precision,
    device: model.device,
    runtime: `${description['runtime'] ?? ''} ${description['version'] ?? ''}`.trim(),
    context: model.context,
    slots: decoder.slots,
    profile: profileLabel(resolveProfile(undefined, {}, model.package.profile)),
  };
}

function statsOf({ engine, media, thinker, towers }: CaptionerContext): CaptionerStats {
  const { prefixHits, prefixMisses, progress, ...numbers } = engine.stats();
  return {
    ...numbers,
    slots: thinker.decoder.slots,
    busy: towers.busy || numbers.waiting + numbers.running > 0,
    progress: progress + towers.finished,
    caches: { media: media.counts(), prefix: { hits: prefixHits, misses: prefixMisses } },
  };
}
