// What the job queue needs of this server: the caption of one item, made beside the requests of clients; how many may
// be made at a time; and the database that the settings name.
import { hash } from 'node:crypto';
import { AvocadoError } from '../base/errors.ts';
import { contentHash } from '../base/file-memo.ts';
import { modelIdentity, settingsHash, workSettings, type ModelIdentity } from '../batch/identity.ts';
import type { Captioner } from '../captioner/captioner.ts';
import { mergeIdentity } from '../captioner/merge.ts';
import type { StoredFiles } from '../intake/intake.ts';
import type { LocalFile, MediaSource } from '../intake/media-source.ts';
import { requestId } from '../jobs/item-lines.ts';
import { Jobs } from '../jobs/jobs.ts';
import { bodyOf } from '../jobs/read-input.ts';
import type { Execute } from '../jobs/runner.ts';
import { WorkElsewhere } from '../jobs/same-work.ts';
import { hasEmbedded, openEmbedded, openPostgres } from '../jobs/store/database.ts';
import type { Answer, Claim } from '../jobs/types.ts';
import type { Send } from '../jobs/webhooks.ts';
import type { CaptionTask } from '../admission/types.ts';
import { readChatRequest } from '../openai/chat-request.ts';
import { checkModel } from '../openai/model-card.ts';
import { captionAnswer, type Json } from '../output/caption-answer.ts';
import type { CaptionEnding } from '../output/ending.ts';
import type { CaptionEnd } from '../output/events.ts';
import { captionEnd, readEvents, type CaptionParts } from './caption-route.ts';
import { openJobs } from './job-route.ts';
import { chatAnswer, chatTask, withClientNames } from './routes/chat.ts';
import { readJson } from './wire/caption-body.ts';
import { asServerError, errorBody } from './wire/error-reply.ts';

/** After a client's request, a slot is kept free for the next one for so long. */
const CLIENTS_MS = 60_000;

/** What of a served model makes its captions. */
export interface ServedIdentity {
  readonly identity: ModelIdentity;
  /** a hash of it */
  readonly fingerprint: string;
}

/** Read when it is first asked for; undefined where the model's files cannot be read. */
export type AskIdentity = () => Promise<ServedIdentity | undefined>;

/** @param mergeModel the text model that merges segments */
export function servedIdentity(
  { model }: Pick<Captioner, 'model'>,
  version: string,
  mergeModel: string | undefined,
): AskIdentity {
  const merges = mergeModel === undefined ? {} : { merge: mergeIdentity(mergeModel) };
  let asked: Promise<ServedIdentity | undefined> | undefined;
  return () =>
    (asked ??= modelIdentity(model, version).then(
      (found) => {
        const identity = { ...found, ...merges };
        return { identity, fingerprint: hash('sha256', JSON.stringify(identity)).slice(0, 16) };
      },
      () => undefined,
    ));
}

interface ItemRequest {
  readonly task: CaptionTask;
  /** what its answer depends on besides the caption */
  readonly shape: string;
  /** names an error's field as the client calls it */
  readonly named: (ending: CaptionEnding) => CaptionEnding;
  readonly answer: (end: CaptionEnd, facts: WorkFacts) => object;
}

/** What is known of an item's work when its file is here. */
interface WorkFacts {
  /** SHA-256 of the file */
  readonly content?: string | undefined;
  /** of the served model */
  readonly fingerprint?: string | undefined;
}

/** @throws AvocadoError for a body that the route would refuse */
function itemRequest(claim: Claim, parts: CaptionParts): ItemRequest {
  const body = bodyOf(claim.payload, claim.options);
  const { model } = parts.captioner;
  const id = requestId(claim);
  const request = { headers: {}, body };
  if (claim.endpoint === '/v1/captions') {
    const { task, tokenIds } = readJson(request, parts, claim.owner);
    return {
      task,
      shape: `captions ${tokenIds}`,
      named: (event) => event,
      answer: (end, facts) => ({ id, ...captionAnswer(end, model.name, { tokenIds }), ...facts }),
    };
  }
  const chat = readChatRequest(body);
  checkModel(chat.model, model);
  return {
    task: chatTask(chat, request, parts, claim.owner),
    shape: 'chat',
    named: (event) => withClientNames(event, chat),
    answer: (end) => chatAnswer(end, id, model),
  };
}

/** The caption of one item, with the priority of batches. */
function executor(parts: CaptionParts, askIdentity: AskIdentity): Execute {
  const { service, metrics } = parts;
  return async (claim, signal, once): Promise<Answer> => {
    const observation = metrics.observe();
    const admitted = service.admit(requestId(claim), { owner: claim.owner, background: true });
    const onAbort = (): void => {
      admitted.abort();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    let source: MediaSource | undefined;
    try {
      signal.throwIfAborted();
      const asked = itemRequest(claim, parts);
      source = asked.task.source;
      const { file, facts, work } = await lookAt(asked, await askIdentity(), admitted.signal);
      const make = async (): Promise<Answer> => {
        const { task, named, answer } = asked;
        const batch: CaptionTask = {
          ...task,
          source: { ...task.source, open: () => Promise.resolve(file) },
          request: { ...task.request, priority: 'batch' },
        };
        observation.begin(batch);
        const end = captionEnd(named(await readEvents(admitted.run(batch), observation)), admitted.signal);
        const { promptTokens, completionTokens } = end.usage;
        const body = answer(end, facts) as Readonly<Record<string, Json>>;
        return { body, promptTokens, completionTokens, mediaSeconds: end.media.durationSeconds };
      };
      return await (work === undefined ? make() : once(work, make));
    } catch (thrown) {
      const error = asServerError(thrown);
      if (!(error instanceof WorkElsewhere)) observation.fail(error.code);
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
      admitted.end();
      await source?.release();
    }
  };
}

/**
 * Brings the file here, and tells what the item's work is: its bytes, and how they are captioned. No `work` where the
 * model or the file cannot be read, and where another try at the same gives another caption.
 */
async function lookAt(
  { task: { source, request }, shape }: ItemRequest,
  served: ServedIdentity | undefined,
  signal: AbortSignal,
): Promise<{ readonly file: LocalFile; readonly facts: WorkFacts; readonly work: string | undefined }> {
  const opened = await source.open({ signal });
  const content =
    opened.contentHash ??
    (await contentHash(opened.path, signal).catch(() => {
      signal.throwIfAborted();
      return undefined; // whoever captions it knows the sentence for it
    }));
  const file = { ...opened, contentHash: content };
  const facts = { content, fingerprint: served?.fingerprint };
  const { temperature, seed } = request.sampling;
  const isRandom = temperature > 0 && seed === undefined;
  if (content === undefined || served === undefined || isRandom) return { file, facts, work: undefined };
  const settings = settingsHash(workSettings({ ...request, path: '' }, served.identity));
  return { file, facts, work: hash('sha256', JSON.stringify([content, settings, shape])) };
}

/** Media that clients uploaded at /v1/files, named by their ids. */
export function storedFiles(jobs: () => Jobs | undefined): StoredFiles {
  return {
    open: async (id, owner) => {
      const { files } = await openJobs({ jobs: jobs() });
      const file = await files.find(id, owner);
      if (file?.job !== null) throw new AvocadoError('media_not_found', `There is no file ${id}.`);
      return { name: file.filename, chunks: files.read(id) };
    },
  };
}

/**
 * How many items of jobs may be in work. A slot is kept for clients while there are any: a request that finds all slots
 * taken takes one from an item, whose prompt must then be read again.
 */
export function itemCapacity(
  { captioner, service, config }: Pick<CaptionParts, 'captioner' | 'service' | 'config'>,
  nowMs = performance.now(),
): number {
  const { slots } = captioner.model;
  if (captioner.status().state !== 'ready' || service.stats().stopping) return 0;
  if (config.jobSlots !== undefined) return config.jobSlots;
  const isAlone = nowMs - service.stats().clientMs > CLIENTS_MS;
  return isAlone ? slots + 1 : Math.max(1, slots - 1);
}

/** @returns undefined where the settings name neither a database nor a directory */
export function createJobs(
  parts: CaptionParts,
  askIdentity: AskIdentity,
  onFault: (error: AvocadoError) => void,
): Jobs | undefined {
  const { config, metrics, intake } = parts;
  const { databaseUrl, jobsDirectory, webhookSecret } = config;
  const shared = {
    execute: executor(parts, askIdentity),
    capacity: () => itemCapacity(parts),
    errorBody,
    leaseSeconds: config.jobLeaseSeconds,
    webhooks:
      webhookSecret === undefined
        ? undefined
        : { send: ((...message) => intake.send(...message)) satisfies Send, secret: webhookSecret },
    onCommitted: metrics.committed,
    onSuperseded: metrics.superseded,
    onFault,
  };
  if (databaseUrl !== undefined)
    return new Jobs({ ...shared, openDatabase: () => openPostgres(databaseUrl), isAlone: false, isEager: true });
  if (jobsDirectory === undefined) return undefined;
  const isEager = hasEmbedded(jobsDirectory);
  return new Jobs({ ...shared, openDatabase: () => openEmbedded(jobsDirectory), isAlone: true, isEager });
}
