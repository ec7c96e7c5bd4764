import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import type { AuditEvent } from '../../../../src/agent/linux/audit/event.ts';
import { RecordStream } from '../../../../src/agent/linux/audit/record-stream.ts';
import { collectGarbage } from '../../../../src/agent/pipeline/memory-limit.ts';
import { milliseconds } from '../../../../src/core/base/duration.ts';
import { fuzzRuns } from '../../../fuzz.ts';

const GOLDEN = 'test/golden/debian13-6.18';

/** Records of real kernels, with the types they have. */
const records = readdirSync(GOLDEN)
  .filter((file) => file.endsWith('.txt'))
  .flatMap((file) => readFileSync(join(GOLDEN, file), 'latin1').split('\n'))
  .filter((line) => /^\d{4} audit\(/.test(line))
  .map((line) => ({ type: Number(line.slice(0, 4)), text: line.slice(5) }));

describe('RecordStream', () => {
  let events: AuditEvent[];
  let stream: RecordStream;

  beforeEach(() => {
    events = [];
    stream = new RecordStream((batch) => events.push(...batch));
  });

  const take = (type: number, text: string, now = milliseconds(0)) => {
    const buffer = Buffer.from(`head${text}tail`, 'latin1');
    stream.take(type, buffer, 4, buffer.length - 4, now);
  };

  it('builds events from records', () => {
    for (const { type, text } of records) take(type, text);
    stream.flush();
    assert.ok(events.length > 5);
    assert.equal(stream.counts.malformed, 0);
  });

  it('counts a record without a header, and one truncated within it', () => {
    take(1300, 'arch=c000003e');
    take(1300, 'audit(1.000:5)');
    assert.equal(stream.takeLost(milliseconds(0)), 2);
    assert.equal(stream.takeLost(milliseconds(0)), 0);
  });

  it('returns the latest time of a record, and 0 before the first one', () => {
    assert.equal(stream.newestTime, 0);
    take(1300, 'audit(7.250:5): arch=c000003e');
    take(1300, 'audit(3.000:6): arch=c000003e');
    assert.equal(stream.newestTime, 7_250);
  });

  it('returns the time up to which losses are settled', () => {
    take(1300, 'audit(1.000:5): arch=c000003e');
    stream.takeLost(milliseconds(10));
    assert.equal(stream.settledAt, undefined);
    stream.takeLost(milliseconds(5_000));
    assert.equal(stream.settledAt, 10);
  });

  it('counts kernel losses while a rule excludes the directories of starts', () => {
    stream.setExcluded(new Set([1307]));
    stream.setKernelLost(0);
    for (let serial = 1; serial <= 500; serial += 1) {
      take(1300, `audit(1.000:${serial}): arch=c000003e syscall=59 success=yes exit=0 pid=2 exe="/bin/x"`);
      take(1309, `audit(1.000:${serial}): argc=1 a0="x"`);
      take(1320, `audit(1.000:${serial}): `);
    }
    stream.setKernelLost(400);
    assert.equal(stream.takeLost(milliseconds(0)), 400);
  });

  it('delivers full batches as they arrive, and the rest on request', () => {
    for (let serial = 1; serial <= 40; serial += 1)
      take(1112, `audit(1.000:${serial}): pid=1 msg='op=login res=failed'`);
    assert.equal(events.length, 32);
    stream.deliver();
    assert.equal(events.length, 40);
  });

  const START = 'arch=c000003e syscall=59 success=yes exit=0 pid=2 exe="/bin/x"';

  it('delivers an event without its directory when its end record arrives', () => {
    take(1300, `audit(1.000:5): ${START}`);
    take(1309, 'audit(1.000:5): argc=1 a0="x"');
    stream.deliver();
    assert.equal(events.length, 0);
    take(1320, 'audit(1.000:5): ');
    stream.deliver();
    assert.deepEqual(
      events.map(({ serial }) => serial),
      [5],
    );
  });

  it('keeps events while they are held', () => {
    stream.hold();
    take(1112, "audit(1.000:5): pid=1 msg='op=login res=failed'");
    stream.flush();
    assert.equal(events.length, 0);
    stream.release();
    stream.deliver();
    assert.equal(events.length, 1);
  });

  it('delivers incomplete events at the end, and no empty batch', () => {
    const batches: number[] = [];
    stream = new RecordStream((batch) => batches.push(batch.length));
    stream.deliver();
    take(1300, `audit(1.000:5): ${START}`);
    stream.flush();
    stream.flush();
    assert.deepEqual(batches, [1]);
  });

  it('ignores the text after a record that ends within its header', () => {
    const buffer = Buffer.from('audit(1.000:5): pid=1');
    stream.take(1300, buffer, 0, 'audit(1.000:5)'.length, milliseconds(0));
    assert.deepEqual([stream.counts.malformed, stream.newestTime], [1, 0]);
  });

  it('counts nothing as lost that was made before the stream began', () => {
    for (const [options, lost] of [
      [{}, 9 + 1],
      [{ before: 15 }, 4 + 1],
      [{ beganLive: true }, 0],
    ] as const) {
      stream = new RecordStream(() => {}, options);
      take(1300, `audit(1.000:10): ${START}`);
      take(1309, 'audit(1.000:20): argc=1 a0="x"'); // its SYSCALL record is missing
      stream.flush();
      assert.equal(stream.takeLost(milliseconds(0), true), lost, JSON.stringify(options));
    }
  });

  it('drops the remains of events that began before reading did', () => {
    take(1309, 'audit(1.000:20): argc=1 a0="x"');
    stream.forgetRemains();
    stream.flush();
    assert.equal(stream.takeLost(milliseconds(0), true), 0);
  });

  it('accepts any records in bounded memory, and counts the unusable ones', function () {
    this.timeout(600_000);
    const RECORDS_PER_RUN = 100;
    const place = fc.double({ min: 0, max: 1, noNaN: true });
    const junk = fc.oneof(
      fc.constantFrom('"', "'", '=', ' ', '(null)', 'a0=', 'argc=99999', 'a1[0]=', '__proto__="x"', ':', ')', '\0'),
      fc.string({ unit: 'binary', maxLength: 12 }),
    );
    const change = fc.tuple(fc.constantFrom('cut', 'insert', 'replace', 'keep', 'repeat'), place, place, junk);
    const batch = fc.array(fc.tuple(fc.nat(), fc.nat(3_000), change), {
      minLength: RECORDS_PER_RUN,
      maxLength: RECORDS_PER_RUN,
    });
    let now = 0;
    let serial = 1;
    let taken = 0;
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    fc.assert(
      fc.property(batch, (all) => {
        events = [];
        now += 100;
        for (const [which, otherType, [how, from, to, text]] of all) {
          const { type, text: whole } = records[which % records.length] ?? { type: 1300, text: '' };
          const [a, b] = [Math.floor(from * whole.length), Math.floor(to * whole.length)];
          const [start, end] = [Math.min(a, b), Math.max(a, b)];
          serial += which % 3;
          const numbered = whole.replace(/^audit\([\d.]+:\d+\)/, `audit(1795546164.720:${serial})`);
          const changed = {
            keep: numbered,
            cut: numbered.slice(0, start),
            insert: numbered.slice(0, start) + text + numbered.slice(start),
            replace: numbered.slice(0, start) + text + numbered.slice(end),
            repeat: numbered + numbered.slice(start, end),
          }[how];
          take(otherType > 2_900 ? otherType : type, changed ?? '', milliseconds(now));
          taken += 1;
        }
        stream.expire(milliseconds(now));
        for (const event of events) {
          assert.ok(event.time instanceof Date && Number.isFinite(event.time.getTime()));
          assert.equal(Object.getPrototypeOf(event.fields), Object.prototype);
          for (const value of Object.values(event.fields)) assert.equal(typeof value, 'string');
          for (const argument of event.argv ?? []) assert.equal(typeof argument, 'string');
        }
        assert.ok(stream.takeLost(milliseconds(now)) >= 0);
      }),
      { numRuns: fuzzRuns(1_000_000 / RECORDS_PER_RUN) },
    );
    events = [];
    collectGarbage();
    const grown = (process.memoryUsage().heapUsed - before) / 2 ** 20;
    assert.ok(grown < 32, `${grown} MiB more than before`);
    stream.flush();
    process.stderr.write(`    ${taken} records\n`);
  });
});
