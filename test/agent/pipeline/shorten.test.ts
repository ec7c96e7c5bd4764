import assert from 'node:assert/strict';
import fc from 'fast-check';
import sinon from 'sinon';
import { shorten } from '../../../src/agent/pipeline/shorten.ts';
import type { Payload } from '../../../src/core/contract/event.ts';
import { fuzzRuns } from '../../fuzz.ts';

const eventWith = (payload: readonly Payload[], Category = 'Periodic') =>
  JSON.stringify({ Id: 'id', Name: 'ProcessCreate', Category, Payload: payload });
const rowsOf = (json: string | undefined) => {
  assert.ok(json !== undefined, 'was given up');
  return JSON.parse(json).Payload as (Payload & { ExtraDetails: Record<string, string> })[];
};

/** A row with the names that `ShortenedField` uses for its strings. */
const flat = ({ ExtraDetails = {}, ...row }: Payload): Payload => ({
  ...row,
  ...Object.fromEntries(Object.entries(ExtraDetails as object).map(([name, text]) => [`ExtraDetails.${name}`, text])),
});

describe('shorten', () => {
  it('truncates the longest string of the only row and reports it', () => {
    const commandLine = 'x'.repeat(10_000);
    const [row] = rowsOf(
      shorten(eventWith([{ Executable: '/bin/ls', CommandLine: commandLine, ProcessId: 7 }]), 2_000),
    );
    assert.equal(row?.Executable, '/bin/ls');
    assert.equal(row?.ProcessId, 7);
    assert.ok(commandLine.startsWith(String(row?.CommandLine)) && String(row?.CommandLine).length > 500);
    assert.deepEqual(row?.ExtraDetails, { ShortenedField: 'CommandLine', OriginalBytes: '10000' });
  });

  it('keeps existing details', () => {
    const [row] = rowsOf(shorten(eventWith([{ Message: 'x'.repeat(5_000), ExtraDetails: { ErrorId: 'ID' } }]), 500));
    assert.equal(row?.ExtraDetails.ErrorId, 'ID');
    assert.equal(row?.ExtraDetails.ShortenedField, 'Message');
  });

  it('reports every truncated string if there are several', () => {
    const row = { A: 'a'.repeat(3_000), B: 'é'.repeat(2_900), C: 'c' };
    const [short] = rowsOf(shorten(eventWith([row]), 1_000));
    assert.deepEqual(short?.ExtraDetails, { ShortenedField: 'B;A', OriginalBytes: '5800;3000' });
    assert.equal(short?.C, 'c');
  });

  it('leaves out rows at the end, keeps as many as fit, and says how many are gone', () => {
    const rows = Array.from({ length: 100 }, (_, n) => ({ LocalPort: String(n), Text: 'x'.repeat(50) }));
    const json = shorten(eventWith(rows), 2_000);
    const kept = rowsOf(json);
    assert.ok(kept.length > 15 && Buffer.byteLength(json ?? '') > 1_900);
    assert.deepEqual(
      kept.map(({ LocalPort }) => LocalPort),
      rows.slice(0, kept.length).map(({ LocalPort }) => LocalPort),
    );
    assert.deepEqual(kept.at(-1)?.ExtraDetails, { OmittedElements: String(100 - kept.length) });
    assert.equal(kept[0]?.ExtraDetails, undefined);
  });

  describe('given rows with details', () => {
    const rows = Array.from({ length: 100 }, (_, n) => ({
      Description: `Rule ${n} holds`,
      ...(n % 10 === 9 ? {} : { ExtraDetails: { RuleId: `rule.${n}`, Remediation: 'x'.repeat(300) } }),
    }));
    const whole = Buffer.byteLength(eventWith(rows));
    const bareRows = rows.map(({ Description }) => ({ Description }));
    const bare = Buffer.byteLength(eventWith(bareRows));

    it('omits details from the end before any row, and reports their number', () => {
      const room = Math.floor((whole + bare) / 2);
      const json = shorten(eventWith(rows), room) ?? '';
      const kept = rowsOf(json);
      assert.ok(Buffer.byteLength(json) > room - 400);
      assert.deepEqual(
        kept.map(({ Description }) => Description),
        rows.map(({ Description }) => Description),
      );
      const last = kept.findLastIndex(({ ExtraDetails: details }) => details?.RuleId !== undefined);
      assert.deepEqual(kept.slice(0, last + 1), rows.slice(0, last + 1));
      const without = rows.slice(last + 1).filter(({ ExtraDetails: details }) => details !== undefined).length;
      assert.ok(without > 30 && without < 60);
      assert.deepEqual(kept.at(-1)?.ExtraDetails, { OmittedDetails: String(without) });
      assert.deepEqual(kept.slice(last + 1, -1), bareRows.slice(last + 1, -1));
    });

    it('leaves out rows only when all details are gone, and says both', () => {
      const kept = rowsOf(shorten(eventWith(rows), bare - 500));
      assert.ok(kept.length > 70 && kept.length < 100);
      assert.deepEqual(kept.slice(0, -1), bareRows.slice(0, kept.length - 1));
      assert.deepEqual(kept.at(-1)?.ExtraDetails, {
        OmittedElements: String(100 - kept.length),
        OmittedDetails: String(kept.length - Math.floor(kept.length / 10)),
      });
    });
  });

  describe('given a part of a snapshot', () => {
    const label = { Part: '2', Parts: '3', SnapshotId: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f' };

    it('keeps the number of the part regardless of omitted rows', () => {
      const otherRows = Array.from({ length: 50 }, (_, n) => ({
        A: String(n),
        ExtraDetails: { Text: 'x'.repeat(100) },
      }));
      const rows = [{ A: 'first', ExtraDetails: { Text: 'x'.repeat(100), ...label } }, ...otherRows];
      for (const room of [4_000, 900, 400]) {
        const [first] = rowsOf(shorten(eventWith(rows), room));
        const { Text: _, OmittedElements: __, OmittedDetails: ___, ...left } = first?.ExtraDetails ?? {};
        assert.deepEqual(left, label, String(room));
      }
    });

    it('does not count its label as omitted', () => {
      const rows = [
        { A: 'first', ExtraDetails: label },
        { A: 'x'.repeat(200), ExtraDetails: { Text: 'x'.repeat(100) } },
      ];
      const kept = rowsOf(shorten(eventWith(rows), Buffer.byteLength(eventWith(rows)) - 20));
      assert.deepEqual(kept[0], rows[0]);
      assert.deepEqual(kept[1]?.ExtraDetails, { OmittedDetails: '1' });
    });

    it('never cuts the label of a single row', () => {
      const json = eventWith([{ Text: 'x'.repeat(400), ExtraDetails: label }]);
      const texts = new Set<unknown>();
      for (let room = 100; room < json.length; room += 1) {
        const short = shorten(json, room);
        if (short === undefined) continue;
        const [{ Text, ExtraDetails } = { ExtraDetails: {} }] = rowsOf(short);
        const { ShortenedField, OriginalBytes: _, ...left } = ExtraDetails;
        assert.deepEqual([ShortenedField, left], ['Text', label], String(room));
        texts.add(Text);
      }
      assert.ok(texts.size > 10 && texts.has(''), 'the text was not cut as far as it can be');
    });
  });

  it('cuts the first row when not even that fits', () => {
    const rows = [{ Text: 'x'.repeat(5_000) }, { Text: 'y' }, { Text: 'z' }];
    const kept = rowsOf(shorten(eventWith(rows), 500));
    assert.equal(kept.length, 1);
    assert.deepEqual(kept[0]?.ExtraDetails, { OmittedElements: '2', ShortenedField: 'Text', OriginalBytes: '5000' });
  });

  it('leaves nothing out of an event whose elements count each: it goes as a whole or not at all', () => {
    const json = eventWith(
      Array.from({ length: 100 }, (_, n) => ({ ProcessId: n, CommandLine: 'x'.repeat(50) })),
      'Triggered',
    );
    const bytes = Buffer.byteLength(json);
    assert.equal(shorten(json, bytes), json);
    for (const room of [bytes - 1, 2_000, 200, 0]) assert.equal(shorten(json, room), undefined);
  });

  it('cuts a text in ExtraDetails when that is the longest', () => {
    const folder = '\u0001'.repeat(4_095);
    const row = { Executable: '/bin/ls', CommandLine: 'x'.repeat(5_000), ExtraDetails: { CurrentDirectory: folder } };
    const [short] = rowsOf(shorten(eventWith([row], 'Triggered'), 7_900));
    assert.equal(short?.CommandLine, row.CommandLine); // it takes fewer bytes, although it has more characters
    const { CurrentDirectory = '', ...notes } = short?.ExtraDetails ?? {};
    assert.ok(folder.startsWith(CurrentDirectory) && CurrentDirectory.length > 300);
    assert.deepEqual(notes, { ShortenedField: 'ExtraDetails.CurrentDirectory', OriginalBytes: '4095' });
  });

  it('cuts everything that is long before it gives up', () => {
    const long = '\u0001'.repeat(4_095);
    const details = Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`Detail${n}`, long]));
    for (const room of [7_900, 2_000]) {
      const [short] = rowsOf(shorten(eventWith([{ CommandLine: long, ExtraDetails: details }], 'Triggered'), room));
      const { ShortenedField = '', OriginalBytes } = short?.ExtraDetails ?? {};
      const expected = ['CommandLine', ...Object.keys(details).map((name) => `ExtraDetails.${name}`)];
      assert.deepEqual(ShortenedField.split(';').toSorted(), expected.toSorted());
      assert.equal(OriginalBytes, expected.map(() => '4095').join(';'));
    }
    // Its own notes are all that could still be cut.
    assert.equal(shorten(eventWith([{ CommandLine: long, ExtraDetails: details }], 'Triggered'), 500), undefined);
  });

  it('leaves alone what fits', () => {
    const json = eventWith([{ CommandLine: 'x'.repeat(100) }]);
    assert.equal(shorten(json, Buffer.byteLength(json)), json);
  });

  it('does not cut a character in two', () => {
    for (let room = 300; room < 340; room += 1) {
      const [row] = rowsOf(shorten(eventWith([{ CommandLine: '😀'.repeat(500) }]), room));
      assert.match(String(row?.CommandLine), /^(😀)*$/u);
    }
  });

  for (const json of ['', '{', 'null', '7', '[]', '"text"', '{}', '{"Payload":7}', '{"Payload":[]}']) {
    it(`gives up ${JSON.stringify(json)}`, () => assert.equal(shorten(json, 100), undefined));
  }

  it('gives up when there is nothing to cut', () => {
    assert.equal(shorten(eventWith([{ ProcessId: 7, Text: 'short' }]), 10), undefined);
    assert.equal(shorten(eventWith([{ Text: 'x'.repeat(10_000) }]), 0), undefined);
    assert.equal(shorten(eventWith([{ Text: 'x'.repeat(10_000) }]), -5), undefined);
    assert.equal(shorten(eventWith([{ Numbers: Array.from({ length: 1_000 }, () => 7) }]), 100), undefined);
  });

  it('makes a valid event that fits and says what it lacks, or gives up', () => {
    const text = fc.oneof(
      fc.string({ maxLength: 600 }),
      fc.string({ unit: 'binary', maxLength: 600 }),
      fc.string({ maxLength: 3, minLength: 1 }).map((unit) => unit.repeat(400)),
      fc.constantFrom('\u0001'.repeat(800), '😀'.repeat(400), '"'.repeat(900), 'ü'.repeat(700)),
    );
    const row = fc.dictionary(fc.constantFrom('A', 'B', 'C', 'D'), fc.oneof(text, fc.integer(), fc.boolean()));
    const marked = fc
      .tuple(row, fc.option(fc.dictionary(fc.constantFrom('X', 'Y'), fc.oneof(fc.string(), text))))
      .map(([r, details]) => (details === null ? r : { ...r, ExtraDetails: details }));
    fc.assert(
      fc.property(
        fc.array(marked, { minLength: 1, maxLength: 30 }),
        fc.integer({ min: -10, max: 8_000 }),
        (rows, room) => {
          const json = eventWith(rows);
          const result = shorten(json, room);
          if (result === undefined) return;
          assert.ok(Buffer.byteLength(result) <= room);
          const { Id, Name, Payload: kept } = JSON.parse(result);
          assert.deepEqual([Id, Name], ['id', 'ProcessCreate']);
          assert.ok(kept.length >= 1);
          const original = JSON.parse(json).Payload;
          const { OmittedElements = '0', OmittedDetails = '0', ShortenedField } = kept.at(-1).ExtraDetails ?? {};
          assert.equal(Number(OmittedElements), original.length - kept.length);
          // Details are gone from the end: of so many rows that had any, and of all when rows are gone as well.
          const had = original.slice(0, kept.length).map((r: Payload) => r.ExtraDetails !== undefined);
          let left = had.filter(Boolean).length - Number(OmittedDetails);
          if (OmittedElements !== '0' && kept.length > 1) assert.equal(left, 0);
          const expected: Payload[] = original.slice(0, kept.length).map(({ ExtraDetails, ...bareRow }: Payload) => {
            if (ExtraDetails === undefined || left-- <= 0) return bareRow;
            return { ...bareRow, ExtraDetails };
          });
          assert.deepEqual(kept.slice(0, -1), expected.slice(0, -1));
          const last = flat(kept.at(-1));
          const lastBefore = flat(expected.at(-1) ?? {});
          const changed = Object.keys(lastBefore).filter((field) => last[field] !== lastBefore[field]);
          assert.deepEqual(changed.toSorted(), (ShortenedField?.split(';') ?? []).toSorted());
          for (const field of changed) assert.ok(String(lastBefore[field]).startsWith(String(last[field])));
        },
      ),
      { numRuns: fuzzRuns(4_000) },
    );
  });

  it('writes a huge event a few times only', () => {
    const json = eventWith([{ A: '\u0001'.repeat(1_000_000), B: 'b'.repeat(900_000) }]);
    const written = sinon.spy(JSON, 'stringify');
    try {
      rowsOf(shorten(json, 8_000));
      const length = written.returnValues.reduce((sum, text: string) => sum + text.length, 0);
      assert.ok(length < 5 * json.length, `${length} characters written, of an event of ${json.length}`);
    } finally {
      written.restore();
    }
  });
});
