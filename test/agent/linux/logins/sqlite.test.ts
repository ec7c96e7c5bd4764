import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { parseHeader, SqliteReader, type SqliteRow } from '../../../../src/agent/linux/logins/sqlite.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { wtmpdbFile } from './files.ts';

const FOLDER = 'test/golden/debian13-6.18';

function readerOf(file: Buffer): SqliteReader | undefined {
  const header = parseHeader(file);
  if (header === undefined) return undefined;
  const { pageBytes } = header;
  return new SqliteReader(header, (page) => file.subarray((page - 1) * pageBytes, page * pageBytes));
}

function rowsOf(file: Buffer, after = 0, most = 10_000): SqliteRow[] {
  const reader = readerOf(file);
  const table = reader?.table('wtmp');
  return reader === undefined || table === undefined ? [] : reader.rowsAfter(table, after, most);
}

const PAGE_BYTES = 65_536;

/** A varint of a fixed number of bytes, which may have superfluous leading ones. */
const varint = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, index) => {
    const left = bytes - 1 - index;
    return (Math.floor(value / 128 ** left) % 128) | (left > 0 ? 0x80 : 0);
  });

/** A cell with a row of these serial types, whose values take no bytes. */
const cellOf = (rowId: number, types: Buffer): Buffer =>
  Buffer.from([...varint(types.length + 3, 3), ...varint(rowId, 2), ...varint(types.length + 3, 3), ...types]);

/** A page with one cell, at its end. */
function leafOf(cell: Buffer): Buffer {
  const page = Buffer.alloc(PAGE_BYTES);
  const at = page.length - cell.length;
  page[0] = 0x0d;
  page.writeUInt16BE(1, 3);
  page.writeUInt16BE(at, 8);
  page.set(cell, at);
  return page;
}

describe('SqliteTable', () => {
  it('reads a file that wtmpdb of Debian 13 wrote', () => {
    const file = readFileSync(`${FOLDER}/login-wtmp.db`);
    assert.deepEqual(
      readerOf(file)?.table('wtmp')?.columns,
      'ID Type User Login Logout TTY RemoteHost Service'.split(' '),
    );
    const rows = rowsOf(file);
    const [first] = rows;
    const [id, type, user, login, logout, ...rest] = first?.values ?? [];
    assert.deepEqual([id, type, user, ...rest], [undefined, 3, 'alice', 'pts/1', '127.0.0.1', undefined]);
    assert.ok(typeof login === 'number' && typeof logout === 'number' && logout > login && login > 1.7e15);
    assert.deepEqual(rows.at(-1)?.values.slice(-2), ['', 'su-l']);
  });

  describe('with many pages', () => {
    const file = readFileSync(`${FOLDER}/login-wtmp-many-pages.db`);

    it('returns all rows in order', () => {
      const ids = rowsOf(file).map(({ rowId }) => rowId);
      assert.deepEqual(
        ids,
        Array.from({ length: 400 }, (_, index) => index + 1).filter((id) => id < 100 || id > 149),
      );
    });

    it('returns rows longer than a page', () => {
      const hosts = rowsOf(file).map(({ values }) => String(values[6]));
      assert.ok(hosts.includes('h'.repeat(8_000)));
      assert.equal(hosts.filter((host) => /^h+$/.test(host)).length, 9);
    });

    for (const [after, first] of [
      [0, 1],
      [98, 99],
      [99, 150],
      [120, 150],
      [399, 400],
      [400, undefined],
      [1e15, undefined],
    ] as const) {
      it(`starts after row ${after} with ${first}`, () => assert.equal(rowsOf(file, after)[0]?.rowId, first));
    }

    it('returns at most the requested number of rows', () => assert.equal(rowsOf(file, 10, 7).at(-1)?.rowId, 17));

    it('finds the last row by reading a few pages', () => {
      const header = parseHeader(file) ?? assert.fail();
      let read = 0;
      const reader = new SqliteReader(header, (page) => {
        read += 1;
        return file.subarray((page - 1) * header.pageBytes, page * header.pageBytes);
      });
      const table = reader.table('wtmp') ?? assert.fail();
      assert.equal(reader.lastRowId(table), 400);
      assert.equal(reader.rowsAfter(table, 399, 10).length, 1);
      assert.ok(read < file.length / 512 / 4, String(read));
    });
  });

  it('accepts an empty table', () => {
    const reader = readerOf(wtmpdbFile([]));
    const table = reader?.table('wtmp') ?? assert.fail();
    assert.equal(reader?.lastRowId(table), 0);
    assert.deepEqual(reader?.rowsAfter(table, 0, 10), []);
  });

  it('returns undefined for a missing table', () => assert.equal(readerOf(wtmpdbFile([]))?.table('users'), undefined));

  it("rejects a file without SQLite's header", () => {
    const file = wtmpdbFile([]);
    for (const [at, to] of [
      [0, 0],
      [16, 3],
      [20, 255],
    ] as const) {
      const changed = Buffer.from(file);
      changed[at] = to;
      if (at === 20) changed.writeUInt16BE(512, 16);
      assert.equal(parseHeader(changed), undefined, `byte ${at}`);
    }
    assert.equal(parseHeader(file.subarray(0, 99)), undefined);
  });

  it('does not follow pages in circles', () => {
    const file = Buffer.from(readFileSync(`${FOLDER}/login-wtmp-many-pages.db`));
    const reader = readerOf(file);
    const { rootPage = 0 } = reader?.table('wtmp') ?? {};
    const start = (rootPage - 1) * 512;
    assert.equal(file[start], 5, 'an interior page');
    // All its children become itself.
    for (let index = 0; index < file.readUInt16BE(start + 3); index += 1) {
      file.writeUInt32BE(rootPage, start + file.readUInt16BE(start + 12 + 2 * index));
    }
    file.writeUInt32BE(rootPage, start + 8);
    const header = parseHeader(file) ?? assert.fail();
    let read = 0;
    const counted = () =>
      new SqliteReader(header, (page) => {
        read += 1;
        return file.subarray((page - 1) * 512, page * 512);
      });
    assert.deepEqual(counted().rowsAfter({ rootPage, columns: [] }, 0, 10_000), []);
    const max = (16 * 1024 * 1024) / 512;
    assert.ok(read > max / 4 && read <= max, `${read} pages, until it gives up`);
    read = 0;
    assert.equal(counted().lastRowId({ rootPage, columns: [] }), 0);
    assert.equal(read, 20, 'levels');
  });

  describe('with cells crafted to cost time', () => {
    const table = { rootPage: 2, columns: ['ID'] };
    /** A table of one page, and the values that were parsed to read it. */
    const read = (page: Buffer) => {
      const file = Buffer.concat([wtmpdbFile([]).subarray(0, PAGE_BYTES), page]);
      const reader = readerOf(file) ?? assert.fail();
      const rows = reader.rowsAfter(table, 0, 10_000);
      return { rows, values: rows.reduce((all, row) => all + row.values.length, 0), isExhausted: reader.isExhausted };
    };

    it('returns no row twice: row ids increase, or the cells are damaged', () => {
      const page = leafOf(cellOf(1, Buffer.alloc(60_000)));
      page.writeUInt16BE(500, 3);
      for (let index = 1; index < 500; index += 1) page.writeUInt16BE(page.readUInt16BE(8), 8 + 2 * index);
      const began = performance.now();
      assert.deepEqual(
        read(page).rows.map(({ rowId }) => rowId),
        [1],
      );
      assert.ok(performance.now() - began < 1_000, 'not ten seconds');
    });

    it('returns at most 64 columns', () => {
      assert.equal(read(leafOf(cellOf(1, Buffer.alloc(60_000)))).values, 64);
    });

    it('reads at most 16 MB, even if rows share their bytes', () => {
      // Each cell's row goes on to the end of the page, through all cells after it.
      const count = 4_000;
      const page = Buffer.alloc(PAGE_BYTES);
      page[0] = 0x0d;
      page.writeUInt16BE(count, 3);
      for (let index = 0; index < count; index += 1) {
        const at = 8 + 2 * count + index * 9;
        const length = PAGE_BYTES - 35 - 3 - 2 - at;
        page.writeUInt16BE(at, 8 + 2 * index);
        page.set([...varint(length, 3), ...varint(index + 1, 2), 4, ...varint(13 + 2 * (length - 4), 3)], at);
      }
      const { rows, isExhausted } = read(page);
      const bytes = rows.reduce((all, { values }) => all + String(values[0]).length, 0);
      assert.ok(rows.length > 100 && bytes <= 16 * 1024 * 1024, `${rows.length} rows of ${bytes} bytes`);
      assert.equal(isExhausted, true);
    });
  });

  it('returns the readable rows of any bytes', () => {
    const files = [
      readFileSync(`${FOLDER}/login-wtmp.db`),
      readFileSync(`${FOLDER}/login-wtmp-many-pages.db`),
      wtmpdbFile([{ id: 1 }, { id: 2, logout: 1 }]).subarray(0, 2 * 65_536),
    ] as const;
    const nasty = fc.constantFrom(0, 1, 2, 5, 13, 0x7f, 0x80, 0xff);
    const share = fc.nat(1_000_000).map((n) => n / 1_000_000);
    const anywhere = fc.tuple(share, fc.oneof(nasty, fc.nat(255)));
    const inHeader = fc.tuple(
      fc.nat(140).map((at) => at / 71_680),
      nasty,
    );
    const changes = fc.array(fc.oneof({ arbitrary: anywhere, weight: 20 }, inHeader), { minLength: 1, maxLength: 60 });
    const length = fc.oneof({ arbitrary: fc.constant(1), weight: 5 }, share);
    const input = fc.tuple(fc.constantFrom(0, 1, 1, 1, 2), changes, length);
    let found = 0;
    fc.assert(
      fc.property(input, ([which, changes, length]) => {
        const original = files[which] ?? files[0];
        const file = Buffer.from(original.subarray(0, Math.ceil(original.length * length) || 1));
        for (const [at, to] of changes) file[Math.floor(at * (file.length - 1))] = to;
        const reader = readerOf(file);
        const table = reader?.table('wtmp');
        if (reader === undefined || table === undefined) return;
        const rows = reader.rowsAfter(table, 3, 100);
        assert.ok(rows.length <= 100);
        found += rows.length;
        for (const [index, { rowId, values }] of rows.entries()) {
          assert.ok(rowId > (rows[index - 1]?.rowId ?? 3) && Number.isSafeInteger(rowId));
          for (const value of values)
            assert.ok(value === undefined || typeof value === 'string' || typeof value === 'number');
        }
        assert.ok(reader.lastRowId(table) >= 0);
      }),
      { numRuns: fuzzRuns(100_000) },
    );
    assert.ok(found > fuzzRuns(100_000), 'most files must still have rows, or nothing was tried');
  });

  it('rejects random bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), (bytes) => {
        const file = Buffer.from(bytes);
        Buffer.from('SQLite format 3\0\x02\0\x01\x01\0', 'latin1').copy(file);
        rowsOf(file);
      }),
      { numRuns: fuzzRuns(20_000) },
    );
  });
});
