// Tells the ends of jobs to their webhooks: signed as https://www.standardwebhooks.com says, until it is answered.
import { createHmac } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from './store/database.ts';

/** Sends a body to an address that clients gave. @returns the status of the answer @throws AvocadoError */
export type Send = (
  url: string,
  headers: Readonly<Record<string, string>>,
  body: string,
  signal: AbortSignal,
) => Promise<number>;

interface Delivery {
  readonly id: string;
  readonly job: string;
  readonly url: string;
  /** as the address has it, with its port */
  readonly host: string;
  readonly owner: string;
  readonly type: string;
  readonly attempts: number;
  readonly created_at: number;
  readonly kind: string;
  readonly total: number;
  readonly completed: number;
  readonly failed: number;
}

/** Pauses after each failed try, in seconds; after the last one it is given up. */
const PAUSES = [5, 60, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600];
/** On their way at the same time. */
const AT_ONCE = 64;
/** Of them to one host: one that does not answer does not hold up the others. */
const AT_ONCE_PER_HOST = 4;
/** Of them of one owner: nothing limits the names of hosts that one has. */
const AT_ONCE_PER_OWNER = AT_ONCE / 2;
/** Beside messages on their way, the database is asked so often what is due. */
const DUE_MS = 2000;
/** Another server tries again what one took and did not end. */
const LEASE_SECONDS = 120;
/** The host of an address, in SQL. */
const HOST = `lower(split_part(url, '/', 3))`;
/** The receiver wants no more. */
const GONE = 410;

/** Standard Webhooks: `whsec_` and base64; any other text counts as it is. */
function keyBytes(secret: string): Buffer {
  return secret.startsWith('whsec_') ? Buffer.from(secret.slice('whsec_'.length), 'base64') : Buffer.from(secret);
}

/** The headers of one message. @param seconds since 1970, of this try */
export function signatureHeaders(secret: string, id: string, seconds: number, body: string): Record<string, string> {
  const signature = createHmac('sha256', keyBytes(secret)).update(`${id}.${seconds}.${body}`).digest('base64');
  return {
    'webhook-id': id,
    'webhook-timestamp': String(seconds),
    'webhook-signature': `v1,${signature}`,
    'content-type': 'application/json',
  };
}

function bodyOf({ id, type, created_at: created, job, kind, total, completed, failed }: Delivery): string {
  const counts = { total, completed, failed };
  const status = type.split('.')[1]; // that of the message: by now failed items may be tried again
  const data = kind === 'batch' ? { id: job } : { id: job, status, request_counts: counts };
  return JSON.stringify({ object: 'event', id, type, created_at: Math.floor(created), data });
}

/** Those that have as many messages on their way as they may. @param names one for each message */
function full(names: readonly string[], most: number): string[] {
  const count = (name: string): number => names.filter((other) => other === name).length;
  return [...new Set(names)].filter((name) => count(name) >= most);
}

export interface WebhookParts {
  readonly send: Send;
  readonly secret: string;
  /** told of a message that nobody took */
  readonly onGivenUp: (sentence: string) => void;
}

export class Webhooks {
  readonly #database: Database;
  readonly #parts: WebhookParts;

  constructor(database: Database, parts: WebhookParts) {
    this.#database = database;
    this.#parts = parts;
  }

  /**
   * Sends what is due, and what becomes due while messages are on their way. Each goes its own way: a slow receiver
   * holds up no other.
   * @param signal ends it: what nobody has answered by then is due at once, for the next server
   */
  async deliver(signal: AbortSignal): Promise<void> {
    const sending = new Map<Promise<void>, Delivery>();
    const faults: unknown[] = [];
    const start = (delivery: Delivery): void => {
      const sent: Promise<void> = this.#deliver(delivery, signal)
        .catch((thrown: unknown) => void faults.push(thrown))
        .finally(() => sending.delete(sent));
      sending.set(sent, delivery);
    };
    try {
      while (!signal.aborted && faults.length === 0) {
        const next = sending.size < AT_ONCE ? await this.#take([...sending.values()]) : undefined;
        if (next !== undefined) start(next);
        else if (sending.size === 0) break;
        else await Promise.race([...sending.keys(), sleep(DUE_MS, undefined, { ref: false })]);
      }
    } finally {
      await Promise.all(sending.keys());
    }
    if (faults.length > 0) throw faults[0];
  }

  /** What has been due for longest, of the hosts and owners that may have more on their way. */
  async #take(sending: readonly Delivery[]): Promise<Delivery | undefined> {
    const [due] = await this.#database.query<Delivery>(
      `update avocado.deliveries d set attempts = d.attempts + 1, next_at = now() + ${LEASE_SECONDS} * interval '1 second'
       from avocado.jobs j where j.id = d.job and d.id = (select e.id from avocado.deliveries e join avocado.jobs o on o.id = e.job
         where delivered_at is null and gave_up_at is null and next_at <= now() and ${HOST} <> all($1::text[])
           and o.owner <> all($2::text[]) order by next_at limit 1 for update of e skip locked)
       returning d.id, d.job, d.url, ${HOST} as host, j.owner, d.type, d.attempts,
         extract(epoch from d.created_at)::float8 as created_at, j.kind, j.total, j.completed, j.failed`,
      [
        full(
          sending.map(({ host }) => host),
          AT_ONCE_PER_HOST,
        ),
        full(
          sending.map(({ owner }) => owner),
          AT_ONCE_PER_OWNER,
        ),
      ],
    );
    return due;
  }

  async #deliver(delivery: Delivery, signal: AbortSignal): Promise<void> {
    const { id, url, attempts } = delivery;
    const body = bodyOf(delivery);
    let problem: string;
    let isOver = false;
    try {
      const { send, secret } = this.#parts;
      const status = await send(url, signatureHeaders(secret, id, Math.floor(Date.now() / 1000), body), body, signal);
      if (status >= 200 && status < 300) {
        await this.#database.query(`update avocado.deliveries set delivered_at = now(), error = null where id = $1`, [
          id,
        ]);
        return;
      }
      problem = `status ${status}`;
      isOver = status === GONE;
    } catch (thrown) {
      if (signal.aborted) {
        await this.#database.query(
          'update avocado.deliveries set attempts = attempts - 1, next_at = now() where id = $1',
          [id],
        );
        return;
      }
      problem = thrown instanceof Error ? thrown.message : String(thrown);
    }
    const pause = isOver ? undefined : PAUSES[attempts - 1];
    // Receivers that were away at the same time do not get everything at the same moment.
    const seconds = (pause ?? 0) * (1 + Math.random() / 10);
    await this.#database.query(
      `update avocado.deliveries set error = $2, next_at = now() + $3 * interval '1 second',
         gave_up_at = case when $4 then now() end where id = $1`,
      [id, problem.slice(0, 500), seconds, pause === undefined],
    );
    if (pause !== undefined) return;
    const times = attempts === 1 ? 'once' : `${attempts} times`;
    this.#parts.onGivenUp(`The message ${id} to ${new URL(url).host} was tried ${times} and is given up: ${problem}.`);
  }
}
