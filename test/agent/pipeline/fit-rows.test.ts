import assert from 'node:assert/strict';
import fc from 'fast-check';
import { fitRows, labelled } from '../../../src/agent/pipeline/fit-rows.ts';
import { detailsOf } from '../../../src/agent/pipeline/row-details.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import type { Payload } from '../../../src/core/contract/event.ts';

const rowsOf = (count: number, details = 'x'.repeat(60)): Payload[] =>
  Array.from({ length: count }, (_, n) => ({ LocalPort: String(n), ExtraDetails: { Executable: details } }));
const size = (rows: readonly Payload[]) => Buffer.byteLength(JSON.stringify(rows));
const fitted = (rows: readonly Payload[], partBytes: number, maxParts = 1, extraBytes = 0) =>
  fitRows(rows, { partBytes, maxParts, extraBytes }, systemClock);

describe('fitRows', () => {
  describe('for a snapshot that is not split', () => {
    it('leaves alone what fits', async () => {
      const rows = rowsOf(3);
      assert.deepEqual(await fitted(rows, 1_000), { parts: [rows], omittedRows: 0, omittedDetails: 0 });
      assert.deepEqual(await fitted([], 1_000), { parts: [[]], omittedRows: 0, omittedDetails: 0 });
    });

    it('leaves out the ExtraDetails of the last rows first, and counts them', async () => {
      const { parts, omittedRows, omittedDetails } = await fitted(rowsOf(100), 6_000);
      const [rows = []] = parts;
      assert.deepEqual([parts.length, rows.length, omittedRows], [1, 100, 0]);
      assert.ok(omittedDetails > 0 && omittedDetails < 100);
      assert.equal(
        rows.findIndex(({ ExtraDetails }) => ExtraDetails === undefined),
        100 - omittedDetails,
      );
    });

    it('omits the last rows after that and keeps the first ones complete', async () => {
      const { parts, omittedRows, omittedDetails } = await fitted(rowsOf(10_000), 6_000);
      const [rows = []] = parts;
      assert.equal(rows.length + omittedRows, 10_000);
      const withDetails = rows.filter(({ ExtraDetails }) => ExtraDetails !== undefined);
      assert.ok(withDetails.length > 20, String(withDetails.length));
      assert.equal(rows.length - withDetails.length, omittedDetails);
      assert.ok(size(rows) <= 6_000 && size(rows) > 5_000);
    });

    it('never makes an empty snapshot of one that is not', async () => {
      const { parts, omittedRows } = await fitted(rowsOf(5, 'x'.repeat(1_000)), 10);
      assert.deepEqual([parts.map((part) => part.length), omittedRows], [[1], 4]);
    });
  });

  describe('for a snapshot that may be split', () => {
    it('keeps it in one part while it fits', async () => {
      const rows = rowsOf(3);
      assert.deepEqual(await fitted(rows, 1_000, 4), { parts: [rows], omittedRows: 0, omittedDetails: 0 });
      assert.deepEqual(await fitted([], 1_000, 4), { parts: [[]], omittedRows: 0, omittedDetails: 0 });
    });

    it('divides it into as few parts as needed, with whole rows in their order', async () => {
      const rows = rowsOf(100);
      const { parts, omittedRows, omittedDetails } = await fitted(rows, 4_000, 32);
      assert.deepEqual([parts.flat(), omittedRows, omittedDetails], [rows, 0, 0]);
      assert.equal(parts.length, Math.ceil(size(rows) / 4_000));
      for (const part of parts) assert.ok(size(part) <= 4_002);
    });

    it('does not go beyond the most parts: ExtraDetails are left out from the end, then rows', async () => {
      const details = await fitted(rowsOf(100), 2_000, 3);
      assert.deepEqual([details.parts.length, details.parts.flat().length, details.omittedRows], [3, 100, 0]);
      assert.ok(details.omittedDetails > 0);
      const rows = rowsOf(1_000);
      const cut = await fitted(rows, 2_000, 3);
      assert.equal(cut.parts.length, 3);
      assert.equal(cut.parts.flat().length + cut.omittedRows, 1_000);
      const whole = cut.parts.flat().filter(({ ExtraDetails }) => ExtraDetails !== undefined);
      assert.deepEqual(whole, rows.slice(0, whole.length));
      assert.ok(whole.length > 20);
      assert.equal(cut.parts.flat().length - whole.length, cut.omittedDetails);
    });

    it('gives a row that is larger than a part its own', async () => {
      const large = { LocalPort: '1', ExtraDetails: { Executable: 'x'.repeat(3_000) } };
      const [before, after] = [rowsOf(2), rowsOf(2)];
      const { parts } = await fitted([...before, large, ...after], 1_000, 32);
      assert.deepEqual(parts, [before, [large], after]);
    });
  });

  it('fits any input and counts the omitted rows', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(80), fc.nat(80))),
        fc.integer({ min: 200, max: 5_000 }),
        fc.integer({ min: 1, max: 5 }),
        fc.nat(30),
        async (lengths, partBytes, maxParts, extra) => {
          const all = lengths.map(([text, details]) => ({
            Name: 'n'.repeat(text),
            ...(details === 0 ? {} : { ExtraDetails: { D: 'd'.repeat(details) } }),
          }));
          const { parts, omittedRows, omittedDetails } = await fitted(all, partBytes, maxParts, extra);
          const rows = parts.flat();
          assert.equal(rows.length + omittedRows, all.length);
          assert.deepEqual(
            rows.map(({ Name }) => Name),
            all.slice(0, rows.length).map(({ Name }) => Name),
          );
          assert.ok(parts.length <= maxParts);
          assert.ok(parts.every((part) => part.length > 0 || all.length === 0));
          for (const part of parts) {
            if (part.length > 1) assert.ok(size(part) + part.length * extra <= partBytes + 2);
          }
          if (omittedRows === 0 && omittedDetails === 0) assert.deepEqual(rows, all);
          else assert.ok(size(all) + all.length * extra > partBytes);
          const bare = rows.filter((row, n) => row.ExtraDetails === undefined && all[n]?.ExtraDetails !== undefined);
          assert.equal(bare.length, omittedDetails);
        },
      ),
    ));
});

describe('labelled', () => {
  const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

  it('leaves a snapshot alone that is one part and lacks nothing', () => {
    const parts = [[{ A: 'x' }, { A: 'y' }]];
    assert.deepEqual(labelled({ parts, omittedRows: 0, omittedDetails: 0 }), parts);
    assert.deepEqual(labelled({ parts: [[]], omittedRows: 7, omittedDetails: 0 }), [[]]);
  });

  it('states in the last row what is missing', () => {
    const [[row] = []] = labelled({ parts: [[{ A: 'x' }]], omittedRows: 7, omittedDetails: 3 });
    assert.deepEqual(row, { A: 'x', ExtraDetails: { OmittedElements: '7', OmittedDetails: '3' } });
  });

  it('adds the number of the part to the first row of each part', () => {
    const rows = [{ A: 'a', ExtraDetails: { Pid: '7' } }, { A: 'b' }, { A: 'c' }] as const;
    const parts = [[rows[0], rows[1]], [rows[2]]];
    const [first = [], second = []] = labelled({ parts, omittedRows: 5, omittedDetails: 0 });
    const { SnapshotId } = detailsOf(first[0] ?? {});
    assert.match(SnapshotId ?? '', UUID);
    assert.deepEqual(first, [{ A: 'a', ExtraDetails: { Pid: '7', Part: '1', Parts: '2', SnapshotId } }, { A: 'b' }]);
    assert.deepEqual(second, [{ A: 'c', ExtraDetails: { Part: '2', Parts: '2', SnapshotId, OmittedElements: '5' } }]);
    const [[again] = []] = labelled({ parts, omittedRows: 0, omittedDetails: 0 });
    assert.notEqual(detailsOf(again ?? {}).SnapshotId, SnapshotId);
  });
});
