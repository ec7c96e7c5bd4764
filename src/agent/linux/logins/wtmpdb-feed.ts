import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs';
import {
  attempt,
  type Beginning,
  type FilePosition,
  type LoginEntry,
  type LoginFeed,
  type LoginFile,
  placeOf,
} from './login-feed.ts';
import { isLoginService } from './login-reporters.ts';
import { parseHeader, SqliteReader, type SqliteRow, type SqliteTable } from './sqlite.ts';

/** Rows read at a time, and re-read when the file is opened. */
const ROWS_AT_ONCE = 500;
const LOOK_BACK = 1_000;
/** Open sessions kept for their logout. Sessions that a crash ended stay open. */
const MAX_OPEN = 256;

/** `USER_PROCESS` of wtmpdb.h; other rows are boots. */
const USER_PROCESS = 3;

/** How a rollback journal starts while its transaction is in progress. */
const JOURNAL_MAGIC = 'd9d505f920a163d7';

/** A session row. Times in milliseconds. */
interface SessionRow {
  readonly rowId: number;
  readonly type: number;
  readonly user: string;
  readonly login: number;
  readonly logout?: number;
  readonly line: string;
  readonly host: string;
  readonly service: string;
}

/** The state of the file at one moment. */
interface Snapshot<T> {
  readonly state: string;
  readonly inode: number;
  readonly found: T;
}

/**
 * The database of wtmpdb(8), which some systems have instead of wtmp: a row per session, to which the logout is added when
 * the session ends. Refused logins are not in it.
 *
 * Read without locks, between two transactions: when the file changed during the read, or a transaction is in progress, the
 * result is discarded and read again next time. In WAL mode, rows become visible when SQLite moves them into the file,
 * which it does when the writer closes it.
 */
export class WtmpdbFeed implements LoginFeed {
  readonly #file: LoginFile;
  /** State of the file when it was last read completely. */
  #seen = '';
  #inode: number | undefined;
  #entries: LoginEntry[] = [];
  /** The last row id whose entries were taken, and the last one read. */
  #taken = 0;
  #read = 0;
  /** The id of a row that existed. If it is gone, the table was recreated and ids began again. */
  #anchor = 0;
  /** Rows up to `rowId` were reported; rows up to `byTimeRowId` too if they are not later than `untilMs`. */
  #reported = { rowId: 0, byTimeRowId: Number.MAX_SAFE_INTEGER, untilMs: 0 };
  /** Time of the latest login that was read. */
  #latestMs = 0;
  /** Sessions without a logout, by row id. */
  readonly #open = new Map<number, SessionRow>();
  #problem: string | undefined;

  constructor(file: LoginFile) {
    this.#file = file;
  }

  get position(): FilePosition | undefined {
    return this.#inode === undefined ? undefined : { inode: this.#inode, at: this.#taken };
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  open(from: Beginning): void {
    this.#problem = attempt(() => this.#begin(from));
  }

  #begin({ position, unread, reportedUntilMs }: Beginning): void {
    this.#reported = { ...this.#reported, untilMs: reportedUntilMs };
    const snapshot = this.#look((reader, table, inode) => ({
      last: reader.lastRowId(table),
      isSame: position?.inode === inode && has(reader, table, position.at),
    }));
    if (snapshot === undefined) return; // it is being written: decide by time once it can be read
    const { inode, found } = snapshot;
    const from = found.isSame ? (position?.at ?? 0) : position !== undefined || unread ? 0 : found.last;
    this.#inode = inode;
    this.#taken = from;
    this.#anchor = from;
    this.#read = Math.max(0, from - LOOK_BACK);
    this.#reported = { rowId: from, byTimeRowId: found.last, untilMs: reportedUntilMs };
  }

  fill(): void {
    this.#problem = attempt(() => {
      if (this.#entries.length === 0 && stateOf(this.#file) !== this.#seen) this.#readOn();
    });
  }

  peek(): LoginEntry | undefined {
    return this.#entries[0];
  }

  shift(): void {
    this.#entries.shift();
    this.#settle();
  }

  close(): void {
    this.#entries = [];
    this.#open.clear();
    this.#seen = '';
  }

  #settle(): void {
    if (this.#entries.length === 0) this.#taken = Math.max(this.#taken, this.#read);
  }

  #readOn(): void {
    const snapshot = this.#look((reader, table, inode) => {
      const continues = inode === this.#inode && has(reader, table, this.#anchor);
      const rows = reader.rowsAfter(table, continues ? this.#read : 0, ROWS_AT_ONCE);
      const isAll = rows.length < ROWS_AT_ONCE && !reader.isExhausted;
      const open = continues ? [...this.#open.keys()].map((rowId) => rowAt(reader, table, rowId)) : [];
      return { continues, last: rows.at(-1)?.rowId ?? 0, rows: rows.map((row) => sessionIn(row, table)), isAll, open };
    });
    if (snapshot === undefined) return;
    const { continues, last, rows, isAll, open } = snapshot.found;
    if (!continues) this.#startOver(snapshot.inode);
    this.#entries = [...open.flatMap((row) => this.#endOf(row)), ...rows.flatMap((row) => this.#entriesOf(row))].sort(
      (a, b) => a.timeMs - b.timeMs,
    );
    this.#read = Math.max(this.#read, last);
    this.#anchor = Math.max(this.#anchor, this.#read <= this.#reported.rowId ? 0 : this.#read);
    this.#settle();
    if (!isAll) return;
    this.#seen = snapshot.state;
    this.#reported = { ...this.#reported, byTimeRowId: Math.min(this.#reported.byTimeRowId, this.#read) };
  }

  /** Begins at the first row; rows that happened before the last reported login count as reported. */
  #startOver(inode: number): void {
    this.#inode = inode;
    this.#taken = 0;
    this.#read = 0;
    this.#anchor = 0;
    this.#open.clear();
    const untilMs = Math.max(this.#latestMs, this.#reported.untilMs);
    this.#reported = { rowId: 0, byTimeRowId: Number.MAX_SAFE_INTEGER, untilMs };
  }

  #entriesOf(row: SessionRow | undefined): LoginEntry[] {
    if (row?.type !== USER_PROCESS || row.user === '' || !isLoginService(row.service)) return [];
    const { rowId, byTimeRowId, untilMs } = this.#reported;
    const isOld = row.rowId <= rowId || (row.rowId <= byTimeRowId && row.login <= untilMs);
    this.#latestMs = Math.max(this.#latestMs, row.login);
    const login: LoginEntry = { ...entryOf(row), kind: 'login', timeMs: row.login, isOld };
    if (row.logout !== undefined) return [login, this.#logoutOf(row, row.logout)];
    this.#open.set(row.rowId, row);
    for (const oldest of this.#open.keys()) {
      if (this.#open.size <= MAX_OPEN) break;
      this.#open.delete(oldest);
    }
    return [login];
  }

  /** The logout of a row that had none before. */
  #endOf(row: SessionRow | undefined): LoginEntry[] {
    if (row?.logout === undefined || !this.#open.delete(row.rowId)) return [];
    return [this.#logoutOf(row, row.logout)];
  }

  #logoutOf(row: SessionRow, logout: number): LoginEntry {
    const isOld = row.rowId <= this.#reported.byTimeRowId && logout <= this.#reported.untilMs;
    return { ...entryOf(row), kind: 'logout', timeMs: logout, since: row.login, isOld };
  }

  /**
   * Reads the table while no transaction is in progress.
   *
   * @param look must have no side effects: its result is discarded if the file changed during the read
   * @returns `undefined` when the result was discarded
   * @throws the error of the file system, and when the table does not exist
   */
  #look<T>(look: (reader: SqliteReader, table: SqliteTable, inode: number) => T): Snapshot<T> | undefined {
    const state = stateOf(this.#file);
    if (state === undefined) return undefined;
    const fd = openSync(placeOf(this.#file), constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const header = parseHeader(readAt(fd, 0, HEADER_BYTES));
      if (header === undefined) throw new Error('not an SQLite database');
      const { pageBytes } = header;
      const pages = new Map<number, Buffer>();
      const reader = new SqliteReader(header, (number) => {
        if (number < 1) return undefined;
        const page = pages.get(number) ?? readAt(fd, (number - 1) * pageBytes, pageBytes);
        if (pages.size < PAGES_KEPT) pages.set(number, page);
        return page;
      });
      const table = reader.table('wtmp');
      if (table === undefined) throw new Error('it has no table of logins');
      const inode = fstatSync(fd).ino;
      const found = look(reader, table, inode);
      return stateOf(this.#file) === state ? { state, inode, found } : undefined;
    } finally {
      closeSync(fd);
    }
  }
}

const HEADER_BYTES = 100;
/** Pages cached: the first ones read, which include the upper levels of the tree. */
const PAGES_KEPT = 64;

/**
 * A text that changes with every transaction. It includes the file's own change counter, since two transactions can end
 * within one tick of the clock used for file times.
 *
 * @returns `undefined` while a transaction is in progress
 * @throws the error of the file system
 */
function stateOf(file: LoginFile): string | undefined {
  const path = placeOf(file);
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const { ino, size, mtimeNs, mode } = fstatSync(fd, { bigint: true });
    if ((mode & S_IFMT) !== S_IFREG)
      throw Object.assign(new Error(`${path} is not a regular file`), { code: 'EINVAL' });
    if (isBeingWritten(path)) return undefined;
    return [ino, size, mtimeNs, readAt(fd, CHANGE_COUNTER_AT, 4).toString('hex')].join(':');
  } finally {
    closeSync(fd);
  }
}

const CHANGE_COUNTER_AT = 24;
const S_IFMT = 0o170000n;
const S_IFREG = 0o100000n;

/** At the end of a transaction, the journal is deleted, truncated, or its header overwritten. */
function isBeingWritten(path: string): boolean {
  const journal = `${path}-journal`;
  if (statSync(journal, { throwIfNoEntry: false }) === undefined) return false;
  try {
    const fd = openSync(journal, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      return readAt(fd, 0, 8).toString('hex') === JOURNAL_MAGIC;
    } finally {
      closeSync(fd);
    }
  } catch {
    return false; // gone by now; the state shows whether the file changed
  }
}

/** As much as there is. */
function readAt(fd: number, position: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  return bytes.subarray(0, readSync(fd, bytes, 0, length, position));
}

const has = (reader: SqliteReader, table: SqliteTable, rowId: number): boolean =>
  rowId === 0 || reader.rowsAfter(table, rowId - 1, 1)[0]?.rowId === rowId;

function rowAt(reader: SqliteReader, table: SqliteTable, rowId: number): SessionRow | undefined {
  const [row] = reader.rowsAfter(table, rowId - 1, 1);
  return row?.rowId === rowId ? sessionIn(row, table) : undefined;
}

/** Times are in microseconds. @returns `undefined` when it lacks a required column */
function sessionIn({ rowId, values }: SqliteRow, { columns }: SqliteTable): SessionRow | undefined {
  const value = (name: string) => values[columns.indexOf(name)];
  const text = (name: string) => {
    const found = value(name);
    return typeof found === 'string' ? found : '';
  };
  const time = (name: string) => {
    const found = value(name);
    return typeof found === 'number' && found >= 0 ? Math.floor(found / 1_000) : undefined;
  };
  const [type, login, logout] = [value('Type'), time('Login'), time('Logout')];
  if (typeof type !== 'number' || login === undefined) return undefined;
  const [user, line, host, service] = [text('User'), text('TTY'), text('RemoteHost'), text('Service')];
  return { rowId, type, user, login, line, host, service, ...(logout === undefined ? {} : { logout }) };
}

const entryOf = ({ user, line, host, service }: SessionRow) => ({
  origin: 'wtmpdb' as const,
  user,
  line,
  host,
  pid: 0,
  ...(service === '' ? {} : { service }),
});
