import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import sinon from 'sinon';
import * as v from 'valibot';
import { Occurrences } from '../../../src/agent/collectors/occurrences.ts';
import type { LiveSettings } from '../../../src/agent/config/twin-configuration.ts';
import { collectGarbage, MemoryLimit } from '../../../src/agent/pipeline/memory-limit.ts';
import { Snapshots } from '../../../src/agent/pipeline/snapshots.ts';
import { Triggers } from '../../../src/agent/pipeline/triggers.ts';
import { UserLoad } from '../../../src/agent/pipeline/user-load.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours, minutes, seconds } from '../../../src/core/base/duration.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { type LeavesOut, MalformedRecordError, periodic, triggered } from '../../../src/core/contract/collector.ts';
import type { Sources } from '../../../src/core/contract/sources.ts';
import { DECLARED } from '../../harness/declared.ts';
import { look } from '../collectors/samples.ts';
import { liveSettings, MemoryQueues, quietLog } from './memory-queues.ts';

const MB = 1024 * 1024;
const declared = { ...DECLARED, payload: v.record(v.string(), v.unknown()) };

describe('MemoryLimit', () => {
  let time: sinon.SinonFakeTimers;
  let megabytes: number;
  let limit: MemoryLimit;
  let trim: sinon.SinonStub<[], void>;
  let flush: sinon.SinonStub<[], void>;
  let changed: sinon.SinonStub<[], void>;
  let logged: LogLine[];
  /** Users who cause much, the heaviest first. */
  let users: string[];

  beforeEach(async () => {
    time = sinon.useFakeTimers();
    users = [];
    megabytes = 70;
    trim = sinon.stub();
    flush = sinon.stub();
    changed = sinon.stub();
    logged = [];
    limit = new MemoryLimit({
      budgetInMegabytes: 96,
      resident: () => megabytes * MB,
      trim: async () => trim(),
      flush,
      load: { heaviest: (except) => users.find((user) => !except.has(user)) },
      clock: systemClock,
      log: quietLog(logged),
      changed,
    });
    await limit.start();
  });
  afterEach(async () => {
    await limit.stop();
    time.restore();
  });

  const security = { type: 'Security', category: 'Triggered' } as const;
  const isShedding = () => limit.leavesOutAll(security, 'Low');
  const isSheddingOf = (owner: string) => isShedding() || limit.leavesOutOwner(owner, security, 'Low');

  it('has nothing to say below the budget', async () => {
    megabytes = 96;
    await time.tickAsync(minutes(50));
    assert.equal(isShedding(), false);
    assert.equal(flush.callCount, 0);
    assert.deepEqual(logged, []);
    assert.deepEqual(limit.use(), { residentBytes: 96 * MB, budgetBytes: 96 * MB, isOver: false });
  });

  it('releases unused memory soon after the start, a minute later, and every hour', async () => {
    await time.tickAsync(seconds(4));
    assert.equal(trim.callCount, 0);
    await time.tickAsync(seconds(4));
    assert.equal(trim.callCount, 1);
    await time.tickAsync(seconds(54));
    assert.equal(trim.callCount, 2);
    await time.tickAsync(hours(3));
    assert.equal(trim.callCount, 5);
    assert.equal(flush.callCount, 0);
  });

  describe('when memory use grows', () => {
    beforeEach(async () => {
      megabytes = 60;
      await time.tickAsync(minutes(2)); // past what is due after every start
      trim.resetHistory();
    });

    it('gives back what was used since as soon as that is half as much again, but not within five minutes', async () => {
      trim.callsFake(() => {
        megabytes = 62;
      });
      megabytes = 92;
      await time.tickAsync(minutes(3));
      assert.equal(trim.callCount, 0);
      await time.tickAsync(minutes(2));
      assert.equal(trim.callCount, 1);
      megabytes = 92;
      await time.tickAsync(minutes(20));
      assert.equal(trim.callCount, 1, '62 MB and the half of it is more');
      megabytes = 94;
      await time.tickAsync(seconds(2));
      assert.equal(trim.callCount, 2);
      assert.equal(flush.callCount, 0);
    });

    it('does not look again and again for what is needed', async () => {
      megabytes = 95;
      await time.tickAsync(minutes(50));
      assert.equal(trim.callCount, 1);
    });
  });

  it('first gives back what is not needed, and leaves nothing out when that suffices', async () => {
    trim.onCall(1).callsFake(() => {
      megabytes = 80;
    });
    megabytes = 130;
    await time.tickAsync(seconds(40));
    assert.equal(trim.callCount, 3); // the last one is due after every start
    assert.ok(flush.calledBefore(trim));
    assert.equal(isShedding(), false);
    assert.deepEqual(logged, []);
  });

  it('drops Low events after ten seconds above the limit, and logs it once', async () => {
    megabytes = 101;
    await time.tickAsync(seconds(9));
    assert.equal(isShedding(), false);
    await time.tickAsync(seconds(1));
    assert.match(
      limit.leavesOut(security, 'Low') ?? '',
      /uses 101 MB of memory, more than its budget of 96 MB\. Raise/,
    );
    assert.equal(limit.leavesOut(security, 'High'), undefined);
    assert.equal(limit.leavesOut({ ...security, type: 'Diagnostic' }, 'Low'), limit.leavesOut(security, 'Low'));
    assert.equal(limit.leavesOut({ ...security, type: 'Operational' }, 'Low'), undefined);
    assert.equal(limit.use().isOver, true);
    megabytes = 150;
    await time.tickAsync(minutes(30));
    assert.equal(logged.length, 1);
    assert.equal(logged[0]?.level, 'warn');
    assert.equal(changed.callCount, 1);
    assert.match(limit.leavesOut(security, 'Low') ?? '', /101 MB/, 'the reason is reported, and each change costs');
  });

  it('leaves out Low events when what it gave back is needed again and again', async () => {
    trim.callsFake(() => {
      megabytes = 60;
    });
    for (let second = 0; second < 50 && !isShedding(); second += 10) {
      megabytes = 101;
      await time.tickAsync(seconds(10));
    }
    assert.equal(isShedding(), true);
    assert.equal(flush.callCount, 4);
  });

  it('repeats releasing memory, with pauses', async () => {
    megabytes = 101;
    await time.tickAsync(seconds(10));
    flush.resetHistory();
    await time.tickAsync(minutes(10));
    assert.ok(flush.callCount >= 19 && flush.callCount <= 21, `${flush.callCount} times`);
  });

  it('ends between nine tenths and all of the budget, too, and keeps windows open', async () => {
    megabytes = 101;
    await time.tickAsync(seconds(10));
    flush.resetHistory();
    megabytes = 90;
    await time.tickAsync(seconds(31));
    assert.deepEqual([isShedding(), flush.callCount], [false, 0]);
  });

  it('collects everything again within a minute after the cause ends, and logs how long it lasted', async () => {
    megabytes = 101;
    await time.tickAsync(minutes(24));
    assert.equal(isShedding(), true);
    trim.callsFake(() => {
      megabytes = 90; // needed for now, or garbage that comes back
    });
    await time.tickAsync(minutes(1));
    assert.equal(isShedding(), false);
    assert.equal(changed.callCount, 2);
    assert.deepEqual(
      logged.map(({ level }) => level),
      ['warn', 'info'],
    );
    trim.reset();
    megabytes = 101;
    await time.tickAsync(seconds(10));
    assert.equal(isShedding(), true, 'and begins again');
  });

  it('does not end while memory use returns above the budget', async () => {
    megabytes = 101;
    await time.tickAsync(minutes(1));
    for (let n = 0; n < 20; n += 1) {
      megabytes = n % 2 === 0 ? 80 : 101;
      await time.tickAsync(seconds(15));
      assert.equal(isShedding(), true);
    }
  });

  it('leaves out the events of the heaviest users first, one more every 30 s, and of everyone last', async () => {
    users = ['UserId 2001', 'UserId 2002'];
    const now = () => ['UserId 0', 'UserId 33', ...users].filter(isSheddingOf);
    megabytes = 101;
    await time.tickAsync(seconds(10));
    assert.deepEqual(now(), ['UserId 2001']);
    assert.match(limit.leavesOut(security, 'Low') ?? '', /Left out for UserId 2001: the agent uses 101 MB/);
    assert.equal(limit.leavesOutOwner('UserId 2001', security, 'High'), false);
    assert.equal(limit.use().isOver, true);
    await time.tickAsync(seconds(30));
    assert.deepEqual(now(), ['UserId 2001', 'UserId 2002']);
    await time.tickAsync(seconds(30));
    assert.equal(isShedding(), true);
    megabytes = 70;
    await time.tickAsync(seconds(30));
    assert.deepEqual(now(), []);
    assert.equal(limit.leavesOut(security, 'Low'), undefined);
  });

  it('never leaves out a snapshot', async () => {
    megabytes = 101;
    await time.tickAsync(minutes(1));
    assert.equal(limit.leavesOut({ ...security, category: 'Periodic' }, 'Low'), undefined);
    assert.equal(limit.leavesOutAll({ ...security, category: 'Periodic' }, 'Low'), false);
  });

  it('keeps a budget that is too small, and logs it again every hour', async () => {
    megabytes = 101;
    await time.tickAsync(hours(24) + minutes(1));
    assert.equal(isShedding(), true);
    assert.equal(logged.length, 25);
    assert.ok(logged.every(({ level }) => level === 'warn'));
  });

  it('continues checking if releasing memory fails', async () => {
    trim.throws(new Error('no'));
    megabytes = 101;
    await time.tickAsync(minutes(1));
    assert.equal(isShedding(), true);
  });

  describe('lets what is collected', () => {
    let queues: MemoryQueues;
    let settings: LiveSettings;
    const leavesOut: LeavesOut = (...what) => (limit.leavesOutAll(...what) ? 'memory' : undefined);

    beforeEach(() => {
      queues = new MemoryQueues();
      settings = liveSettings({
        snapshotFrequency: hours(13),
        priorities: { Starts: 'Low', Logins: 'High', Ports: 'Low', Statistics: 'Low' },
      });
    });

    it('be counted by its name, without looking anything up', async () => {
      const starts = triggered({
        ...declared,
        name: 'Starts',
        stream: 'logins',
        translate: ({ operation, userName }, look) => {
          if (userName === undefined) throw new MalformedRecordError('no user');
          return operation === 'Login' ? { Text: `${look.userName(0)}` } : undefined;
        },
      });
      const logins = triggered({
        ...declared,
        name: 'Logins',
        stream: 'logins',
        translate: () => ({ Text: 'login' }),
      });
      const userName = sinon.stub().returns('root');
      const triggers = new Triggers({
        origin: 'test',
        collectors: [starts, logins],
        settings,
        aggregator: { add: () => assert.fail('nothing is aggregated') },
        queues,
        leavesOut,
        log: quietLog(),
      });
      const occurrences = new Occurrences({ collectors: [starts, logins], lookups: { ...look, userName } });
      occurrences.offerTo(triggers);
      const record = { time: new Date(), serial: 1, success: true, pid: 7, executable: '/usr/sbin/sshd' };
      const records = [
        { ...record, operation: 'Login', userName: 'alice' },
        { ...record, operation: 'Login', userName: 'bob' },
        { ...record, operation: 'Logout', userName: 'bob' },
        { ...record, operation: 'Login' },
      ];
      megabytes = 101;
      await time.tickAsync(seconds(10));
      occurrences.accept('logins', records);
      assert.equal(userName.callCount, 0);
      assert.deepEqual(queues.dropped, [
        ['Low', 'Starts', 'memory', 2],
        ['Low', 'Starts', 'malformed', 1],
      ]);
      assert.deepEqual([queues.put_.Low.length, queues.put_.High.length], [0, 4]);
      megabytes = 70;
      await time.tickAsync(seconds(65));
      occurrences.accept('logins', records);
      assert.equal(queues.put_.Low.length, 2);
    });

    it('be taken at once when it is a snapshot', async () => {
      const collect = sinon.stub().resolves([{ Port: 22 }]);
      const ports = periodic({ ...declared, name: 'Ports', collect });
      megabytes = 101;
      await time.tickAsync(seconds(10));
      const snapshots = new Snapshots({
        collectors: [ports],
        sources: {} as Sources,
        settings,
        queues,
        leavesOut,
        clock: systemClock,
        log: quietLog(),
        changed: () => {},
      });
      await snapshots.start();
      await time.tickAsync(seconds(2));
      assert.equal(collect.callCount, 1);
      assert.deepEqual(queues.dropped, []);
      assert.deepEqual(
        queues.put_.Low.map(({ name }) => name),
        ['Ports'],
      );
      const stopped = snapshots.stop();
      await time.tickAsync(seconds(3));
      await stopped;
    });

    it('be counted for the heaviest user alone, while the events of root are collected', async () => {
      users = ['UserId 2001'];
      const starts = triggered({
        ...declared,
        name: 'Starts',
        stream: 'logins',
        translate: ({ userName }) => ({ UserId: String(userName), CommandLine: 'x'.repeat(1_000) }),
      });
      const load = new UserLoad(systemClock);
      const triggers = new Triggers({
        origin: 'test',
        collectors: [starts],
        settings,
        aggregator: { add: () => assert.fail('nothing is aggregated') },
        queues,
        leavesOut,
        leavesOutOwner: (...event) => limit.leavesOutOwner(...event),
        load,
        log: quietLog(),
      });
      const occurrences = new Occurrences({ collectors: [starts], lookups: look });
      occurrences.offerTo(triggers);
      megabytes = 101;
      await time.tickAsync(seconds(10));
      const record = { time: new Date(), success: true, pid: 7, executable: '/bin/x', operation: 'Login' };
      occurrences.accept(
        'logins',
        ['2001', '0', '2001', '33'].map((userName) => ({ ...record, userName })),
      );
      assert.equal(queues.put_.Low.length, 2);
      assert.deepEqual(queues.dropped, [
        ['Low', 'Starts', 'memory', 1],
        ['Low', 'Starts', 'memory', 1],
      ]);
      assert.equal(load.heaviest(new Set()), 'UserId 2001');
    });
  });
});

describe('collectGarbage', () => {
  it('collects what only a weak reference holds', async () => {
    const weak = new WeakRef({});
    await nextTurn(); // within a turn it can't be collected
    await collectGarbage();
    assert.equal(weak.deref(), undefined);
  });

  it('moves what is left together, so that pages with little in them are returned', () => {
    const { href } = new URL('../../../src/agent/pipeline/memory-limit.js', import.meta.url);
    const program = `import { getHeapSpaceStatistics } from 'node:v8';
      import { collectGarbage } from '${href}';
      const kept = [];
      let all = [];
      for (let i = 0; i < 600_000; i += 1) {
        const filler = [i, String(i), { i }];
        if (i % 6 === 0) kept.push(filler);
        all.push(filler);
      }
      all = undefined;
      await collectGarbage();
      const { space_size, space_used_size } = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space');
      console.log(kept.length, space_used_size / space_size);`;
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
    const [kept, share = 0] = output.split(' ').map(Number);
    assert.equal(kept, 100_000);
    assert.ok(share > 0.8, `of the pages, ${share} is used; without moving it is a half`);
  });

  it('leaves the flags of V8 as they were: a code cache that this process makes must fit the next one', () => {
    const { href } = new URL('../../../src/agent/pipeline/memory-limit.js', import.meta.url);
    const program = `import { cachedDataVersionTag } from 'node:v8';
      import { collectGarbage } from '${href}';
      const before = cachedDataVersionTag();
      await collectGarbage();
      console.log(cachedDataVersionTag() === before);`;
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
    assert.equal(output, 'true\n');
  });
});
