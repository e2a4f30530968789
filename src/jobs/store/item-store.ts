// Items of jobs in SQL. An item is run at least once and committed exactly once: a claim raises its token, and only the
// holder of the highest token can commit it, once, in the statement that also counts it.
import type { Claim, ItemRow, ItemState, JobKind, NewItem, Outcome } from '../types.ts';
import type { Database } from './database.ts';

const CLAIM = `i.job, i.n, i.token, i.custom_id, i.media, i.payload, i.attempts, i.deaths,
  j.kind, j.owner, j.endpoint, j.options`;

/** An item that was running at so many deaths of the engine is run alone, to see whether it is the cause. */
export const SUSPECT_DEATHS = 2;

interface ItemLine {
  readonly n: number;
  readonly line: string;
}

export interface ItemPage {
  readonly job: string;
  readonly state: ItemState | undefined;
  /** number of the last one of the page before; -1 = none */
  readonly after: number;
  readonly limit: number;
}

/** Another item of the same owner with the same work; `line` is empty while it is in work. */
export interface SameWorkItem {
  readonly job: string;
  readonly n: number;
  readonly kind: JobKind;
  readonly line: string | null;
}

export class ItemStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async list({ job, state, after, limit }: ItemPage): Promise<readonly ItemRow[]> {
    return await this.#database.query<ItemRow>(
      `select n, custom_id, media, state, attempts, code, message, extract(epoch from finished_at)::float8 as finished_at
       from avocado.items where job = $1 and n > $2 and ($3::text is null or state = $3) order by n limit $4`,
      [job, after, state ?? null, limit],
    );
  }

  /** Lines of the results, in the order of the items. */
  async lines(job: string, states: readonly ItemState[], after: number, limit: number): Promise<readonly ItemLine[]> {
    return await this.#database.query(
      `select n, line from avocado.items where job = $1 and n > $2 and state = any($3::text[]) and line is not null
       order by n limit $4`,
      [job, after, states, limit],
    );
  }

  /** Lines of some items, as far as they have one. */
  async linesOf(job: string, numbers: readonly number[]): Promise<readonly ItemLine[]> {
    return await this.#database.query(
      'select n, line from avocado.items where job = $1 and n = any($2::int[]) and line is not null order by n',
      [job, numbers],
    );
  }

  /** @returns false when the job is no longer this reader's */
  async insert(job: string, reader: string, leaseSeconds: number, items: readonly NewItem[]): Promise<boolean> {
    const held = await this.#database.query(
      `update avocado.jobs set reader_until = now() + $3 * interval '1 second'
       where id = $1 and reader = $2 and status = 'validating' returning id`,
      [job, reader, leaseSeconds],
    );
    if (held.length === 0) return false;
    const of = <T>(read: (item: NewItem) => T): T[] => items.map(read);
    await this.#database.query(
      `insert into avocado.items (job, n, custom_id, media, payload, state, code, message, line, finished_at)
       select $1, n, custom_id, media, payload, case code when '' then 'ready' else 'failed' end, nullif(code, ''),
         nullif(message, ''), nullif(line, ''), case code when '' then null else now() end
       from unnest($2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
         as given (n, custom_id, media, payload, code, message, line)
       on conflict do nothing`,
      [
        ...[job, of(({ n }) => n), of(({ customId }) => customId), of(({ media }) => media)],
        ...[of(({ payload }) => payload), of(({ error }) => error?.code ?? '')],
        ...[of(({ error }) => error?.message ?? ''), of(faultLine)],
      ],
    );
    return true;
  }

  /** Takes ready items of a job. @param suspects those that may have killed the engine, or those that have not */
  async claim(
    job: string,
    runner: string,
    {
      limit,
      leaseSeconds,
      suspects,
    }: { readonly limit: number; readonly leaseSeconds: number; readonly suspects: boolean },
  ): Promise<readonly Claim[]> {
    return await this.#database.query<Claim>(
      `with picked as (select job, n from avocado.items where job = $1 and state = 'ready' and not_before <= now()
         and (deaths >= ${SUSPECT_DEATHS}) = $5 order by not_before, n limit $2 for update skip locked)
       update avocado.items i set state = 'running', token = i.token + 1, runner = $3,
         lease_until = now() + $4 * interval '1 second'
       from picked p, avocado.jobs j
       where i.job = p.job and i.n = p.n and j.id = i.job and j.status = 'in_progress' returning ${CLAIM}`,
      [job, limit, runner, leaseSeconds, suspects],
    );
  }

  /**
   * Keeps what a runner has in work, and nothing else: what it had to drop while the database was away is free when its
   * lease ends. @returns what it still has, with the status of its job
   */
  async renew(
    runner: string,
    leaseSeconds: number,
    claims: readonly Claim[],
  ): Promise<readonly { readonly job: string; readonly n: number; readonly token: number; readonly status: string }[]> {
    return await this.#database.query(
      `update avocado.items i set lease_until = now() + $2 * interval '1 second'
       from unnest($3::text[], $4::int[], $5::int[]) as held (job, n, token), avocado.jobs j
       where i.job = held.job and i.n = held.n and i.token = held.token and j.id = i.job
         and i.state = 'running' and i.runner = $1 returning i.job, i.n, i.token, j.status`,
      [
        ...[runner, leaseSeconds, claims.map(({ job }) => job)],
        ...[claims.map(({ n }) => n), claims.map(({ token }) => token)],
      ],
    );
  }

  /**
   * Notes what an item in work is about, and looks for another one about the same: captioned, or else in work with a
   * lower number, so that of two that look at the same time only one waits.
   */
  async sameWork({ job, n, token, owner }: Claim, work: string): Promise<SameWorkItem | undefined> {
    await this.#database.query(
      `update avocado.items set work = $4 where job = $1 and n = $2 and token = $3 and state = 'running'`,
      [job, n, token, work],
    );
    const found = await this.#database.query<SameWorkItem>(
      `select i.job, i.n, j.kind, i.line from avocado.items i join avocado.jobs j on j.id = i.job
       where i.work = $1 and j.owner = $2 and (i.job, i.n) <> ($3, $4) and (i.state = 'completed' or
         (i.state = 'running' and i.lease_until > now() and (i.job, i.n) < ($3, $4)))
       order by i.state limit 1`,
      [work, owner, job, n],
    );
    return found[0];
  }

  /** @returns false when somebody else has the item by now, or has committed it: then nothing has changed */
  async commit({ job, n, token }: Claim, attempts: number, outcome: Outcome): Promise<boolean> {
    const { state, code, message, line, promptTokens, completionTokens, mediaSeconds } = outcome;
    const counted = await this.#database.query(
      `with mine as (update avocado.items set state = $4, code = $5, message = $6, line = $7, attempts = $8,
           finished_at = now(), runner = null, lease_until = null
         where job = $1 and n = $2 and token = $3 and state = 'running' returning job)
       update avocado.jobs set completed = completed + ($4 = 'completed')::int, failed = failed + ($4 = 'failed')::int,
         prompt_tokens = prompt_tokens + $9, completion_tokens = completion_tokens + $10,
         media_seconds = media_seconds + $11
       where id in (select job from mine) returning id`,
      [...[job, n, token, state, code, message, line, attempts], ...[promptTokens, completionTokens, mediaSeconds]],
    );
    return counted.length === 1;
  }

  /** Gives an item back, to be claimed again after a pause. */
  async release(
    { job, n, token }: Claim,
    {
      attempts,
      deaths,
      pauseSeconds,
    }: { readonly attempts: number; readonly deaths: number; readonly pauseSeconds: number },
  ): Promise<void> {
    await this.#database.query(
      `update avocado.items set state = 'ready', runner = null, lease_until = null, attempts = $4, deaths = $5,
         not_before = now() + $6 * interval '1 second'
       where job = $1 and n = $2 and token = $3 and state = 'running'`,
      [job, n, token, attempts, deaths, pauseSeconds],
    );
  }

  /** Gives back what a dead runner had. @param all also what living ones have: this server is the only one */
  async reap({ all }: { readonly all: boolean }): Promise<number> {
    const back = await this.#database.query(
      `update avocado.items set state = 'ready', runner = null, lease_until = null
       where state = 'running' and ($1 or lease_until < now()) returning n`,
      [all],
    );
    return back.length;
  }

  /** Tries failed items again. @param code only those of this error @returns how many */
  async retryFailed(id: string, code: string | undefined): Promise<number> {
    const [{ count } = { count: 0 }] = await this.#database.query<{ readonly count: number }>(
      `with back as (update avocado.items i set state = 'ready', attempts = 0, deaths = 0, not_before = '-infinity',
           code = null, message = null, line = null, finished_at = null
         from avocado.jobs j where j.id = i.job and i.job = $1 and i.state = 'failed' and ($2::text is null or i.code = $2)
           and i.payload <> '' and j.status in ('in_progress', 'paused', 'completed') returning i.n),
       counted as (select count(*)::int as count from back),
       changed as (update avocado.jobs j set failed = j.failed - c.count, completed_at = null, finalizing_at = null,
           status = case j.status when 'paused' then 'paused' else 'in_progress' end
         from counted c where j.id = $1 and c.count > 0 returning j.id)
       select count from counted`,
      [id, code ?? null],
    );
    return count;
  }
}

function faultLine({ n, customId, media, error }: NewItem): string {
  if (error === undefined) return '';
  return JSON.stringify({
    index: n,
    id: customId,
    source: media,
    status: 'failed',
    attempts: 0,
    error: { ...error, param: null },
  });
}
