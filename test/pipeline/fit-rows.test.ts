import assert from 'node:assert/strict';
import fc from 'fast-check';
import { systemClock } from '../../src/base/clock.ts';
import type { Payload } from '../../src/contract/event.ts';
import { fitRows, noted } from '../../src/pipeline/fit-rows.ts';

const rowsOf = (count: number, details = 'x'.repeat(60)): Payload[] =>
  Array.from({ length: count }, (_, n) => ({ LocalPort: String(n), ExtraDetails: { Executable: details } }));
const size = (rows: readonly Payload[]) => Buffer.byteLength(JSON.stringify(rows));
const fitted = (rows: readonly Payload[], room: number, extra = 0) => fitRows(rows, room, extra, systemClock);

describe('fitRows', () => {
  it('leaves alone what fits', async () => {
    const rows = rowsOf(3);
    assert.deepEqual(await fitted(rows, 1_000), { rows, omittedRows: 0, omittedDetails: 0 });
    assert.deepEqual(await fitted([], 1_000), { rows: [], omittedRows: 0, omittedDetails: 0 });
  });

  it('takes the ExtraDetails from the last rows first, and says from how many', async () => {
    const { rows, omittedRows, omittedDetails } = await fitted(rowsOf(100), 6_000);
    assert.deepEqual([rows.length, omittedRows], [100, 0]);
    assert.ok(omittedDetails > 0 && omittedDetails < 100);
    assert.equal(
      rows.findIndex(({ ExtraDetails }) => ExtraDetails === undefined),
      100 - omittedDetails,
    );
  });

  it('then leaves out the last rows, and keeps all that the first ones say', async () => {
    const { rows, omittedRows, omittedDetails } = await fitted(rowsOf(10_000), 6_000);
    assert.equal(rows.length + omittedRows, 10_000);
    const withDetails = rows.filter(({ ExtraDetails }) => ExtraDetails !== undefined);
    assert.ok(withDetails.length > 20, String(withDetails.length));
    assert.equal(rows.length - withDetails.length, omittedDetails);
    assert.ok(size(rows) <= 6_000 && size(rows) > 5_000);
  });

  it('never makes an empty snapshot of one that is not', async () => {
    const { rows, omittedRows } = await fitted(rowsOf(5, 'x'.repeat(1_000)), 10);
    assert.deepEqual([rows.length, omittedRows], [1, 4]);
  });

  it('fits whatever it is given, and counts what it leaves out', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(80), fc.nat(80))),
        fc.integer({ min: 200, max: 5_000 }),
        fc.nat(30),
        async (lengths, room, extra) => {
          const all = lengths.map(([text, details]) => ({
            Name: 'n'.repeat(text),
            ...(details === 0 ? {} : { ExtraDetails: { D: 'd'.repeat(details) } }),
          }));
          const { rows, omittedRows, omittedDetails } = await fitted(all, room, extra);
          assert.equal(rows.length + omittedRows, all.length);
          if (rows.length > 1) assert.ok(size(rows) + rows.length * extra <= room + 2);
          const bare = rows.filter((row, n) => row.ExtraDetails === undefined && all[n]?.ExtraDetails !== undefined);
          assert.equal(bare.length, omittedDetails);
        },
      ),
    ));

  it('says in the last row what is missing', () => {
    const [row] = noted([{ A: 'x' }], 7, 3);
    assert.deepEqual(row, { A: 'x', ExtraDetails: { OmittedElements: '7', OmittedDetails: '3' } });
    assert.deepEqual(noted([{ A: 'x' }], 0, 0), [{ A: 'x' }]);
    assert.deepEqual(noted([], 7, 0), []);
  });
});
