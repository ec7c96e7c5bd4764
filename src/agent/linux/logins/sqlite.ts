/* Reads one table of an SQLite database: https://www.sqlite.org/fileformat2.html. Node 20 has no SQLite, and a native
 * module would be the largest part of the agent.
 *
 * The file may be damaged or written meanwhile, so nothing here throws, and all work is bounded. */

/** Returns a page, numbered from 1; `undefined` when there is no such page. */
export type ReadPage = (page: number) => Buffer | undefined;

/** NULL and BLOB become `undefined`, as do integers beyond 2^53. */
export type SqliteValue = number | string | undefined;

export interface SqliteRow {
  readonly rowId: number;
  /** In the order of the table's columns. An INTEGER PRIMARY KEY is `undefined`: its value is the row id. */
  readonly values: readonly SqliteValue[];
}

export interface SqliteTable {
  readonly rootPage: number;
  readonly columns: readonly string[];
}

const HEADER_BYTES = 100;
const MAGIC = 'SQLite format 3\0';

const INTERIOR = 0x05;
const LEAF = 0x0d;

/** A balanced tree of 4 KB pages with 20 levels would not fit on any disk. */
const MAX_LEVELS = 20;
/**
 * Bytes read by one reader: of pages, and again of rows, since rows of a damaged page can share their bytes. More means a
 * circle or an implausibly large table.
 */
const MAX_BYTES = 16 * 1024 * 1024;
/** What examining a cell and parsing a row cost, whatever their length, in bytes of the limit. */
const CELL_COST = 16;
const ROW_COST = 256;
/** Columns parsed; wtmpdb has eight. */
const MAX_COLUMNS = 64;
/** A longer row is skipped. */
const LONGEST_ROW_BYTES = 64 * 1024;

/** The header of the first page. */
export interface SqliteHeader {
  readonly pageBytes: number;
  /** Usable bytes of a page, without those reserved by extensions. */
  readonly usableBytes: number;
  readonly encoding: 'utf8' | 'utf16le' | 'utf16be';
}

/** @returns `undefined` when it is not the beginning of an SQLite database */
export function parseHeader(start: Buffer): SqliteHeader | undefined {
  if (start.length < HEADER_BYTES || start.toString('latin1', 0, MAGIC.length) !== MAGIC) return undefined;
  const stored = start.readUInt16BE(16);
  const pageBytes = stored === 1 ? 65_536 : stored;
  const usableBytes = pageBytes - (start[20] ?? 0);
  const encoding = ([undefined, 'utf8', 'utf16le', 'utf16be'] as const)[start.readUInt32BE(56)];
  if (pageBytes < 512 || (pageBytes & (pageBytes - 1)) !== 0 || usableBytes < 480) return undefined;
  return { pageBytes, usableBytes, encoding: encoding ?? 'utf8' };
}

/** The tables of a file at one moment. */
export class SqliteReader {
  readonly #header: SqliteHeader;
  readonly #readPage: ReadPage;
  #bytesLeft = MAX_BYTES;

  constructor(header: SqliteHeader, readPage: ReadPage) {
    this.#header = header;
    this.#readPage = readPage;
  }

  /** Whether the limit was reached; then rows may be missing. */
  get isExhausted(): boolean {
    return this.#bytesLeft <= 0;
  }

  /** @returns `undefined` when there is no such table, or the schema is too damaged to find it */
  table(name: string): SqliteTable | undefined {
    // The schema table: type, name, tbl_name, rootpage, sql.
    for (const { values } of this.#rows(1, 0)) {
      const [type, called, , rootPage, sql] = values;
      if (type !== 'table' || called !== name || typeof rootPage !== 'number' || typeof sql !== 'string') continue;
      return { rootPage, columns: columnsIn(sql) };
    }
    return undefined;
  }

  /** Rows with an id above `after`, ascending; at most `max` of them. */
  rowsAfter({ rootPage }: SqliteTable, after: number, max: number): SqliteRow[] {
    const rows: SqliteRow[] = [];
    for (const row of this.#rows(rootPage, after)) {
      rows.push(row);
      if (rows.length >= max) break;
    }
    return rows;
  }

  /** The highest row id; 0 when there is no row. */
  lastRowId({ rootPage }: SqliteTable): number {
    let number = rootPage;
    for (let level = 0; level < MAX_LEVELS; level += 1) {
      const page = this.#page(number);
      if (page === undefined) return 0;
      if (page.type === LEAF) return this.#cellAt(page, page.cells - 1)?.rowId ?? 0;
      number = page.rightmost;
    }
    return 0;
  }

  /** Rows with an id above `after`, ascending: cells out of order are damaged, and skipped. */
  *#rows(rootPage: number, after: number): Generator<SqliteRow> {
    let last = after;
    for (const { page, cell } of this.#cells(rootPage, after)) {
      if (cell.rowId <= last) continue;
      last = cell.rowId;
      const values = this.#valuesOf(page.bytes, cell);
      if (values !== undefined) yield { rowId: cell.rowId, values };
    }
  }

  /** The cells of the leaves that can have ids above `after`. */
  *#cells(number: number, after: number, level = 0): Generator<{ page: Page; cell: Cell }> {
    const page = level < MAX_LEVELS ? this.#page(number) : undefined;
    if (page === undefined) return;
    for (let index = 0; index < page.cells && this.#charge(CELL_COST); index += 1) {
      if (page.type === LEAF) {
        const cell = this.#cellAt(page, index);
        if (cell !== undefined) yield { page, cell };
      } else {
        // The child's rows have ids up to the key.
        const at = cellOffset(page, index);
        const key = readVarint(page.bytes, at + 4);
        if (key !== undefined && key.value > after) yield* this.#cells(readU32(page.bytes, at), after, level + 1);
      }
    }
    if (page.type === INTERIOR) yield* this.#cells(page.rightmost, after, level + 1);
  }

  /** @returns whether the limit was not yet reached */
  #charge(bytes: number): boolean {
    if (this.#bytesLeft <= 0) return false;
    this.#bytesLeft -= bytes;
    return true;
  }

  #page(number: number): Page | undefined {
    if (!this.#charge(this.#header.pageBytes)) return undefined;
    const bytes = this.#readPage(number);
    if (bytes?.length !== this.#header.pageBytes) return undefined;
    const start = number === 1 ? HEADER_BYTES : 0;
    const type = bytes[start];
    if (type !== LEAF && type !== INTERIOR) return undefined;
    const pointersAt = start + (type === LEAF ? 8 : 12);
    // As many as the page can have: each has a pointer of two bytes.
    const cells = Math.min(bytes.readUInt16BE(start + 3), (this.#header.usableBytes - pointersAt) >> 1);
    return { bytes, type, cells, pointersAt, rightmost: type === LEAF ? 0 : readU32(bytes, start + 8) };
  }

  /** A leaf cell: varint length, varint row id, the row, and the first overflow page. */
  #cellAt(page: Page, index: number): Cell | undefined {
    if (index < 0) return undefined;
    const length = readVarint(page.bytes, cellOffset(page, index));
    const rowId = length === undefined ? undefined : readVarint(page.bytes, length.next);
    if (length === undefined || rowId === undefined) return undefined;
    return { length: length.value, rowId: rowId.value, at: rowId.next };
  }

  #valuesOf(bytes: Buffer, { length, at }: Cell): SqliteValue[] | undefined {
    if (length > LONGEST_ROW_BYTES || !this.#charge(ROW_COST + length)) return undefined;
    const here = this.#bytesHere(length);
    const parts = [bytes.subarray(at, at + here)];
    let left = length - here;
    for (let next = left > 0 ? readU32(bytes, at + here) : 0; left > 0; ) {
      if (next === 0 || !this.#charge(this.#header.pageBytes)) return undefined;
      const page = this.#readPage(next);
      if (page?.length !== this.#header.pageBytes) return undefined;
      const part = page.subarray(4, 4 + Math.min(left, this.#header.usableBytes - 4));
      parts.push(part);
      left -= part.length;
      next = readU32(page, 0);
    }
    const row = parts.length === 1 ? (parts[0] ?? bytes) : Buffer.concat(parts);
    return row.length === length ? parseRow(row, this.#header.encoding) : undefined;
  }

  /** How many bytes of a row are on the leaf; the rest is on overflow pages. */
  #bytesHere(length: number): number {
    const usable = this.#header.usableBytes;
    const max = usable - 35;
    if (length <= max) return length;
    const least = Math.floor(((usable - 12) * 32) / 255) - 23;
    const fitting = least + ((length - least) % (usable - 4));
    return fitting <= max ? fitting : least;
  }
}

interface Page {
  readonly bytes: Buffer;
  readonly type: typeof LEAF | typeof INTERIOR;
  readonly cells: number;
  readonly pointersAt: number;
  readonly rightmost: number;
}

interface Cell {
  readonly length: number;
  readonly rowId: number;
  readonly at: number;
}

const cellOffset = ({ bytes, pointersAt }: Page, index: number): number => bytes.readUInt16BE(pointersAt + 2 * index);

/** 0, which is not a page number, when it is outside the page. */
const readU32 = (bytes: Buffer, at: number): number => (at + 4 <= bytes.length ? bytes.readUInt32BE(at) : 0);

/** Seven bits per byte, highest first; the ninth byte has eight. @returns `undefined` beyond 2^53, or outside the page */
function readVarint(bytes: Buffer, at: number): { value: number; next: number } | undefined {
  let value = 0;
  for (let index = 0; index < 8; index += 1) {
    const byte = bytes[at + index];
    if (byte === undefined) return undefined;
    value = value * 128 + (byte & 0x7f);
    if (value > Number.MAX_SAFE_INTEGER) return undefined;
    if (byte < 0x80) return { value, next: at + index + 1 };
  }
  return undefined; // nine bytes: at least 2^56
}

/** Bytes of an integer, by its serial type. */
const INTEGER_BYTES = [0, 1, 2, 3, 4, 6, 8];

/** A row: the header's length, each value's serial type, and the values. */
function parseRow(row: Buffer, encoding: SqliteHeader['encoding']): SqliteValue[] | undefined {
  const header = readVarint(row, 0);
  if (header === undefined || header.value > row.length) return undefined;
  const values: SqliteValue[] = [];
  let at = header.value;
  for (let next = header.next; next < header.value && values.length < MAX_COLUMNS; ) {
    const type = readVarint(row, next);
    if (type === undefined) return undefined;
    next = type.next;
    const length = valueBytes(type.value);
    if (at + length > row.length) return undefined;
    values.push(parseValue(type.value, row.subarray(at, at + length), encoding));
    at += length;
  }
  return values;
}

function valueBytes(serialType: number): number {
  if (serialType >= 12) return Math.floor((serialType - 12) / 2);
  return serialType === 7 ? 8 : (INTEGER_BYTES[serialType] ?? 0);
}

function parseValue(serialType: number, bytes: Buffer, encoding: SqliteHeader['encoding']): SqliteValue {
  if (serialType === 8 || serialType === 9) return serialType - 8;
  if (serialType === 7) return bytes.readDoubleBE(0);
  if (serialType >= 1 && serialType <= 5) return bytes.readIntBE(0, bytes.length);
  if (serialType === 6) {
    const value = Number(bytes.readBigInt64BE(0));
    return Number.isSafeInteger(value) ? value : undefined;
  }
  if (serialType < 13 || serialType % 2 === 0) return undefined;
  if (encoding === 'utf16be')
    return Buffer.from(bytes.subarray(0, bytes.length & ~1))
      .swap16()
      .toString('utf16le');
  return bytes.toString(encoding);
}

/** `CREATE TABLE wtmp(ID INTEGER PRIMARY KEY, "User" TEXT NOT NULL, …) STRICT` → ID, User, … */
function columnsIn(sql: string): string[] {
  return sql
    .slice(sql.indexOf('(') + 1, sql.lastIndexOf(')'))
    .split(',')
    .map(
      (definition) =>
        definition
          .trim()
          .split(/\s/, 1)[0]
          ?.replace(/^["`[]|["`\]]$/g, '') ?? '',
    );
}
