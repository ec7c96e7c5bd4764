import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { Window } from '../../../src/agent/pipeline/window.ts';
import { WindowLog } from '../../../src/agent/pipeline/window-log.ts';
import { type Leaving, LOG_HEAD } from '../../../src/agent/pipeline/window-records.ts';
import { hours } from '../../../src/core/base/duration.ts';
import type { Payload } from '../../../src/core/contract/event.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { countingParts } from './count-writer.ts';
import { assertClosed, contents, HandClock } from './queue-fixture.ts';
import { SimulatedFiles, seeded } from './simulated-files.ts';
import { runUntilKilled } from './tell.ts';

const ID = '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f';

describe('WindowLog', () => {
  let files: SimulatedFiles;
  let windows: Window[];
  let log: WindowLog;
  let positions: { next: number; lasting: number };
  const clock = new HandClock();

  const reopen = () => {
    const maxBytes = () => 16 * 1024 * 1024;
    log = new WindowLog({ files, folder: '/log', windows: () => windows, positions: () => positions, clock, maxBytes });
    windows = [];
    return log.open();
  };
  const begin = (name = 'ProcessCreate') => {
    const window = new Window({
      kind: { name, category: 'Triggered', type: 'Security', version: '1.0' },
      queue: 'Low',
      interval: hours(1),
      closesAt: hours(1),
    });
    windows.push(window);
    return window;
  };
  const add = (window: Window, text: string, hits = 1) => {
    const payload: Payload = { CommandLine: text };
    const element = {
      payload,
      bytes: JSON.stringify(payload).length,
      hits,
      first: 5,
      last: 7,
      number: -1,
      changed: false,
    };
    window.add(element);
    return element;
  };
  const leave = (window: Window, ...elements: Leaving['elements'][number][]) =>
    log.leave('Low', [{ id: ID, window, elements }], true);
  const paths = () => [...files.files.keys()].sort();
  const file = (index = -1) => files.files.get(paths().at(index) ?? '') ?? assert.fail();
  const found = () => {
    const {
      found: { windows: all, lost },
    } = reopen();
    const counts = all.flatMap(({ elements }) => elements.map(({ payload, hits }) => [payload.CommandLine, hits]));
    return {
      counts: Object.fromEntries(counts),
      lost,
      leaving: all.flatMap(({ leaving }) => leaving.map(({ id }) => id)),
    };
  };

  beforeEach(() => {
    files = new SimulatedFiles(seeded(1));
    positions = { next: 0, lasting: 0 };
    reopen();
  });

  it('returns saved windows and counts', () => {
    const window = begin();
    const element = add(window, 'ls \ud800 é');
    add(window, 'ps', 2 ** 40);
    assert.equal(log.save(), undefined);
    window.count(element, -(2 ** 50));
    window.count(element, 2 ** 50);
    assert.equal(log.save(), undefined);
    const {
      found: {
        windows: [one = assert.fail()],
        lost,
        keptAside,
      },
    } = reopen();
    assert.deepEqual([lost, keptAside], [0, []]);
    assert.deepEqual(
      [one.kind.name, one.queue, one.interval, one.closesAt],
      ['ProcessCreate', 'Low', hours(1), hours(1)],
    );
    assert.deepEqual(
      one.elements.map(({ payload, hits, first, last }) => [payload.CommandLine, hits, first, last]),
      [
        ['ls \ud800 é', 3, -(2 ** 50), 2 ** 50],
        ['ps', 2 ** 40, 5, 7],
      ],
    );
  });

  it('writes changes in one small write, and nothing without changes', () => {
    const window = begin();
    const element = add(window, 'ls');
    log.save();
    const before = files.bytesWritten;
    for (let n = 0; n < 20_000; n += 1) window.count(element, n);
    log.save();
    log.save();
    assert.equal(files.counts.append, 2);
    assert.ok(files.bytesWritten - before < 32, String(files.bytesWritten - before));
  });

  it('is rewritten before it grows out of proportion, and the old file is deleted when the new one is synced', async () => {
    const window = begin();
    const element = add(window, 'ls');
    for (let n = 0; n < 3_000; n += 1) {
      window.count(element, n);
      log.save();
      assert.ok(file().data.length < 20_000);
      if (n % 100 === 0) await log.sync();
    }
    await log.sync();
    assert.equal(paths().length, 1);
    assert.deepEqual(found(), { counts: { ls: 3_001 }, lost: 0, leaving: [] });
  });

  it('deletes files of earlier runs even if nothing is counted any more', async () => {
    for (let run = 0; run < 3; run += 1) {
      const window = begin();
      const element = add(window, 'ls');
      log.save();
      leave(window, element);
      positions = { next: positions.next + 1, lasting: positions.next + 1 };
      reopen();
    }
    assert.equal(log.save(), undefined);
    await log.sync();
    assert.deepEqual([paths().length, found()], [1, { counts: {}, lost: 0, leaving: [] }]);
  });

  it('does not give up a file whose events the queue has not synced yet', () => {
    const [window, other] = [begin(), begin('ProcessTerminate')];
    const [element, stays] = [add(window, 'ls'), add(other, 'ps')];
    log.save();
    leave(window, element);
    window.remove(element);
    for (let n = 0; n < 3_000; n += 1) {
      other.count(stays, n);
      log.save();
    }
    assert.equal(paths().length, 1);
    assert.deepEqual(found(), { counts: { ls: 1, ps: 3_001 }, lost: 0, leaving: [ID] });
  });

  it('finds the remaining elements after any number has left before the sync of the queue', () => {
    const window = begin();
    const stays = add(window, 'stays');
    while (paths().length === 0 || file().data.length < 6 * 1024 * 1024) {
      const elements = Array.from({ length: 200 }, (_, n) =>
        add(window, `${positions.next} ${n} ${'x'.repeat(1_000)}`),
      );
      assert.equal(log.leave('Low', [{ id: ID, window, elements }], false), undefined);
      for (const element of elements) window.remove(element);
      positions.next += 1;
    }
    add(window, 'late', 2);
    window.count(stays, 8);
    assert.equal(log.save(), undefined);
    assert.deepEqual(found(), { counts: { stays: 2, late: 2 }, lost: 0, leaving: [] });
  });

  it('finds a window after many others that have come and gone beside a large one', () => {
    const large = begin();
    for (let n = 0; n < 100; n += 1) add(large, `${n} ${'x'.repeat(1_000)}`);
    for (let n = 0; n < 300; n += 1) {
      const window = begin('ConnectionCreate');
      const element = add(window, 'ls');
      assert.equal(log.save(), undefined);
      leave(window, element);
      window.remove(element);
      windows = windows.filter((one) => one !== window);
      positions = { next: positions.next + 1, lasting: positions.next + 1 };
    }
    add(begin('ConnectionCreate'), 'last');
    assert.equal(log.save(), undefined);
    assert.equal(paths().length, 1);
    const { counts, lost } = found();
    assert.deepEqual([Object.keys(counts).length, counts.last, lost], [101, 1, 0]);
  });

  it('derives from the position of the queue which elements have left', () => {
    const window = begin();
    const [a, b, c] = [add(window, 'a'), add(window, 'b'), add(window, 'c')];
    log.leave(
      'Low',
      [a, b].map((one) => ({ id: ID, window, elements: [one] })),
      true,
    );
    assert.deepEqual(found(), { counts: { a: 1, b: 1, c: 1 }, lost: 0, leaving: [ID, ID] });
    positions.next = 1;
    assert.deepEqual(found(), { counts: { b: 1, c: 1 }, lost: 0, leaving: [ID] });
    positions.next = 2;
    assert.deepEqual(found(), { counts: { c: 1 }, lost: 0, leaving: [] });
    assert.ok(c.number >= 0);
  });

  it('omits events that the queue has dropped', () => {
    const window = begin();
    const [a, b] = [add(window, 'a'), add(window, 'b')];
    log.leave(
      'Low',
      [a, b].map((one) => ({ id: ID, window, elements: [one] })),
      true,
    );
    log.ended(0, 'Low'); // dropped: the position is still the same
    assert.deepEqual(found(), { counts: { b: 1 }, lost: 0, leaving: [ID] });
    positions.next = 1;
    assert.deepEqual(found(), { counts: {}, lost: 0, leaving: [] });
  });

  it('knows that an event has not got in whose first position was burnt', () => {
    for (const [next, counts, leaving] of [
      [7, { ls: 1 }, [ID]],
      [8, { ls: 1 }, [ID]],
      [9, {}, []],
    ] as const) {
      positions = { next: 7, lasting: 0 };
      files.files.clear();
      reopen();
      const window = begin();
      const element = add(window, 'ls');
      leave(window, element);
      positions.next = 9;
      log.ended(0, 'Low');
      positions.next = next;
      assert.deepEqual(found(), { counts, lost: 0, leaving });
    }
  });

  it('counts damaged records under their known names', () => {
    const window = begin();
    const [a] = [add(window, 'aaaa'), add(window, 'bbbb', 10), add(window, 'cccc')];
    log.save();
    window.count(a, 6);
    log.save();
    const { data } = file();
    for (const text of ['aaaa', 'bbbb']) data.writeUInt8(0, data.indexOf(text));
    assert.deepEqual(found(), { counts: { cccc: 1 }, lost: 3, leaving: [] }); // two of a; of b only that it was there
  });

  it('leaves files alone that it cannot read', () => {
    const ofVersion9 = Buffer.concat([LOG_HEAD.subarray(0, -1), Buffer.from([9])]);
    for (const [name, data] of [
      ['00000000000000ff.log', ofVersion9],
      ['notes.txt', Buffer.from('mine')],
    ] as const)
      files.files.set(`/log/${name}`, { data, synced: 0, entrySynced: true });
    assert.deepEqual(reopen().found.keptAside, ['00000000000000ff.log', 'notes.txt']);
    add(begin(), 'ls');
    log.save();
    assert.ok(paths().includes('/log/0000000000000100.log'));
    assert.ok(paths().includes('/log/00000000000000ff.log'));
    assert.deepEqual(found().counts, { ls: 1 });
  });

  it('deletes an outdated file on a full disk to write the current counts', () => {
    const window = begin();
    const elements = Array.from({ length: 50 }, (_, n) => add(window, `${n} ${'x'.repeat(100)}`));
    log.save();
    files.capacity = file().data.length;
    assert.ok(leave(window, ...elements.slice(1)) !== undefined);
    for (const element of elements.slice(1)) window.remove(element);
    positions.next = 1;
    assert.equal(log.save(), undefined);
    assert.deepEqual(Object.keys(found().counts), [elements[0]?.payload.CommandLine]);
  });

  it('keeps only the current file open, however often the log is rewritten', async () => {
    const window = begin();
    const element = add(window, 'ls');
    for (let n = 0; n < 9_000; n += 1) {
      window.count(element, n);
      log.save();
      assert.ok(files.open.size <= 1, [...files.open].join());
      if (n % 3_000 === 0) await log.sync();
    }
    assert.ok((files.counts.create ?? 0) > 2);
    log.close();
    assert.equal(files.open.size, 0);
  });

  it('closes the file of a rewrite that failed', () => {
    add(begin(), 'ls');
    files.fault = (operation) => (operation === 'append' ? 'EIO' : undefined);
    assert.ok(log.save() !== undefined);
    assert.deepEqual([files.counts.create, files.open.size], [1, 0]);
  });

  it('opens on a disk that cannot be read, with nothing', () => {
    files.fault = (operation) => (operation === 'list' ? 'EACCES' : undefined);
    const {
      found: { windows: none },
      error,
    } = reopen();
    assert.deepEqual([none, (error as NodeJS.ErrnoException).code], [[], 'EACCES']);
  });

  it('reads any file content without inventing counts', () => {
    const window = begin();
    const elements = ['a', 'b', 'c', 'd'].map((text) => add(window, text, 3));
    leave(window, ...elements.slice(0, 2));
    for (const element of elements.slice(2)) window.count(element, 6);
    log.save();
    const whole = Buffer.from(file().data);
    const change = fc.record({
      at: fc.nat(whole.length - 1),
      byte: fc.nat(255),
      cut: fc.option(fc.nat(whole.length), { nil: undefined }),
      more: fc.uint8Array({ maxLength: 40 }),
    });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(3), (changes, next) => {
        let data = Buffer.from(whole);
        for (const { at, byte, cut, more } of changes) {
          if (at < data.length) data[at] = byte;
          data = Buffer.concat([data.subarray(0, cut ?? data.length), more]);
        }
        file().data = data;
        positions.next = next;
        const { counts } = found();
        for (const [text, hits] of Object.entries(counts)) {
          assert.ok(['a', 'b', 'c', 'd'].includes(text));
          assert.ok((hits as number) <= 4);
        }
      }),
      { numRuns: fuzzRuns(5_000) },
    );
  });

  it('skips impossible records and reads their neighbours', () => {
    add(begin(), 'ls', 3);
    log.save();
    const whole = Buffer.from(file().data);
    const body = fc.tuple(fc.integer({ min: 0, max: 7 }), fc.uint8Array({ maxLength: 60 }));
    const frame = ([type, rest]: [number, Uint8Array]) => {
      const bytes = Buffer.from([type, ...rest]);
      const head = Buffer.alloc(8);
      head.writeUInt32LE(bytes.length);
      head.writeUInt32LE(crc32(bytes), 4);
      return Buffer.concat([head, bytes]);
    };
    const isOther = ([type]: [number, Uint8Array]) => type !== 3 && type !== 4; // which may change what is counted
    fc.assert(
      fc.property(fc.array(body, { maxLength: 8 }), fc.nat(3), (bodies, next) => {
        file().data = Buffer.concat([whole.subarray(0, LOG_HEAD.length), ...bodies.map(frame), whole.subarray(8)]);
        positions.next = next;
        const { counts, lost } = found();
        assert.ok(lost >= 0 && Number.isSafeInteger(lost));
        if (bodies.every(isOther)) assert.equal(counts.ls, 3);
      }),
      { numRuns: fuzzRuns(5_000) },
    );
  });
});

describe('a process that is killed while it counts', () => {
  const writer = fileURLToPath(new URL('./count-writer.js', import.meta.url));
  let folder: string;

  beforeEach(() => {
    folder = temporaryFolder();
  });

  it('has each acknowledged count exactly once', async function () {
    this.timeout(180_000);
    const random = seeded(7);
    let lastNumber = 0;
    for (let run = 1; run <= 8; run += 1) {
      lastNumber += await runUntilKilled(writer, folder, 20 + random() * 200);
      const { queues, aggregator } = countingParts(folder);
      await queues.start();
      await aggregator.start();
      assertClosed(queues);
      const { totals } = queues.account('High');
      const pending = aggregator.pending('High').ProcessCreate?.occurrences ?? 0;
      const hits = contents(queues, 'High').reduce((all, { occurrences }) => all + occurrences, 0);
      assert.equal(totals.collected, hits);
      assert.ok(hits + pending >= lastNumber, `counted ${hits + pending}, lastNumber ${lastNumber}`);
      assert.ok(hits + pending <= lastNumber + 20, `counted ${hits + pending}, lastNumber ${lastNumber}`); // one batch that it did not tell
      lastNumber = hits + pending;
      await aggregator.stop();
      await queues.stop();
      assert.equal(readdirSync(join(folder, 'aggregates')).length, 1);
    }
  });
});
