import { type UtmpLayout, utmpLayout } from '../../../../src/agent/linux/logins/utmp.ts';

/* Login files as the tests want them. */

interface UtmpFields {
  readonly type?: number;
  readonly pid?: number;
  readonly line?: string;
  readonly user?: string;
  readonly host?: string;
  /** Milliseconds since the epoch. */
  readonly time?: number;
  readonly address?: readonly number[];
}

/** One struct utmp, a login unless told otherwise. */
export function utmpRecord(fields: UtmpFields = {}, layout: UtmpLayout = utmpLayout()): Buffer {
  const { type = 7, pid = 4711, line = 'pts/0', user = 'alice', host = '', time = 0, address = [] } = fields;
  const bytes = Buffer.alloc(layout.bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const little = layout.order === 'LE';
  view.setInt16(0, type, little);
  view.setInt32(4, pid, little);
  bytes.write(line, 8, 32);
  bytes.write(line.slice(-4), 40, 4);
  bytes.write(user, 44, 32);
  bytes.write(host, 76, 256);
  const seconds = Math.floor(time / 1_000);
  const micros = (time % 1_000) * 1_000;
  if (layout.timeBytes === 4) {
    view.setUint32(layout.secondsAt, seconds, little);
    view.setUint32(layout.secondsAt + 4, micros, little);
  } else {
    view.setBigInt64(layout.secondsAt, BigInt(seconds), little);
    view.setBigInt64(layout.secondsAt + 8, BigInt(micros), little);
  }
  bytes.set(address, layout.addressAt);
  return bytes;
}

export interface WtmpdbRow {
  readonly id: number;
  readonly type?: number;
  readonly user?: string;
  /** Milliseconds since the epoch. */
  readonly login?: number;
  readonly logout?: number | undefined;
  readonly tty?: string;
  readonly host?: string;
  readonly service?: string;
}

const WTMPDB_TABLE =
  'CREATE TABLE wtmp(ID INTEGER PRIMARY KEY, Type INTEGER, User TEXT NOT NULL, Login INTEGER, Logout INTEGER, ' +
  'TTY TEXT, RemoteHost TEXT, Service TEXT) STRICT';

/** A database of wtmpdb(8) with one page of rows: the largest page size, for about a hundred rows. */
export function wtmpdbFile(rows: readonly WtmpdbRow[], changes = rows.length): Buffer {
  const bytes = Buffer.alloc(2 * PAGE_BYTES);
  bytes.write('SQLite format 3\0', 0, 'latin1');
  bytes.writeUInt16BE(1, 16); // 65536
  bytes.set([1, 1, 0, 64, 32, 32], 18);
  bytes.writeUInt32BE(changes, 24);
  bytes.writeUInt32BE(2, 28);
  bytes.writeUInt32BE(1, 56); // UTF-8
  writeLeaf(bytes.subarray(0, PAGE_BYTES), 100, [cell(1, ['table', 'wtmp', 'wtmp', 2, WTMPDB_TABLE])]);
  const cells = rows.map(
    ({ id, type = 3, user = 'alice', login = 0, logout, tty = 'pts/0', host = '', service = '' }) =>
      cell(id, [
        undefined,
        type,
        user,
        login * 1_000,
        logout === undefined ? undefined : logout * 1_000,
        tty,
        host,
        service,
      ]),
  );
  writeLeaf(bytes.subarray(PAGE_BYTES), 0, cells);
  return bytes;
}

const PAGE_BYTES = 65_536;

function writeLeaf(page: Buffer, start: number, cells: readonly Buffer[]): void {
  page[start] = 0x0d;
  page.writeUInt16BE(cells.length, start + 3);
  let end = page.length;
  for (const [index, each] of cells.entries()) {
    end -= each.length;
    page.set(each, end);
    page.writeUInt16BE(end, start + 8 + 2 * index);
  }
}

function cell(rowId: number, values: readonly (string | number | undefined)[]): Buffer {
  const types: Buffer[] = [];
  const bodies: Buffer[] = [];
  for (const value of values) {
    if (value === undefined) {
      types.push(varint(0));
    } else if (typeof value === 'string') {
      const text = Buffer.from(value);
      types.push(varint(13 + 2 * text.length));
      bodies.push(text);
    } else {
      const number = Buffer.alloc(8);
      number.writeBigInt64BE(BigInt(value));
      types.push(varint(6));
      bodies.push(number);
    }
  }
  const header = Buffer.concat(types);
  const row = Buffer.concat([varint(header.length + 1), header, ...bodies]);
  return Buffer.concat([varint(row.length), varint(rowId), row]);
}

function varint(value: number): Buffer {
  const bytes = [value % 128];
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) bytes.unshift((rest % 128) + 128);
  return Buffer.from(bytes);
}
