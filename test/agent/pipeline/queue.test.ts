import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { collectors } from '../../../src/agent/collectors/index.ts';
import type { DropReason } from '../../../src/core/base/counters.ts';
import { type Duration, days, hours, minutes } from '../../../src/core/base/duration.ts';
import { QUEUES, type QueueName } from '../../../src/core/contract/event.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { assertClosed, contents, event, events, type Fixture, fixture, jsonOf } from './queue-fixture.ts';
import { headOfVersion, SimulatedFiles, seeded } from './simulated-files.ts';

describe('EventQueues', () => {
  let files: SimulatedFiles;
  let now: Fixture;

  const open = async (limit = 1_000_000) => {
    now = fixture(files, '/q', limit);
    await now.queues.start();
  };
  const said = (message: RegExp) => now.lines.filter(({ msg }) => message.test(msg)).length;
  const onDisk = () => [...files.files.values()].reduce((all, { data }) => all + data.length, 0);

  beforeEach(async () => {
    files = new SimulatedFiles(seeded(1));
    await open();
  });
  afterEach(async () => {
    assertClosed(now.queues);
    await now.queues.stop();
  });

  describe('how full the queues are', () => {
    let changes: number;
    beforeEach(() => {
      changes = 0;
      now.changed = () => {
        changes += 1;
      };
    });
    /** Puts events of a kilobyte until they are nearly full. @returns how many */
    const fill = () => {
      for (let count = 1; count <= 1_000; count += 1) {
        now.queues.put(count % 2 === 0 ? 'High' : 'Low', [event(1_000)]);
        if (now.queues.store().isNearlyFull) return count;
      }
      return assert.fail('never');
    };

    it('a fill level above 80 % is reported once', () => {
      now.settings.setLimit(200_000);
      const count = fill();
      assert.ok(count > 130 && count <= 165, `${count}`);
      for (let n = 0; n < 500; n += 1) now.queues.put('Low', [event(1_000)]);
      assert.deepEqual([now.queues.store().isNearlyFull, changes], [true, 1]);
    });

    for (const limit of [8_192, 9_500, 11_000, 20_000])
      it(`reports an overflow of ${limit} bytes until the rest of that queue is delivered`, async () => {
        now.settings.setLimit(limit);
        for (let n = 0; n < 200; n += 1) {
          now.queues.put('Low', [event(1_500)]);
          const { cacheFull = 0 } = now.queues.account('Low').totals.dropped;
          if (cacheFull > 0) assert.equal(now.queues.store().isNearlyFull, true, `${n}`);
        }
        assert.ok((now.queues.account('Low').totals.dropped.cacheFull ?? 0) > 150);
        await now.clock.advance(1_000);
        now.queues.put('High', [event(300)]);
        for (const [queue, isNearlyFull] of [
          ['High', true],
          ['Low', false],
        ] as const) {
          assert.ok(now.queues.take(queue, 20_000, true).length > 0, queue);
          now.queues.settle(queue, 'delivered');
          await now.clock.advance(1_000);
          assert.equal(now.queues.store().isNearlyFull, isNearlyFull, queue);
        }
      });

    it('a fill level that falls because events were sent is reported within a second', async () => {
      now.settings.setLimit(200_000);
      fill();
      for (const queue of ['Low', 'High'] as const) {
        now.queues.take(queue, 200_000, true);
        now.queues.settle(queue, 'delivered');
      }
      await now.clock.advance(1_000);
      assert.deepEqual([now.queues.store().isNearlyFull, changes], [false, 2]);
    });

    it('a fill level that changes with the limit is reported', () => {
      now.settings.setLimit(200_000);
      fill();
      now.settings.setLimit(400_000);
      assert.deepEqual([now.queues.store().isNearlyFull, changes], [false, 2]);
      now.settings.setLimit(100_000);
      assert.deepEqual([now.queues.store().isNearlyFull, changes], [true, 3]);
    });
  });

  describe('taking', () => {
    it('gives the oldest that fit, a byte for each included', () => {
      const all = events(5, 100);
      now.queues.put('High', all);
      assert.equal(now.queues.take('High', 302, false).length, 2);
      now.queues.settle('High', 'kept');
      assert.deepEqual(jsonOf(now.queues.take('High', 303, false)), jsonOf(all.slice(0, 3)));
    });

    it('gives the first although it does not fit, when at least one is asked for', () => {
      now.queues.put('Low', events(2, 100));
      assert.equal(now.queues.take('Low', 50, false).length, 0);
      assert.equal(now.queues.take('Low', 50, true).length, 1);
    });

    it('refuses to take twice, and to settle what was not taken', () => {
      now.queues.put('Low', events(2));
      assert.throws(() => now.queues.settle('Low', 'kept'));
      now.queues.take('Low', 1_000, true);
      assert.throws(() => now.queues.take('Low', 1_000, true));
    });

    it('reports taken events until they are settled', () => {
      now.queues.put('Low', events(2));
      now.queues.put('High', events(1));
      assert.equal(now.queues.hasTaken('Low'), false);
      now.queues.take('Low', 1_000, true);
      assert.deepEqual([now.queues.hasTaken('Low'), now.queues.hasTaken('High')], [true, false]);
      now.queues.settle('Low', 'kept');
      assert.equal(now.queues.hasTaken('Low'), false);
    });

    it('counts waiting events, including taken ones', () => {
      now.queues.put('Low', [event(100, 'Login', 3, 9), event(200)]);
      now.queues.take('Low', 150, true);
      assert.deepEqual(now.queues.waiting('Low'), { events: 2, elements: 4, bytes: 300 });
    });
  });

  describe('settling', () => {
    it('books by name what was delivered, refused, merged away and still waits', async () => {
      now.queues.put('High', [event(100, 'Login', 2, 7), event(100, 'Login'), event(100, 'ProcessCreate')]);
      now.queues.take('High', 1, true);
      now.queues.settle('High', 'delivered');
      now.queues.take('High', 1, true);
      now.queues.settle('High', 'refused');
      const login = { collected: 8, delivered: 2, aggregatedAway: 5, dropped: { refused: 1 }, queued: 0 };
      assert.deepEqual(now.queues.account('High').byEvent.Login, login);
      assert.equal(now.queues.account('High').totals.queued, 1);
      await now.queues.stop();
      await open();
      assert.deepEqual(now.queues.account('High').byEvent.Login, login);
    });

    it('keeps what could not be sent at the head, with the same positions', () => {
      now.queues.put('High', events(3));
      const taken = now.queues.take('High', 250, true);
      now.queues.settle('High', 'kept');
      now.queues.put('High', events(1));
      assert.deepEqual(now.queues.take('High', 250, true), taken);
    });
  });

  it('returns the position of the next event, even after restarts', async () => {
    assert.equal(now.queues.positions('High').next, 0);
    now.queues.put('High', events(3));
    now.queues.take('High', 1, true);
    now.queues.settle('High', 'delivered');
    assert.equal(now.queues.positions('High').next, 3);
    await now.queues.stop();
    await open();
    assert.equal(now.queues.positions('High').next, 3);
    now.queues.put('High', events(1));
    assert.equal(contents(now.queues, 'High').at(-1)?.position, 3);
  });

  describe('when events grow old', () => {
    const open = async (ageLimit: Duration) => {
      now = fixture(files, '/q', 1_000_000, ageLimit);
      await now.queues.start();
    };
    const wait = async (time: Duration) => {
      for (let passed = 0; passed < time; passed += minutes(10)) await now.clock.advance(minutes(10));
    };

    beforeEach(async () => {
      await now.queues.stop();
      await open(days(1));
    });

    it('drops and counts them by itself, a sixteenth late at most', async () => {
      now.queues.put('High', [event(100, 'Login', 2, 5)]);
      now.queues.put('Low', events(1));
      await wait(hours(23));
      assert.equal(now.queues.waiting('High').events, 1);
      await wait(hours(2.5));
      assert.deepEqual(now.queues.account('High').totals.dropped, { expired: 2 });
      assert.deepEqual(now.queues.account('Low').totals.dropped, { expired: 1 });
      files.restart(); // killed
      await open(days(1));
      assert.deepEqual(now.queues.account('High').totals.dropped, { expired: 2 });
    });

    it('knows their age after a restart, to the hour after a kill', async () => {
      now.queues.put('High', events(1));
      await wait(hours(12));
      await now.queues.stop();
      await open(days(1));
      await wait(hours(6));
      files.restart(); // killed
      await open(days(1));
      await wait(hours(4));
      assert.equal(now.queues.waiting('High').events, 1);
      await wait(hours(4.5));
      assert.deepEqual(now.queues.account('High').totals.dropped, { expired: 1 });
    });

    it('writes nothing for the sake of an empty queue', async () => {
      await wait(hours(1));
      const { bytesWritten } = files;
      await wait(hours(48));
      assert.equal(files.bytesWritten, bytesWritten);
    });
  });

  describe('counting what never came in', () => {
    it('books it at once, and writes it within a second', async () => {
      now.queues.drop('Low', 'Login', 'malformed', 3);
      assert.deepEqual(now.queues.account('Low').totals.dropped, { malformed: 3 });
      await now.clock.advance(1_000);
      files.restart(); // killed
      await open();
      assert.deepEqual(now.queues.account('Low').totals.dropped, { malformed: 3 });
    });
  });

  describe('when full', () => {
    const fill = async (queue: 'High' | 'Low') => {
      for (let i = 0; i < 200; i += 1) {
        now.queues.put(queue, events(1, 400));
        if (i % 10 === 9) await now.clock.advance(1_000);
      }
    };

    beforeEach(async () => {
      await now.queues.stop();
      files = new SimulatedFiles(seeded(1));
      await open(40_000);
    });
    afterEach(() => assert.ok(onDisk() <= now.settings.limit, `${onDisk()} bytes`));

    it('drops the oldest of Low for Low', async () => {
      const last = event(400);
      await fill('Low');
      now.queues.put('Low', [last]);
      assert.ok((now.queues.account('Low').totals.dropped.cacheFull ?? 0) > 90);
      assert.equal(contents(now.queues, 'Low').at(-1)?.json, last.json);
    });

    it('drops all of Low for High, and only then the oldest of High', async () => {
      await fill('Low');
      await fill('High');
      assert.equal(now.queues.waiting('Low').events, 0);
      assert.ok(now.queues.waiting('High').events > 70);
    });

    it('never drops High for Low', async () => {
      await fill('High');
      const before = jsonOf(contents(now.queues, 'High'));
      await fill('Low');
      assert.deepEqual(jsonOf(contents(now.queues, 'High')), before);
      assert.equal(now.queues.account('Low').totals.collected, 200);
    });

    it('touches nothing that is being sent', async () => {
      await fill('High');
      const taken = now.queues.take('High', 10_000, true);
      await fill('High');
      now.queues.settle('High', 'kept');
      assert.deepEqual(jsonOf(contents(now.queues, 'High').slice(0, taken.length)), jsonOf(taken));
    });

    it('does not empty the queue for an event that could never fit', async () => {
      now.queues.put('High', events(10, 400));
      now.queues.put('High', [event(50_000)]);
      assert.equal(now.queues.waiting('High').events, 10);
      assert.deepEqual(now.queues.account('High').totals.dropped, { cacheFull: 1 });
    });

    it('applies a smaller limit immediately, Low first, and a larger one as well', async () => {
      now.queues.put('High', events(20, 400));
      now.queues.put('Low', events(40, 400));
      now.settings.setLimit(16_000);
      assert.ok(onDisk() <= 16_000);
      assert.equal(now.queues.waiting('High').events, 20);
      now.settings.setLimit(8_192);
      assert.ok(onDisk() <= 8_192);
      assert.equal(now.queues.waiting('Low').events, 0);
      now.settings.setLimit(100_000);
      await fill('High');
      assert.ok(now.queues.waiting('High').events >= 200);
    });

    it('drops events that arrive faster than the disk syncs, instead of waiting for each sync', () => {
      now.settings.setLimit(8_192);
      const before = files.counts.syncNow ?? 0;
      for (let i = 0; i < 200; i += 1) now.queues.put('High', events(1, 400));
      assert.ok((files.counts.syncNow ?? 0) - before <= 4);
      assert.equal(now.queues.account('High').totals.collected, 200);
    });

    it('works with the smallest limit there is', async () => {
      now.settings.setLimit(8_192);
      await fill('High');
      assert.ok(now.queues.waiting('High').events >= 8, `${now.queues.waiting('High').events} events`);
    });
  });

  it('leaves space for alerts and notices with the smallest limit, even with the largest accounts', async () => {
    for (const { name } of collectors)
      for (const queue of QUEUES)
        for (const reason of ['cacheFull', 'paused', 'memory', 'kernel'] as const)
          now.queues.drop(queue, name, reason, 123_456);
    for (const queue of QUEUES) now.queues.put(queue, events(1, 400));
    await now.clock.advance(1_000);
    now.settings.setLimit(8_192);
    for (const bytes of [400, 2_000, 4_000]) {
      await now.clock.advance(1_000);
      assert.equal(now.queues.put('High', [event(bytes)]), 1, `${bytes} bytes`);
    }
    assert.ok(onDisk() < 3 * 8_192);
  });

  describe('leaves space for alerts while a message is being sent', () => {
    const drop = (name: string, reason: DropReason, queues: readonly QueueName[] = QUEUES) => {
      for (const queue of queues) now.queues.drop(queue, name, reason, 123_456);
    };
    const ACCOUNTS: Readonly<Record<string, () => void>> = {
      empty: () => {},
      usual: () => {
        for (const { name, priority } of collectors) drop(name, 'cacheFull', priority === 'High' ? ['High'] : ['Low']);
      },
      large: () => {
        for (const reason of ['cacheFull', 'paused', 'memory', 'kernel'] as const)
          for (const { name } of collectors) drop(name, reason);
      },
    };
    const fill = async (bytes: number, all: number) => {
      for (let put = 0; put < all; put += bytes) {
        now.queues.put('Low', [event(bytes)]);
        await now.clock.advance(200);
      }
    };
    const alert = async (bytes: number) => {
      await now.clock.advance(1_000);
      return now.queues.put('High', [event(bytes)]);
    };

    for (const [what, count] of Object.entries(ACCOUNTS))
      for (const limit of [8_192, 12_288, 24_000, 40_000])
        it(`space of ${limit} bytes with ${what} accounts suffices for alerts`, async () => {
          count();
          await now.clock.advance(1_000);
          now.settings.setLimit(limit);
          for (const bytes of [200, 300, 500, 1_000, 1_500]) {
            await fill(bytes, 2 * limit);
            const taken = now.queues.take('Low', Math.max(4_096, limit / 4), true);
            for (const size of [1_000, 1_500, 2_500]) assert.equal(await alert(size), 1, `${bytes}, ${size}`);
            if (taken.length > 0) now.queues.settle('Low', 'kept');
          }
        });

    it('space for alerts remains if the message in flight exceeds a smaller cache limit', async () => {
      await fill(1_000, 400_000);
      now.queues.take('Low', 200_000, true);
      for (const limit of [100_000, 8_192]) {
        now.settings.setLimit(limit);
        assert.equal(await alert(1_500), 1, `${limit} bytes`);
      }
      now.queues.settle('Low', 'kept');
    });
  });

  describe('on a bad disk', () => {
    it('drops new events as unwritable on a full disk, logs it once, and continues when there is space', async () => {
      now.queues.put('Low', events(2));
      files.capacity = onDisk();
      for (let i = 0; i < 5; i += 1) now.queues.put('Low', events(2));
      await now.clock.advance(1_000);
      assert.deepEqual(now.queues.account('Low').totals.dropped, { unwritable: 10 });
      assert.deepEqual([said(/Cannot write a queue/), said(/again/)], [1, 0]);
      files.capacity = Number.POSITIVE_INFINITY;
      await now.clock.advance(30_000);
      await now.clock.advance(10_000);
      assert.deepEqual([said(/Cannot write a queue/), said(/again/)], [1, 1]);
      now.queues.put('Low', events(1));
      assert.equal(now.queues.waiting('Low').events, 3);
    });

    it('frees space on a full disk by deleting delivered events', () => {
      now.settings.setLimit(40_000);
      for (let i = 0; i < 20; i += 1) now.queues.put('Low', events(1, 1_000));
      now.queues.take('Low', 15_000, true);
      now.queues.settle('Low', 'delivered');
      files.capacity = onDisk() + 100;
      now.queues.put('Low', events(1, 1_000));
      assert.deepEqual(now.queues.account('Low').totals.dropped, {});
    });

    it('frees space for High on a full disk by evicting Low', () => {
      now.settings.setLimit(40_000);
      for (let i = 0; i < 20; i += 1) now.queues.put('Low', events(1, 1_000));
      files.capacity = onDisk();
      now.queues.put('High', events(1, 1_000));
      assert.equal(now.queues.waiting('High').events, 1);
      assert.ok((now.queues.account('Low').totals.dropped.cacheFull ?? 0) > 0);
      now.queues.put('Low', events(9, 1_000));
      assert.ok((now.queues.account('Low').totals.dropped.unwritable ?? 0) > 0);
    });

    it('starts on a full disk and sends the stored events', async () => {
      now.queues.put('High', events(3));
      await now.queues.stop();
      files.capacity = onDisk();
      await open();
      assert.equal(now.queues.take('High', 1_000, true).length, 3);
      now.queues.settle('High', 'delivered');
      files.capacity = Number.POSITIVE_INFINITY;
      await now.clock.advance(1_000);
      files.restart();
      await open();
      assert.equal(now.queues.account('High').totals.delivered, 3);
    });
  });

  describe('on a disk that cannot be written', () => {
    const refuse = (errno = 'EROFS') => {
      const changes = ['create', 'append', 'truncate', 'remove'];
      files.fault = (operation) => (changes.includes(operation) ? errno : undefined);
    };
    const accept = async () => {
      files.fault = () => undefined;
      await now.clock.advance(1_000);
    };

    it('continues in memory, logs it once, and returns to the disk with all events in order', async () => {
      const all = events(20, 400);
      now.queues.put('Low', all.slice(0, 5));
      refuse();
      now.queues.put('Low', all.slice(5, 6));
      const before = onDisk();
      for (const one of all.slice(6, 15)) now.queues.put('Low', [one]);
      await now.clock.advance(60_000);
      assert.equal(onDisk(), before);
      assert.deepEqual(now.queues.store(), { place: 'memory', reason: 'EROFS: simulated', isNearlyFull: false });
      assert.deepEqual([said(/new events are kept in memory/), said(/again/)], [1, 0]);
      await accept();
      assert.deepEqual(now.queues.store(), { place: 'disk', isNearlyFull: false });
      now.queues.put('Low', all.slice(15));
      await now.clock.advance(10_000);
      assert.deepEqual([said(/new events are kept in memory/), said(/again/)], [1, 1]);
      files.restart(); // killed
      await open();
      assert.deepEqual(jsonOf(contents(now.queues, 'Low')), jsonOf(all));
      assert.deepEqual(now.queues.account('Low').totals, {
        ...{ collected: 20, delivered: 0, aggregatedAway: 0, dropped: {}, queued: 20 },
      });
    });

    it('reports one change with one reason, regardless of the number of failed attempts', async () => {
      let changes = 0;
      now.changed = () => {
        changes += 1;
      };
      const changing = ['create', 'append', 'truncate'];
      files.fault = (operation, path) => (changing.includes(operation) ? `EROFS ${path}` : undefined);
      now.queues.drop('Low', 'Login', 'malformed', 1);
      await now.clock.advance(1_000);
      const { reason } = now.queues.store();
      assert.ok(reason);
      for (let i = 0; i < 5; i += 1) await now.clock.advance(1_000);
      assert.deepEqual([now.queues.store().reason, changes], [reason, 1]);
      await accept();
      assert.equal(changes, 2);
    });

    it('sends what is on disk, and repeats it after a restart that the acknowledgement did not survive', async () => {
      now.queues.put('High', events(3));
      refuse();
      const taken = now.queues.take('High', 1_000, true);
      now.queues.settle('High', 'delivered');
      assert.equal(now.queues.account('High').totals.delivered, 3);
      files.restart(); // killed
      await open();
      assert.deepEqual(now.queues.take('High', 1_000, true), taken);
      now.queues.settle('High', 'delivered');
      await accept();
      files.restart(); // killed
      await open();
      assert.equal(now.queues.account('High').totals.delivered, 3);
      assert.equal(now.queues.waiting('High').events, 0);
    });

    it('starts, sends stored events and accepts new ones', async () => {
      const [old, young] = [events(3), events(2)];
      now.queues.put('High', old);
      await now.queues.stop();
      refuse();
      await open();
      assert.equal(said(/new events are kept in memory/), 1);
      now.queues.put('High', young);
      now.queues.take('High', 250, true);
      now.queues.settle('High', 'delivered');
      await accept();
      assert.deepEqual(jsonOf(contents(now.queues, 'High')), jsonOf([...old.slice(2), ...young]));
    });

    it('keeps at most 1 MiB in memory, and evicts there by the same rule', async () => {
      await now.queues.stop();
      await open(4_000_000);
      const kept = events(50, 1_000);
      now.queues.put('High', kept);
      refuse();
      for (let i = 0; i < 40; i += 1) now.queues.put('Low', events(50, 1_000));
      const waiting = now.queues.waiting('Low').bytes;
      assert.ok(waiting > 800_000 && waiting < 2 ** 20, `${waiting} bytes`);
      assert.equal(now.queues.account('Low').totals.dropped.cacheFull, 2_000 - now.queues.waiting('Low').events);
      for (let i = 0; i < 40; i += 1) now.queues.put('High', events(50, 1_000));
      assert.equal(now.queues.waiting('Low').events, 0);
      assert.deepEqual(jsonOf(contents(now.queues, 'High').slice(0, 50)), jsonOf(kept), 'what is on disk stays');
      const high = now.queues.waiting('High').events;
      now.queues.put('Low', events(50, 1_000));
      assert.equal(now.queues.waiting('High').events, high);
      await accept();
      assert.equal(now.queues.waiting('High').events, high);
    });

    it('keeps the disk within its limit when events in memory return to it', async () => {
      await now.queues.stop();
      await open(40_000);
      for (let i = 0; i < 30; i += 1) now.queues.put('Low', events(1, 1_000));
      refuse();
      const young = events(20, 1_000);
      for (const one of young) now.queues.put('High', [one]);
      await accept();
      assert.ok(onDisk() <= 40_000, `${onDisk()} bytes`);
      assert.deepEqual(jsonOf(contents(now.queues, 'High')), jsonOf(young));
      assert.ok((now.queues.account('Low').totals.dropped.cacheFull ?? 0) > 0);
    });

    it('applies a smaller limit in memory as well', () => {
      now.settings.setLimit(40_000);
      refuse();
      for (let i = 0; i < 20; i += 1) now.queues.put('Low', events(1, 1_000));
      assert.equal(now.queues.waiting('Low').events, 20);
      now.settings.setLimit(8_192);
      assert.ok(now.queues.waiting('Low').events < 8);
      assert.ok(now.queues.waiting('Low').events > 0);
    });

    it('writes the events in memory when stopped, or logs how many are lost', async () => {
      refuse();
      now.queues.put('High', events(3));
      files.fault = () => undefined;
      await now.queues.stop();
      await open();
      assert.equal(now.queues.waiting('High').events, 3);
      refuse();
      now.queues.put('High', events(2));
      await now.queues.stop();
      assert.equal(said(/they are lost/), 1);
      files.fault = () => undefined;
      await open();
      assert.equal(now.queues.waiting('High').events, 3);
    });

    it('creates its folders again if they were removed', async () => {
      let isRemoved = true;
      files.fault = (operation) => (isRemoved && operation !== 'list' ? 'ENOENT' : undefined);
      files.makeFolder = () => {
        isRemoved = false;
      };
      now.queues.put('High', events(3));
      await now.clock.advance(1_000);
      assert.deepEqual(now.queues.store(), { place: 'disk', isNearlyFull: false });
      assert.equal(now.queues.waiting('High').events, 3);
    });
  });

  describe('syncing', () => {
    const syncs = () => files.counts.sync ?? 0;

    beforeEach(() => now.clock.advance(2_000));

    for (const [queue, wait] of [
      ['High', 100],
      ['Low', 1_000],
    ] as const) {
      it(`syncs ${queue} within ${wait} ms, once for all that came`, async () => {
        const before = syncs();
        for (let i = 0; i < 10; i += 1) now.queues.put(queue, events(1));
        await now.clock.advance(wait - 1);
        assert.equal(syncs(), before);
        await now.clock.advance(1);
        assert.equal(syncs(), before + 1);
      });
    }

    it('syncs Low events and what has become of them as late as it may, and High ones no later than ever', async () => {
      await now.queues.stop();
      now = fixture(files, '/q', 1_000_000, days(30), minutes(10));
      await now.queues.start();
      await now.clock.advance(minutes(10));
      await now.clock.advance(2_000); // the sync of what the start wrote has ended
      const isLasting = (queue: 'High' | 'Low') => {
        const { next, lasting } = now.queues.positions(queue);
        return next === lasting;
      };
      now.queues.put('Low', events(1));
      await now.clock.advance(minutes(10) - 1);
      assert.equal(isLasting('Low'), false);
      await now.clock.advance(1);
      assert.equal(isLasting('Low'), true);
      const before = syncs();
      now.queues.take('Low', 1_000, true);
      now.queues.settle('Low', 'delivered');
      await now.clock.advance(minutes(10) - 1);
      assert.equal(syncs(), before);
      now.queues.put('High', events(1));
      await now.clock.advance(1);
      assert.ok(syncs() > before);
      await now.clock.advance(99);
      assert.equal(isLasting('High'), true);
    });

    for (const queue of QUEUES)
      it(`syncs the checkpoint of an eviction from ${queue} that a smaller limit caused`, async () => {
        now.queues.put(queue, events(40, 400));
        await now.clock.advance(2_000);
        await now.clock.advance(2_000);
        const before = syncs();
        now.settings.setLimit(8_192);
        assert.ok((now.queues.account(queue).totals.dropped.cacheFull ?? 0) > 0);
        await now.clock.advance(1_000);
        assert.ok(syncs() > before);
      });

    it('sleeps when there is nothing to sync', async () => {
      const before = syncs();
      await now.clock.advance(3_600_000);
      assert.equal(syncs(), before);
    });
  });

  it('notifies its listeners only of stored events', () => {
    let rings = 0;
    now.queues.onPut(() => {
      rings += 1;
    });
    now.queues.put('Low', events(5));
    now.queues.put('Low', []);
    now.queues.put('Low', [event(2_000_000)]);
    assert.equal(rings, 1);
  });

  it('may be stopped twice, and before it was started', async () => {
    await now.queues.stop();
    await now.queues.stop();
    await fixture(files).queues.stop();
  });

  it('logs how much of a damaged queue is lost, and counts it by name', async () => {
    now.settings.setLimit(40_000);
    for (let i = 0; i < 20; i += 1) now.queues.put('Low', [event(1_000, 'Login', 2)]);
    await now.queues.stop();
    const [first = ''] = [...files.files.keys()].filter((path) => path.startsWith('/q/low/')).sort();
    files.files.delete(first);
    await open();
    const lost = 40 - now.queues.waiting('Low').elements;
    assert.ok(lost > 0);
    const line = now.lines.find(({ msg }) => /Found a damaged queue/.test(msg));
    assert.deepEqual({ ...line, time: 0 }, { ...line, time: 0, level: 'error', queue: 'Low', lost });
    assert.deepEqual(now.queues.account('Low').byEvent.Login?.dropped, { corrupt: lost });
  });

  it('keeps what a newer version wrote, names it, and gives it back after the next upgrade', async () => {
    now.queues.put('Low', events(1));
    await now.queues.stop();
    const newer = '/q/low/00000000000000ff.log';
    files.create(newer).append(Buffer.concat([headOfVersion(2), Buffer.from('of a newer version')]));
    for (let start = 1; start <= 2; start += 1) {
      await open();
      assert.equal(said(/Ignored files/), 1);
      assert.match(JSON.stringify(now.lines), /00000000000000ff\.log/);
      assert.equal(now.queues.waiting('Low').events, 1);
      await now.queues.stop();
      assert.ok(files.files.get(newer)?.data.includes('of a newer version'));
    }
    await open();
  });

  it('warns of files it cannot read, and keeps them', async () => {
    files.create('/q/low/readme').append(Buffer.from('?'));
    await open();
    assert.equal(said(/Ignored files/), 1);
    assert.ok(files.files.has('/q/low/readme'));
  });

  describe('a directory that cannot be used', () => {
    let folder: string;
    beforeEach(() => {
      folder = temporaryFolder();
    });
    afterEach(() => {
      chmodSync(folder, 0o700);
    });

    it('keeps events in memory when a file has the name of a queue', async () => {
      writeFileSync(join(folder, 'high'), 'a file in the way');
      const { queues } = fixture(undefined, folder);
      await queues.start();
      assert.equal(queues.put('High', [event(1)]), 1);
      assert.equal(queues.store().place, 'memory');
      await queues.stop();
    });

    it('keeps events in memory while the folder cannot be listed, and loses neither those nor the older ones', async () => {
      await open();
      const before = now.queues;
      before.put('High', [event(1), event(2)]);
      await before.stop();
      files.fault = (operation) => (operation === 'list' ? 'EIO' : undefined);
      const { queues, clock } = fixture(files);
      await clock.advance(days(1)); // the number at which the log begins
      await queues.start();
      assert.equal(queues.put('High', [event(3)]), 1);
      assert.deepEqual(contents(queues, 'High').length, 1);
      files.fault = () => undefined;
      await clock.advance(minutes(1));
      assert.equal(queues.store().place, 'disk');
      await queues.stop();
      await open();
      assert.equal(contents(now.queues, 'High').length, 3);
    });

    for (const errno of ['EIO', 'EROFS', 'EACCES']) {
      it(`sets an unreadable segment aside, counts its events as lost and continues (${errno})`, async () => {
        await open();
        const before = now.queues;
        before.put('High', [event(1)]);
        await before.stop();
        const [first] = [...files.files.keys()].filter((path) => path.startsWith('/q/high/'));
        await open();
        const between = now.queues;
        between.put('High', [event(2)]);
        await between.stop();
        files.fault = (operation, path) => (operation === 'read' && path === first ? errno : undefined);
        await open();
        const { queues } = now;
        assert.equal(contents(queues, 'High').length, 1);
        assert.equal(queues.account('High').totals.dropped.corrupt, 1);
        assert.equal(queues.put('High', [event(3)]), 1);
        assert.equal(queues.store().place, 'disk');
        files.fault = () => undefined;
      });
    }
  });
});
