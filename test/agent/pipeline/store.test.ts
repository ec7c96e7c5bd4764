import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { FallbackFiles } from '../../../src/agent/pipeline/fallback-files.ts';
import { Positions, readRecords, recordSize, SEGMENT_HEAD } from '../../../src/agent/pipeline/segment.ts';
import { type EventFilter, SegmentLog, type SizedEvent } from '../../../src/agent/pipeline/store.ts';
import { isFull } from '../../../src/agent/state/background-writer.ts';
import { UNIDENTIFIED } from '../../../src/core/base/counters.ts';
import { type Duration, hours, milliseconds, minutes } from '../../../src/core/base/duration.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { assertClosed, contents, event, events, fixture, jsonOf } from './queue-fixture.ts';
import { headOfVersion, SimulatedFiles, seeded, systemError } from './simulated-files.ts';
import { runUntilKilled } from './tell.ts';

const sized = (all: ReturnType<typeof events>): SizedEvent[] =>
  all.map((one) => {
    const jsonBytes = Buffer.byteLength(one.json);
    return { event: one, jsonBytes, recordBytes: recordSize(one.name, jsonBytes) };
  });

describe('SegmentLog', () => {
  let files: SimulatedFiles;
  let log: SegmentLog;
  let now: Duration;

  const reopen = () => {
    log = new SegmentLog(new FallbackFiles(files), '/log', {
      segmentBytes: () => 4_096,
      ageLimit: hours(16),
      clock: { monotonic: () => now, now: () => new Date(now) },
    });
    return log.open();
  };
  const everything = () => {
    const taken = log.take(Number.POSITIVE_INFINITY, true);
    if (taken.length > 0) log.settle('kept');
    for (const { json, jsonBytes } of taken) assert.equal(jsonBytes, Buffer.byteLength(json));
    return taken;
  };
  const paths = () => [...files.files.keys()].sort();
  const first = () => paths()[0] ?? '';
  const bytesOf = (path: string) => files.files.get(path)?.data ?? Buffer.alloc(0);
  const placeOf = (path: string, index: number) =>
    [...readRecords(files, path, SEGMENT_HEAD.length, bytesOf(path).length)][index]?.start ?? Number.NaN;
  const closed = () => {
    const { collected, delivered, aggregatedAway, dropped } = log.account().totals();
    const lost = Object.values(dropped).reduce((all, n) => all + n, 0);
    assert.equal(collected, delivered + aggregatedAway + lost + log.waiting().elements);
  };

  beforeEach(() => {
    files = new SimulatedFiles(seeded(1));
    now = hours(0);
    reopen();
  });
  afterEach(closed);

  it('returns appended events in order, with positions that continue after a restart', () => {
    const [a, b] = [events(3), events(2)];
    log.append(sized(a));
    reopen();
    log.append(sized(b));
    assert.deepEqual(jsonOf(everything()), jsonOf([...a, ...b]));
    assert.deepEqual(
      everything().map(({ position }) => position),
      [0, 1, 2, 3, 4],
    );
  });

  it('settles some of the taken events and keeps the otherEvents in place, even after a restart', () => {
    const all = events(6, 900); // two segments
    log.append(sized(all.slice(0, 4)));
    log.append(sized(all.slice(4)));
    log.take(Number.POSITIVE_INFINITY, true);
    log.settle('delivered', new Set([1, 2, 4, 5]));
    const kept = [all[0], all[3]].map((one) => one?.json);
    assert.deepEqual(jsonOf(everything()), kept);
    reopen();
    assert.deepEqual(jsonOf(everything()), kept);
    log.take(Number.POSITIVE_INFINITY, true);
    log.settle('refused', new Set([0]));
    log.take(Number.POSITIVE_INFINITY, true);
    log.settle('delivered');
    const { collected, delivered, dropped } = log.account().totals();
    assert.deepEqual([collected, delivered, dropped], [6, 5, { refused: 1 }]);
    assert.deepEqual(everything(), []);
  });

  it('writes a batch in one write', () => {
    const before = files.counts.append ?? 0;
    log.append(sized(events(20)));
    assert.equal((files.counts.append ?? 0) - before, 1);
  });

  it('skips a torn last record', () => {
    const all = events(3);
    log.append(sized(all));
    const file = files.files.get(first());
    if (file) file.data = file.data.subarray(0, -1);
    const { found } = reopen();
    assert.deepEqual(jsonOf(everything()), jsonOf(all.slice(0, 2)));
    assert.equal(found.corrupt, 0);
  });

  it('skips a damaged record in the middle, and counts it when a checkpoint knew of it', () => {
    const all = events(3);
    log.append(sized(all));
    const damaged = placeOf(first(), 2) + 40;
    reopen();
    bytesOf(first()).fill(0xff, damaged, damaged + 1);
    const { found } = reopen();
    assert.deepEqual(jsonOf(everything()), jsonOf([all[0], all[2]].filter((one) => one !== undefined)));
    assert.equal(found.corrupt, 1);
    assert.equal(log.account().byEvent().ProcessCreate?.dropped.corrupt, 1);
  });

  it('counts the events of a gap after the last checkpoint without a name', () => {
    log.append(sized(events(3)));
    bytesOf(first()).fill(0xff, placeOf(first(), 2) + 40, placeOf(first(), 2) + 41);
    reopen();
    assert.equal(log.account().byEvent()[UNIDENTIFIED]?.dropped.corrupt, 1);
    assert.equal(log.waiting().events, 2);
  });

  it('gives up the rest of a segment when a length makes no sense', () => {
    const all = events(3);
    log.append(sized(all));
    const damaged = placeOf(first(), 2);
    reopen();
    bytesOf(first()).writeUInt32LE(0xffff_ffff, damaged);
    reopen();
    assert.deepEqual(jsonOf(everything()), jsonOf(all.slice(0, 1)));
    assert.equal(log.account().totals().dropped.corrupt, 2);
  });

  it('counts the events of a missing segment by name', () => {
    const all = [...events(3, 1_500), event(1_500, 'Login', 2, 5), ...events(3, 1_500)];
    for (const one of all) log.append(sized([one]));
    const victim = paths().find((path) => bytesOf(path).includes('Login')) ?? '';
    const there = [...readRecords(files, victim, SEGMENT_HEAD.length, bytesOf(victim).length)];
    files.files.delete(victim);
    reopen();
    assert.equal(log.account().byEvent().Login?.dropped.corrupt, 2);
    assert.equal(log.waiting().events, all.length - there.filter(({ type }) => type === 'event').length);
  });

  it('falls back to an older checkpoint when the newest segment has none that is intact', () => {
    log.append(sized(events(3, 1_500)));
    log.append(sized(events(2, 1_500)));
    log.take(1, true);
    log.settle('delivered');
    const newest = paths().at(-1) ?? '';
    bytesOf(newest).fill(0xff, 20, 21);
    reopen();
    assert.ok(log.waiting().events >= 2);
  });

  it('leaves files of other formats and other names alone', () => {
    files.create('/log/00000000000000ff.log').append(Buffer.concat([headOfVersion(2), Buffer.from('future')]));
    files.create('/log/notes.txt').append(Buffer.from('mine'));
    const { found } = reopen();
    log.append(sized(events(1)));
    assert.deepEqual(found.keptAside, ['00000000000000ff.log', 'notes.txt']);
    assert.ok(bytesOf('/log/00000000000000ff.log').includes('future'));
    assert.ok(paths().includes('/log/0000000000000100.log'));
  });

  it('removes the remains of a new segment after a crash', async () => {
    files.create('/log/00000000000000aa.log');
    files.create('/log/00000000000000ab.log').append(Buffer.concat([SEGMENT_HEAD.subarray(0, 3), Buffer.alloc(9)]));
    const { found } = reopen();
    log.append(sized(events(1)));
    await log.sync();
    assert.deepEqual(found.keptAside, []);
    assert.deepEqual(paths(), ['/log/00000000000000ac.log']);
  });

  it('deletes delivered segments after the next sync, not before', async () => {
    for (const one of events(8, 1_500)) log.append(sized([one]));
    const before = paths().length;
    log.take(Number.POSITIVE_INFINITY, true);
    log.settle('delivered');
    assert.equal(paths().length, before);
    await log.sync();
    assert.equal(paths().length, 1);
  });

  it('keeps its state when a write fails', () => {
    const all = events(2);
    log.append(sized(all));
    files.fault = (operation) => (operation === 'append' ? 'ENOSPC' : undefined);
    assert.ok(isFull(log.append(sized(events(2)))));
    files.fault = () => undefined;
    assert.deepEqual(jsonOf(everything()), jsonOf(all));
    reopen();
    assert.deepEqual(jsonOf(everything()), jsonOf(all));
  });

  it('never reads the remains of a failed write as events', () => {
    const all = events(2);
    log.append(sized(all));
    files.fault = (operation) => (operation === 'truncate' ? 'EIO' : undefined);
    const used = [...files.files.values()].reduce((sum, { data }) => sum + data.length, 0);
    files.capacity = used + 400; // two of three get through
    assert.ok(isFull(log.append(sized(events(3)))));
    files.fault = () => undefined;
    files.capacity = Number.POSITIVE_INFINITY;
    const later = events(1);
    log.append(sized(later));
    reopen();
    assert.deepEqual(jsonOf(everything()), jsonOf([...all, ...later]));
  });

  it('drops events that have become unreadable and continues after them', () => {
    const all = events(6, 1_500);
    for (const one of all) log.append(sized([one]));
    files.fault = (operation, path) => (operation === 'read' && path === first() ? 'EIO' : undefined);
    const rest = everything();
    assert.ok(rest.length < all.length && rest.length > 0);
    assert.equal(log.account().totals().dropped.corrupt, all.length - rest.length);
  });

  it('counts no unreadable event of the current segment as waiting, and stores new events after it', () => {
    log.append(sized(events(3)));
    files.fault = (operation) => (operation === 'read' ? 'EIO' : undefined);
    assert.deepEqual(everything(), []);
    files.fault = () => undefined;
    assert.deepEqual(log.waiting(), { events: 0, elements: 0, bytes: 0 });
    assert.deepEqual(
      [0, 1, 2].map((position) => log.isWaiting(position)),
      [false, false, false],
    );
    const later = events(2);
    log.append(sized(later));
    assert.deepEqual(jsonOf(everything()), jsonOf(later));
    assert.equal(log.account().totals().dropped.corrupt, 3);
  });

  it('keeps only the current segment open after a sync', async () => {
    for (const one of events(8, 1_500)) log.append(sized([one]));
    assert.ok(paths().length > 2);
    await log.sync();
    assert.equal(files.open.size, 1);
    log.close();
    assert.equal(files.open.size, 0);
  });

  it('closes all its segments when it is closed before a sync', () => {
    for (const one of events(8, 1_500)) log.append(sized([one]));
    log.close();
    assert.equal(files.open.size, 0);
  });

  it('closes delivered segments that were never synced when it deletes them', async () => {
    for (const one of events(8, 1_500)) log.append(sized([one]));
    log.take(Number.POSITIVE_INFINITY, true);
    log.settle('delivered');
    await log.sync();
    assert.deepEqual([paths().length, files.open.size], [1, 1]);
  });

  it('closes a new segment whose first write failed', () => {
    const before = files.open.size;
    for (const one of events(8, 1_500)) {
      files.fault = (operation) => (operation === 'append' ? 'ENOSPC' : undefined);
      assert.ok(isFull(log.append(sized([one]))));
      files.fault = () => undefined;
      assert.equal(log.append(sized([one])), undefined);
    }
    assert.ok(paths().length > 2);
    assert.equal(files.open.size - before, paths().length - 1);
  });

  describe('asked for some events only', () => {
    const ALERTS = { names: new Set(['SecurityAlert']) };
    const append = (...names: string[]) => {
      const all = names.map((name) => event(700, name));
      for (const one of all) log.append(sized([one]));
      return all;
    };
    const taken = (wanted: EventFilter) => {
      const found = log.take(Number.POSITIVE_INFINITY, true, wanted);
      if (found.length > 0) log.settle('kept');
      return jsonOf(found);
    };
    const reads = (work: () => void) => {
      const before = files.counts.read ?? 0;
      work();
      return (files.counts.read ?? 0) - before;
    };

    it('takes those, and keeps the otherEvents where they are, over a restart too', () => {
      const all = append(
        'Login',
        'SecurityAlert',
        'Login',
        'Login',
        'SecurityAlert',
        'Login',
        'SecurityAlert',
        'Login',
      );
      const otherEvents = jsonOf(all.filter(({ name }) => name === 'Login'));
      assert.equal(taken({ names: new Set(['SecurityAlert']), except: new Set([4]) }).length, 2);
      log.take(Number.POSITIVE_INFINITY, true, ALERTS);
      log.settle('delivered', new Set([1, 6]));
      assert.deepEqual(taken({}), [...otherEvents.slice(0, 3), all[4]?.json, ...otherEvents.slice(3)]);
      log.take(Number.POSITIVE_INFINITY, true, ALERTS);
      log.settle('delivered');
      assert.deepEqual(taken({}), otherEvents);
      reopen();
      assert.deepEqual(taken({}), otherEvents);
      assert.equal(log.account().byEvent().SecurityAlert?.delivered, 3);
      log.take(Number.POSITIVE_INFINITY, true);
      log.settle('delivered');
      assert.deepEqual([log.waiting().events, log.account().totals().dropped], [0, {}]);
    });

    it('counts the bytes of those, not of what lies before them', () => {
      const all = append('Login', 'SecurityAlert', 'Login', 'SecurityAlert', 'SecurityAlert');
      assert.deepEqual(
        jsonOf(log.take(1_402, true, ALERTS)),
        jsonOf([all[1], all[3]].filter((one) => one !== undefined)),
      );
      log.settle('kept');
      assert.deepEqual(taken({ position: 2 }), [all[2]?.json]);
      assert.deepEqual(taken({ position: 5 }), []);
    });

    it('reads no segment that has none', () => {
      append(...Array(40).fill('Login'), 'SecurityAlert');
      assert.ok(reads(() => assert.equal(taken(ALERTS).length, 1)) <= 2);
      assert.ok(reads(() => assert.equal(taken({ position: 20 }).length, 1)) <= 2);
      log.take(Number.POSITIVE_INFINITY, true, ALERTS);
      log.settle('delivered');
      assert.equal(
        reads(() => assert.deepEqual(taken(ALERTS), [])),
        0,
      );
      assert.equal(taken({}).length, 40);
    });

    it('gives up none of the otherEvents when it cannot read those', () => {
      const all = append('Login', 'SecurityAlert', 'Login');
      const damaged = placeOf(first(), 2) + 40;
      bytesOf(first()).fill(0xff, damaged, damaged + 1);
      assert.deepEqual(taken(ALERTS), []);
      assert.deepEqual([log.waiting().events, log.account().totals().dropped], [3, {}]);
      append('SecurityAlert');
      log.take(Number.POSITIVE_INFINITY, true, ALERTS);
      log.settle('delivered');
      assert.deepEqual(taken({}), [all[0]?.json, all[2]?.json]);
      log.take(Number.POSITIVE_INFINITY, true);
      log.settle('delivered');
      const { delivered, dropped } = log.account().totals();
      assert.deepEqual([log.waiting().events, delivered, dropped], [0, 3, { corrupt: 1 }]);
    });

    it('looks through some megabytes at a time, as long as it finds any', () => {
      for (let n = 0; n < 4; n += 1) log.append(sized([event(700, 'SecurityAlert'), event(2_100_000, 'Login')]));
      assert.equal(taken(ALERTS).length, 2);
      assert.equal(taken({}).length, 8);
    });
  });

  describe('growing old', () => {
    const expired = () => log.account().totals().dropped.expired ?? 0;
    const pass = (time: Duration) => {
      now = milliseconds(now + time);
      log.expire();
    };

    it('drops what has waited for as long as the limit, by the segment, and nothing younger', () => {
      for (let hour = 0; hour < 16; hour += 1) {
        log.append(sized(events(1)));
        pass(hours(1));
        assert.equal(expired(), 0);
      }
      pass(minutes(59));
      assert.ok(expired() <= 1);
      const before = expired();
      pass(minutes(1));
      pass(hours(1));
      assert.ok(expired() > before && expired() <= 3, `${expired()} expired`);
      pass(hours(14));
      assert.equal(log.waiting().events, 0);
      assert.equal(expired(), 16);
      reopen();
      assert.equal(expired(), 16);
    });

    it('drops expired events of a segment that never fills', () => {
      log.append(sized(events(1)));
      pass(hours(16));
      assert.deepEqual([expired(), log.waiting().events], [1, 0]);
    });

    it('counts the time of all runs, and none in between', () => {
      const all = events(3);
      log.append(sized(all));
      for (let run = 0; run < 7; run += 1) {
        pass(hours(2));
        log.noteTime();
        log.flush();
        log.close();
        now = milliseconds(Math.random() * 1e12); // another boot: this clock begins anywhere
        reopen();
        log.expire();
        assert.deepEqual(jsonOf(everything()), jsonOf(all));
      }
      pass(hours(3)); // the first note came after two hours
      assert.equal(log.waiting().events, 3);
      pass(hours(1));
      assert.equal(expired(), 3);
    });

    it('never drops what is being sent', () => {
      log.append(sized(events(3)));
      const taken = log.take(250, true);
      pass(hours(20));
      assert.equal(expired(), 0);
      log.settle('delivered');
      assert.equal(log.account().totals().delivered, taken.length);
      pass(hours(0));
      assert.deepEqual([expired(), log.waiting().events], [3 - taken.length, 0]);
    });

    it('reads a checkpoint that an older version wrote, which knew no time', () => {
      const all = events(2);
      log.append(sized(all));
      const file = bytesOf(first());
      const [checkpoint] = [...readRecords(files, first(), SEGMENT_HEAD.length, file.length)];
      assert.ok(checkpoint);
      const body = file.subarray(checkpoint.start + 8, checkpoint.end);
      const without = Buffer.from(body.toString('latin1').replace('"ran":0,', ' '.repeat(8)), 'latin1');
      without.copy(body);
      file.writeUInt32LE(crc32(without), checkpoint.start + 4);
      now = milliseconds(1e12);
      const { found } = reopen();
      pass(hours(15));
      assert.deepEqual([found.ran, found.corrupt, jsonOf(everything())], [0, 0, jsonOf(all)]);
    });
  });

  it('drops no event because of too many open files', () => {
    log.append(sized(events(1)));
    files.fault = () => 'EMFILE';
    assert.throws(() => log.take(1_000, true), systemError('EMFILE'));
    files.fault = () => undefined;
    assert.equal(everything().length, 1);
  });

  it('does not count data as durable after its sync failed', async () => {
    log.append(sized(events(2)));
    await log.sync();
    log.append(sized(events(1)));
    files.fault = (operation) => (operation === 'sync' ? 'EIO' : undefined);
    await assert.rejects(log.sync());
    files.fault = () => undefined;
    log.append(sized(events(1)));
    await log.sync();
    assert.deepEqual(log.positions, { next: 4, lasting: 2 });
    log.take(Number.POSITIVE_INFINITY, true);
    log.settle('delivered', new Set([0, 1, 2]));
    await log.sync();
    assert.deepEqual(log.positions, { next: 4, lasting: 4 });
  });

  it('owes a checkpoint after a sync that failed, and puts it into a new segment', async () => {
    log.append(sized(events(1)));
    files.fault = (operation) => (operation === 'sync' ? 'EIO' : undefined);
    await assert.rejects(log.sync());
    files.fault = () => undefined;
    const before = paths().length;
    assert.equal(log.hasPending, true);
    log.flush();
    assert.equal(paths().length, before + 1);
  });
});

describe('Positions', () => {
  it('joins adjacent ranges', () => {
    const positions = new Positions();
    positions.add(0, 5);
    positions.add(7, 9);
    positions.add(5, 7);
    positions.add(20, 30);
    assert.deepEqual(positions.toJSON(), [
      [0, 9],
      [20, 30],
    ]);
    assert.deepEqual([positions.has(8), positions.has(9), positions.has(20)], [true, false, true]);
  });

  it('rejects invalid ranges', () => {
    assert.deepEqual(Positions.from([[0, 2], ['a', 3], [-1, 4], null, [9, 5]]).toJSON(), [[0, 2]]);
    assert.deepEqual(Positions.from({}).toJSON(), []);
  });
});

describe('a process that is killed while it writes', () => {
  const writer = fileURLToPath(new URL('./crash-writer.js', import.meta.url));
  let folder: string;

  beforeEach(() => {
    folder = temporaryFolder();
  });

  it('loses no event that was acknowledged as stored', async function () {
    this.timeout(180_000);
    const random = seeded(7);
    for (let run = 0; run < 6; run += 1) {
      const lastNumber = await runUntilKilled(writer, folder, 20 + random() * 200);
      const { queues } = fixture(undefined, folder, 50_000_000);
      await queues.start();
      assertClosed(queues);
      const { totals } = queues.account('High');
      assert.ok(totals.collected >= lastNumber, `stored ${totals.collected}, lastNumber ${lastNumber}`);
      assert.equal(totals.dropped.corrupt ?? 0, 0);
      const numbers = contents(queues, 'High').map(({ json }) => (JSON.parse(json) as { n: number }).n);
      assert.deepEqual(
        numbers,
        Array.from({ length: totals.collected - totals.delivered }, (_, i) => totals.delivered + i),
      );
      await queues.stop();
    }
  });
});
