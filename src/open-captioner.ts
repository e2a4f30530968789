import { caption } from './caption.ts';
import type { Captioner } from './captioner.ts';
import { openModel, type OpenOptions } from './open-model.ts';
import { resolveProfile } from './media/profile.ts';
import { profileLabel } from './plan-request.ts';

export type { OpenOptions };

/** Opens a model in this process as a Captioner: what the doors talk to. A captioner in another process has the same face. */
export async function openCaptioner(options: OpenOptions): Promise<Captioner> {
  const model = await openModel(options);
  const { description, decoder } = model.thinker;
  return {
    caption: (request, signal) => caption(request, model, signal),
    model: {
      name: model.package.name,
      directory: model.config.directory,
      precision: model.precision,
      device: model.device,
      runtime: `${description['runtime'] ?? ''} ${description['version'] ?? ''}`.trim(),
      context: model.context,
      slots: decoder.slots,
      profile: profileLabel(resolveProfile(undefined, {}, model.package.profile)),
    },
    stats: () => ({ ...model.engine.stats(), slots: decoder.slots }),
    close: () => model.close(),
  };
}
