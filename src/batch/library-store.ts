// What is known of a library, shared by all processes that work on it. Two files that only grow: the results, one line
// for each item that was captioned, and a journal beside it. A line in the results is the commit: what the journal
// lacks after a crash is read from there. Everything is changed under one lock, so records have one order.
import { hash, randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { directoryUnwritable } from '../base/errors.ts';
import { parseJson } from '../base/json.ts';
import { makeDirectory } from '../base/make-directory.ts';
import { AppendFile } from './append-file.ts';
import { KeyTable } from './key-table.ts';
import { DirectoryLock, Workers } from './lock.ts';
import type { ItemRecord, ResultLine, WorkSettings } from './types.ts';

/** How fast a machine was in an earlier run. */
export interface MeasuredRate {
  /** model, precision and device */
  readonly of: string;
  readonly mediaSeconds: number;
  readonly wallSeconds: number;
}

/** One line of the journal. */
type JournalEntry =
  | { readonly item: ItemRecord }
  | { readonly settings: string; readonly parts: WorkSettings }
  | { readonly rate: MeasuredRate }
  /** so much of the results file is in the journal */
  | { readonly known: number };

interface Claim {
  readonly worker: string;
  readonly token: number;
}

/** The identity of work: of media with these bytes, captioned with these settings. */
export function workId(content: string, settings: string): string {
  return hash('sha256', `${content}\n${settings}`);
}

/** What may be done while the lock is held. */
export interface Transaction {
  /** Takes work. @returns the token to commit with; undefined: a living process has it */
  claim(name: string): number | undefined;
  /** Whether the work is still this process' own: another may have taken it over from a process that was silent. */
  holds(name: string, token: number): boolean;
  release(name: string): void;
  /** Adds a line to the results, and its record to the journal. */
  commit(line: ResultLine, record: ItemRecord): ItemRecord;
  put(record: ItemRecord): void;
}

interface Waiting {
  readonly work: (transaction: Transaction) => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (thrown: unknown) => void;
}

const REMOVED = -1;
/** How lines of the results begin. A torn one is what a crash left of such a line. */
const LINE_START = '{"key":';

export class LibraryStore {
  /** names the library, also to servers; it is made once */
  id = '';
  readonly #claims: string;
  readonly #workers: Workers;
  readonly #lock: DirectoryLock;
  readonly #journal: AppendFile;
  readonly #results: AppendFile;
  /** by key, and by work that was done: where in the journal the last record is */
  #byKey = new KeyTable();
  #byWork = new KeyTable();
  readonly #settings = new Map<string, WorkSettings>();
  readonly #rates = new Map<string, MeasuredRate>();
  #journalRead = 0;
  #resultsKnown = 0;
  /** the newest line that the journal knows */
  #lastLine: ItemRecord | undefined;
  #checked = false;
  #waiting: Waiting[] = [];
  #isPumping = false;
  #pumping: Promise<void> = Promise.resolve();

  private constructor(directory: string, results: string) {
    this.#claims = join(directory, 'claims');
    makeDirectory(this.#claims);
    this.#workers = new Workers(join(directory, 'workers'));
    this.#lock = new DirectoryLock(join(directory, 'lock'), this.#workers);
    this.#journal = new AppendFile(join(directory, 'journal.jsonl'));
    this.#results = new AppendFile(results);
  }

  /**
   * Reads what is known of a library, and mends what a crash left.
   * @param directory of the state; made where it is missing
   * @param results the results file
   * @throws AvocadoError `directory_unwritable`
   */
  static async open(directory: string, results: string): Promise<LibraryStore> {
    let store: LibraryStore | undefined;
    try {
      const opened = new LibraryStore(directory, results);
      store = opened;
      opened.#workers.enter();
      await opened.transact(() => {
        opened.id = libraryId(join(directory, 'library-id'));
        opened.#workers.sweep();
        opened.#sweepClaims();
      });
      return opened;
    } catch (cause) {
      await store?.close();
      throw directoryUnwritable(directory, cause, 'Make room, or name a directory for the results with --out.');
    }
  }

  /** This process, among those that work on the library. */
  get worker(): string {
    return this.#workers.id;
  }

  /** Whether such a process has ended for certain. */
  isDead(worker: string): boolean {
    return this.#workers.isDead(worker, { hung: false });
  }

  /** items that are known */
  get size(): number {
    return this.#byKey.size;
  }

  item(key: string): ItemRecord | undefined {
    const record = this.#recordAt(this.#byKey.get(key));
    return record?.key === key ? record : undefined;
  }

  /** An item that was captioned with this work. */
  done(content: string, settings: string): ItemRecord | undefined {
    const record = this.#recordAt(this.#byWork.get(workId(content, settings)));
    return record?.content === content && record.settings === settings && record.line !== undefined
      ? record
      : undefined;
  }

  /** The result of an item; undefined where its line is not there any more. */
  result({ key, line }: ItemRecord): ResultLine | undefined {
    const text = line === undefined ? undefined : this.#results.lineAt(line[0]);
    const found = text === undefined ? undefined : resultLine(text);
    return found?.key === key ? found : undefined;
  }

  settingsOf(hashed: string): WorkSettings | undefined {
    return this.#settings.get(hashed);
  }

  rate(of: string): MeasuredRate | undefined {
    return this.#rates.get(of);
  }

  async rememberSettings(hashed: string, parts: WorkSettings): Promise<void> {
    if (this.#settings.has(hashed)) return;
    await this.transact(() => {
      this.#write({ settings: hashed, parts });
    });
  }

  async rememberRate(rate: MeasuredRate): Promise<void> {
    await this.transact(() => {
      this.#write({ rate });
    });
  }

  /**
   * Runs `work` while this process alone may change the library, with all that other processes have done known. Calls
   * that come together share one turn, and one wait for the disk. Resolves when what was committed is on the disk.
   */
  transact<T>(work: (transaction: Transaction) => T): Promise<T> {
    const done = new Promise<unknown>((resolve, reject) => this.#waiting.push({ work, resolve, reject }));
    if (!this.#isPumping) this.#pumping = this.#pump();
    return done as Promise<T>;
  }

  async close(): Promise<void> {
    await this.#pumping;
    this.#workers.leave();
    this.#journal.close();
    this.#results.close();
  }

  async #pump(): Promise<void> {
    this.#isPumping = true;
    while (this.#waiting.length > 0) {
      const turn: Waiting[] = [];
      try {
        await this.#lock.hold((token) => {
          turn.push(...this.#waiting.splice(0));
          this.#take(turn, token);
        });
      } catch (thrown) {
        for (const { reject } of [...turn, ...this.#waiting.splice(0)]) reject(thrown);
      }
    }
    this.#isPumping = false; // in the same step as the last look: what comes later starts again
  }

  #take(turn: readonly Waiting[], token: number): void {
    this.#catchUp();
    const before = this.#results.bytes;
    const transaction = this.#transaction(token);
    const settled = turn.map(({ work, resolve, reject }) => {
      try {
        const value = work(transaction);
        return () => {
          resolve(value);
        };
      } catch (thrown) {
        return () => {
          reject(thrown);
        };
      }
    });
    if (this.#results.bytes > before) this.#results.sync();
    for (const settle of settled) settle();
  }

  #transaction(token: number): Transaction {
    return {
      claim: (name) => {
        const claim = this.#readClaim(name);
        const isFree = claim === undefined || this.#workers.isDead(claim.worker, { hung: true });
        if (!isFree && claim.worker !== this.#workers.id) return undefined;
        const mine: Claim = { worker: this.#workers.id, token };
        writeFileSync(join(this.#claims, name), JSON.stringify(mine));
        return token;
      },
      holds: (name, held) => {
        const claim = this.#readClaim(name);
        return claim?.worker === this.#workers.id && claim.token === held;
      },
      release: (name) => {
        if (this.#readClaim(name)?.worker === this.#workers.id) rmSync(join(this.#claims, name), { force: true });
      },
      commit: (line, record) => {
        const text = `${JSON.stringify(line)}\n`;
        const committed = { ...record, line: [this.#results.bytes, Buffer.byteLength(text)] as const };
        this.#results.append(text);
        this.#write({ item: committed });
        return committed;
      },
      put: (record) => {
        this.#write({ item: record });
      },
    };
  }

  #readClaim(name: string): Claim | undefined {
    try {
      return JSON.parse(readFileSync(join(this.#claims, name), 'utf8')) as Claim;
    } catch {
      return undefined; // there is none, or its maker died while writing it
    }
  }

  #sweepClaims(): void {
    for (const name of readdirSync(this.#claims)) {
      const claim = this.#readClaim(name);
      if (claim === undefined || this.#workers.isDead(claim.worker, { hung: false }))
        rmSync(join(this.#claims, name), { force: true });
    }
  }

  #recordAt(at: number | undefined): ItemRecord | undefined {
    if (at === undefined || at === REMOVED) return undefined;
    const entry = journalEntry(this.#journal.lineAt(at) ?? '');
    return entry !== undefined && 'item' in entry ? entry.item : undefined;
  }

  #write(entry: JournalEntry): void {
    const at = this.#journal.bytes;
    this.#journal.append(`${JSON.stringify(entry)}\n`);
    this.#learn(entry, at);
    this.#journalRead = this.#journal.bytes;
  }

  #learn(entry: JournalEntry, at: number): void {
    if ('item' in entry) {
      const { key, content, settings, line } = entry.item;
      this.#byKey.set(key, at);
      if (line === undefined) return;
      this.#byWork.set(workId(content, settings), at);
      if (line[0] >= (this.#lastLine?.line?.[0] ?? 0)) this.#lastLine = entry.item;
      this.#resultsKnown = Math.max(this.#resultsKnown, line[0] + line[1]);
    } else if ('settings' in entry) this.#settings.set(entry.settings, entry.parts);
    else if ('rate' in entry) this.#rates.set(entry.rate.of, entry.rate);
    else this.#resultsKnown = entry.known;
  }

  /** Learns what other processes wrote, and mends torn ends. Only under the lock: no living process is writing. */
  #catchUp(): void {
    if (this.#journal.reopenIfReplaced()) {
      [this.#byKey, this.#byWork] = [new KeyTable(), new KeyTable()];
      [this.#journalRead, this.#resultsKnown, this.#lastLine] = [0, 0, undefined];
    }
    for (const { at, bytes, text } of this.#journal.linesFrom(this.#journalRead)) {
      const entry = journalEntry(text);
      if (entry !== undefined) this.#learn(entry, at);
      this.#journalRead = at + bytes;
    }
    if (this.#journal.bytes > this.#journalRead) this.#journal.truncate(this.#journalRead);
    if (this.#isResultsFileChanged()) this.#findLinesAgain();
    else if (this.#results.bytes > this.#resultsKnown) this.#readNewLines();
  }

  #isResultsFileChanged(): boolean {
    if (this.#results.reopenIfReplaced() || this.#results.bytes < this.#resultsKnown) return true;
    if (this.#checked) return false;
    this.#checked = true; // once: it would be read again and again
    return this.#lastLine !== undefined && this.result(this.#lastLine) === undefined;
  }

  /** Lines whose writer died before it wrote them to the journal, and an unfinished one it may have left. */
  #readNewLines(): void {
    let end = this.#resultsKnown;
    for (const { at, bytes, text } of this.#results.linesFrom(this.#resultsKnown)) {
      const line = resultLine(text);
      if (line !== undefined) this.#write({ item: recordOf(line, [at, bytes]) });
      end = at + bytes;
    }
    this.#mendEnd(end);
    this.#write({ known: this.#results.bytes });
  }

  #mendEnd(end: number): void {
    if (this.#results.bytes === end) return;
    const isOurs = LINE_START.startsWith(this.#results.peek(end, LINE_START.length));
    if (isOurs) this.#results.truncate(end);
    else this.#results.append('\n'); // somebody's own line
  }

  /** Somebody changed the results file: lines are elsewhere now, and work whose line is gone is not done. */
  #findLinesAgain(): void {
    const places = new KeyTable();
    this.#lastLine = undefined;
    let end = 0;
    for (const { at, bytes, text } of this.#results.linesFrom(0)) {
      const line = resultLine(text);
      if (line !== undefined) places.set(`${line.key}\n${line.id}`, at);
      end = at + bytes;
    }
    this.#mendEnd(end);
    for (const journalAt of [...this.#byKey.values()]) {
      const record = this.#recordAt(journalAt);
      if (record?.line === undefined) continue;
      const id = workId(record.content, record.settings);
      const at = places.get(`${record.key}\n${id}`);
      if (at === record.line[0]) continue;
      if (at === undefined) this.#byWork.set(id, REMOVED);
      const bytes = at === undefined ? 0 : Buffer.byteLength(this.#results.lineAt(at) ?? '') + 1;
      this.#write({ item: { ...record, line: at === undefined ? undefined : [at, bytes] } });
    }
    this.#write({ known: this.#results.bytes });
  }
}

/** Only under the lock. An empty one, which a full disk or a kill left, would be that of other libraries as well. */
function libraryId(path: string): string {
  const known = existsSync(path) ? readFileSync(path, 'utf8') : '';
  if (known !== '') return known;
  const made = randomUUID();
  writeFileSync(`${path}.new`, made);
  renameSync(`${path}.new`, path);
  return made;
}

/** Undefined: of a disk that lost its power. */
function journalEntry(text: string): JournalEntry | undefined {
  return parseJson(text) as JournalEntry | undefined;
}

function resultLine(text: string): ResultLine | undefined {
  const line = parseJson(text) as Partial<ResultLine> | null | undefined;
  return [line?.key, line?.content, line?.settings].every((field) => typeof field === 'string')
    ? (line as ResultLine)
    : undefined;
}

function recordOf({ key, content, settings, captioned_at: at }: ResultLine, line: [number, number]): ItemRecord {
  return { key, seen: '', content, settings, line, atMs: Date.parse(at) || 0 };
}
