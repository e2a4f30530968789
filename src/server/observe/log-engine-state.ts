import type { FastifyInstance } from 'fastify';
import type { Captioner, CaptionerState } from '../../captioner/captioner.ts';

const OFTEN_MS = 250;

/** Puts into the log what becomes of the engine: people look there first. */
export function watchEngine(app: FastifyInstance, captioner: Captioner): void {
  let before: CaptionerState = captioner.status().state;
  const timer = setInterval(() => {
    const { state, text, restarts, pid } = captioner.status();
    if (state === before) return;
    before = state;
    app.log[state === 'ready' ? 'info' : 'warn']({ state, text, restarts, engine_pid: pid }, 'engine');
  }, OFTEN_MS).unref();
  app.addHook('onClose', () => {
    clearInterval(timer);
  });
}
