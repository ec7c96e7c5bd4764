import assert from 'node:assert/strict';
import { pino } from 'pino';
import sinon from 'sinon';
import type { AuditEvent } from '../../../../../src/agent/linux/audit/event.ts';
import { FloodWatch, RecentLosses } from '../../../../../src/agent/linux/audit/flood-watch.ts';
import { RUNNING } from '../../../../../src/agent/linux/audit/status.ts';
import type { ProcessConnector } from '../../../../../src/agent/linux/processes/connector/connector.ts';
import { decodeEvent } from '../../../../../src/agent/linux/processes/connector/messages.ts';
import { ExcludedStarts } from '../../../../../src/agent/linux/streams/excluded-starts.ts';
import { systemClock } from '../../../../../src/core/base/clock.ts';
import { seconds } from '../../../../../src/core/base/duration.ts';
import type { AuditFlood } from '../../../../../src/core/contract/streams.ts';
import { execOf } from '../../processes/connector/datagrams.ts';

const EXECUTED = execOf(1);
const SEEN = decodeEvent(new DataView(EXECUTED.buffer, EXECUTED.byteOffset, EXECUTED.length), EXECUTED.length);
const SECOND = 1_000;

describe('FloodWatch', () => {
  let time: sinon.SinonFakeTimers;
  let floods: AuditFlood[];
  let excluded: number;
  /** Starts that the process connector has to report. */
  let executed: number;
  let canCount: boolean;
  /** Whether the process connector fails. */
  let isBroken: boolean;
  /** How often the process connector was closed. */
  let closed: number;
  let logged: { readonly level: number; readonly msg: string; readonly err: Error }[];
  let changed: sinon.SinonSpy;
  let watch: FloodWatch;

  beforeEach(() => {
    time = sinon.useFakeTimers({ now: new Date('2026-01-01') });
    floods = [];
    excluded = 0;
    executed = 0;
    canCount = true;
    isBroken = false;
    closed = 0;
    logged = [];
    changed = sinon.spy();
    watch = new FloodWatch({
      clock: systemClock,
      log: pino({ level: 'warn' }, { write: (line: string) => logged.push(JSON.parse(line)) }),
      changed,
      flooded: (flood) => floods.push(flood),
      excluded: (count) => (excluded += count),
      countStarts: (clock) => {
        if (!canCount) throw new Error('no connector');
        return new ExcludedStarts({ now: clock.now, fromKernel: () => new Date() }, () => connector);
      },
    });
  });
  afterEach(() => {
    watch.close();
    time.restore();
  });

  const connector = {
    read(take: (event: typeof SEEN) => void) {
      if (isBroken) throw new Error('the connector is closed');
      if (executed === 0) return false;
      executed -= 1;
      take(SEEN);
      return true;
    },
    takeDropped: () => 0,
    close: () => (closed += 1),
  } as unknown as ProcessConnector;

  const starts = (uid: number, count: number, { euid = uid, commandLine = 'x' } = {}): void =>
    watch.see(
      Array.from({ length: count }, () => ({
        time: new Date(),
        serial: 1,
        syscall: 'execve',
        success: true,
        argv: [commandLine],
        commandLine,
        fields: { uid: String(uid), euid: String(euid) },
      })) as AuditEvent[],
    );
  const look = ({ backlog = 0, mayExclude = true } = {}) => {
    time.tick(SECOND);
    return watch.look({ ...RUNNING, pid: 1, lost: 0, backlog }, mayExclude);
  };

  it('names the user who caused most records while more than 1 % are lost, for five minutes', () => {
    starts(2_001, 900);
    starts(0, 50);
    watch.lose(30);
    look({ mayExclude: false });
    assert.match(watch.problem ?? '', /lost 30 audit events within five minutes \(3 %\)\. user 2001 caused most/);
    assert.equal(changed.callCount, 1);
    time.tick(301 * SECOND);
    look({ mayExclude: false });
    assert.equal(watch.problem, undefined);
  });

  it('reports no problem for a smaller loss', () => {
    starts(2_001, 9_000);
    watch.lose(30);
    look({ mayExclude: false });
    assert.equal(watch.problem, undefined);
  });

  it('reports a flood immediately, and again a minute later', () => {
    for (const expected of [1, 1]) {
      starts(2_001, 900);
      watch.lose(300);
      look();
      assert.equal(floods.length, expected);
    }
    assert.deepEqual([floods[0]?.userId, floods[0]?.lost], [2_001, 300]);
    assert.ok(floods[0]?.excludedUntil !== undefined);
    time.tick(60 * SECOND);
    starts(2_001, 900);
    watch.lose(300);
    look();
    assert.equal(floods.length, 2);
  });

  it('excludes the user before events are lost, when the backlog grows', () => {
    starts(2_001, 900);
    assert.equal(look({ backlog: RUNNING.backlogLimit / 2 }), true);
    assert.deepEqual(watch.excludedOwners, [2_001]);
    assert.match(watch.problem ?? '', /Starts of user 2001 are only counted/);
  });

  it('excludes the user when the events read stay more than five seconds old, with little backlog', () => {
    const readLate = () => {
      starts(2_001, 100);
      time.tick(5 * SECOND);
      return look();
    };
    assert.equal(readLate(), false, 'a single late look may be a step of the clock');
    assert.equal(readLate(), true);
    assert.deepEqual(watch.excludedOwners, [2_001]);
  });

  it('excludes no one while the events read are up to date, or none arrive', () => {
    for (let round = 0; round < 3; round += 1) {
      starts(2_001, 900);
      time.tick(3 * SECOND);
      assert.equal(look(), false);
    }
    time.tick(30 * SECOND);
    assert.equal(look(), false);
    assert.equal(look(), false);
  });

  it('excludes the user before events are lost, when the backlog stays above a sixteenth', () => {
    starts(2_001, 900);
    assert.equal(look({ backlog: RUNNING.backlogLimit / 10 }), false);
    assert.equal(look(), false);
    assert.equal(look({ backlog: RUNNING.backlogLimit / 10 }), false);
    assert.equal(look({ backlog: RUNNING.backlogLimit / 10 }), true);
    assert.deepEqual(watch.excludedOwners, [2_001]);
  });

  it('counts records: excludes a user with few starts and long arguments, not one with more short starts', () => {
    starts(2_001, 20, { commandLine: 'x'.repeat(100_000) });
    starts(33, 25);
    watch.lose(300);
    look();
    assert.deepEqual(watch.excludedOwners, [2_001]);
    assert.equal(floods[0]?.share, 81);
  });

  it('attributes losses that become known late to the flood that was excluded', () => {
    starts(2_001, 900);
    look({ backlog: RUNNING.backlogLimit / 2 });
    for (let wait = 0; wait < 15; wait += 1) {
      starts(0, 100);
      watch.lose(50);
      look();
    }
    assert.match(watch.problem ?? '', /user 2001 caused most/);
    assert.deepEqual([...new Set(floods.map(({ userId }) => userId))], [2_001]);
  });

  it('excludes no user alongside another audit daemon, or if excluded starts cannot be counted', () => {
    for (const mayExclude of [false, true]) {
      canCount = false;
      starts(2_001, 900);
      watch.lose(300);
      assert.equal(look({ mayExclude }), false);
      assert.deepEqual(watch.excludedOwners, []);
    }
  });

  it('counts the excluded starts, which audit did not report', () => {
    starts(2_001, 900);
    watch.lose(300);
    look();
    time.tick(SECOND);
    executed = 2_000;
    starts(0, 5);
    watch.settle(new Date(0));
    assert.equal(excluded, 0);
    time.tick(5 * SECOND);
    watch.settle(new Date());
    assert.equal(excluded, 1_995);
  });

  it('counts the starts that are still excluded when it is closed', () => {
    starts(2_001, 900);
    watch.lose(300);
    look();
    executed = 7;
    watch.settle(new Date(0));
    watch.close();
    assert.equal(excluded, 7);
    assert.deepEqual(watch.excludedOwners, []);
  });

  it('is due every 250 ms, once 100 records were read, events were lost, or starts are excluded', () => {
    time.tick(250);
    assert.equal(watch.isDue(99), false);
    assert.equal(watch.isDue(1), true);
    look();
    time.tick(249);
    watch.lose(1);
    assert.equal(watch.isDue(0), false);
    time.tick(1);
    assert.equal(watch.isDue(0), true);
    starts(2_001, 900);
    look({ backlog: RUNNING.backlogLimit / 2 });
    time.tick(250);
    assert.equal(watch.isDue(0), true);
  });

  it('ends the exclusion when the flood is over, and closes the counter ten seconds later', () => {
    starts(2_001, 900);
    watch.lose(300);
    look();
    for (let second = 0; second < 30; second += 1) {
      executed = 200;
      look();
      watch.settle(new Date());
    }
    assert.deepEqual(watch.excludedOwners, [2_001], 'while 200 starts per second are excluded');
    let ended = 0;
    while (watch.excludedOwners.length > 0 && ended < 30) {
      ended += 1;
      look();
      watch.settle(new Date());
    }
    assert.ok(ended <= 5, `ended after ${ended} s`);
    assert.equal(closed, 0);
    time.tick(9 * SECOND);
    watch.settle(new Date());
    assert.equal(closed, 0);
    time.tick(SECOND);
    watch.settle(new Date());
    assert.equal(closed, 1);
  });

  it('ends the exclusion if excluded starts can no longer be counted, or another audit daemon starts', () => {
    for (const end of [() => watch.settle(new Date()), () => look({ mayExclude: false })]) {
      isBroken = false;
      starts(2_001, 900);
      watch.lose(300);
      look();
      assert.deepEqual(watch.excludedOwners, [2_001]);
      isBroken = true;
      end();
      assert.deepEqual(watch.excludedOwners, []);
      time.tick(3_600 * SECOND);
    }
  });

  it('excludes no user without a way to count starts', () => {
    watch = new FloodWatch({ clock: systemClock, log: pino({ level: 'silent' }) });
    starts(2_001, 900);
    watch.lose(300);
    look();
    assert.deepEqual(watch.excludedOwners, []);
  });

  it('reports each of two users once per minute, with the end of the exclusion', () => {
    for (let round = 0; round < 4; round += 1) {
      starts(2_001, 900);
      starts(2_002, 900);
      watch.lose(300);
      look();
    }
    assert.deepEqual(floods.map(({ userId }) => userId).sort(), [2_001, 2_002]);
    const [first] = floods;
    assert.equal((first?.excludedUntil?.getTime() ?? 0) - (first?.time.getTime() ?? 0), 60 * SECOND);
  });

  it('logs the user, the lost events, the end of the exclusion and a remedy', () => {
    starts(2_001, 900);
    watch.lose(300);
    look();
    const { level, msg, err } = logged[0] ?? assert.fail('nothing was logged');
    assert.deepEqual([level, msg], [40, "A user floods the kernel's audit."]);
    assert.match(
      err.message,
      /^user 2001 causes 100 % of the audit records; 300 events were lost\. Until 2026-01-01T00:01:01/,
    );
    assert.match(JSON.stringify(err), /ps -fu 2001.*user-2001\.slice/);
  });

  it('treats the ids of a block of subordinate ids as one user', () => {
    for (let id = 165_536; id < 165_636; id += 1) starts(id, 10);
    watch.lose(300);
    look();
    assert.deepEqual(watch.excludedOwners, [-2]);
    assert.match(watch.problem ?? '', /users 165536 to 231071/);
  });

  it('excludes no user for starts of set-user-id programs, which an exclusion does not cover', () => {
    starts(2_001, 900, { euid: 0 });
    watch.lose(300);
    look();
    assert.deepEqual(watch.excludedOwners, []);
  });
});

describe('RecentLosses', () => {
  it('counts the losses of the last five minutes if events arrive every second', () => {
    const losses = new RecentLosses();
    for (let second = 0; second <= 900; second += 1) losses.add(seconds(second), { arrived: 9, lost: 1 });
    const { lost, share } = losses.tooMany(seconds(900)) ?? { lost: 0, share: 0 };
    assert.ok(lost > 290 && lost <= 300, `${lost} lost`); // in steps of ten seconds
    assert.equal(share, 0.1);
  });

  it('ignores fewer than ten lost events, even if all are lost', () => {
    const losses = new RecentLosses();
    losses.add(seconds(0), { lost: 9 });
    assert.equal(losses.tooMany(seconds(1)), undefined);
    losses.add(seconds(1), { lost: 1 });
    assert.deepEqual(losses.tooMany(seconds(1)), { lost: 10, share: 1 });
  });

  it('ignores a loss of 1 %, and returns a greater one', () => {
    for (const [arrived, isIgnored] of [
      [990, true],
      [989, false],
    ] as const) {
      const losses = new RecentLosses();
      losses.add(seconds(0), { arrived });
      losses.add(seconds(1), { lost: 10 });
      assert.equal(losses.tooMany(seconds(2)) === undefined, isIgnored, `of ${arrived + 10} events`);
    }
  });
});
