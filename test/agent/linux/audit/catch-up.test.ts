import assert from 'node:assert/strict';
import { appendFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import sinon from 'sinon';
import { CatchUp } from '../../../../src/agent/linux/audit/catch-up.ts';
import { Checkpoint } from '../../../../src/agent/linux/audit/checkpoint.ts';
import type { AuditEvent } from '../../../../src/agent/linux/audit/event.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { milliseconds } from '../../../../src/core/base/duration.ts';
import { temporaryFolder } from '../../../harness/folders.ts';

const NOW = Date.parse('2026-11-25T12:00:00Z');
const THIS_BOOT = 'this-boot';

/** The records of a program start. */
const start = (serial: number, timeMs = NOW - 1_000) => {
  const header = `msg=audit(${(timeMs / 1_000).toFixed(3)}:${serial}):`;
  return [
    `type=SYSCALL ${header} arch=c000003e syscall=59 success=yes exit=0 ppid=1 pid=2 euid=0 exe="/usr/bin/true"\n`,
    `type=EXECVE ${header} argc=1 a0="true"\n`,
    `type=CWD ${header} cwd="/"\n`,
    `type=PROCTITLE ${header} proctitle=74727565\n`,
  ].join('');
};
const event = (serial: number, timeMs = NOW - 1_000): AuditEvent => ({
  time: new Date(timeMs),
  serial,
  success: true,
  fields: {},
});
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

describe('CatchUp', () => {
  let time: sinon.SinonFakeTimers;
  let folder: string;
  let path: string;
  let reported: number[];
  let catchUp: CatchUp;
  let stopping: AbortController;
  let running: Promise<void> | undefined;
  let isOver: boolean;

  beforeEach(() => {
    time = sinon.useFakeTimers({ now: NOW, toFake: ['Date', 'performance', 'setTimeout', 'clearTimeout'] });
    folder = temporaryFolder();
    path = join(folder, 'audit.log');
    reported = [];
    stopping = new AbortController();
    isOver = false;
  });
  afterEach(async () => {
    stopping.abort();
    await time.tickAsync(1);
    await running;
    running = undefined;
    time.restore();
  });

  const begin = ({ serial = 100, bootId = THIS_BOOT, timeMs = NOW - 60_000, bootedAtMs = NOW - 3_600_000 } = {}) => {
    catchUp = new CatchUp({
      path,
      checkpoint: new Checkpoint(join(folder, 'checkpoint'), THIS_BOOT),
      position: { bootId, timeMs, serial },
      bootedAtMs,
      deliver: (events) => reported.push(...events.map((event) => event.serial)),
      clock: systemClock,
      log: pino({ level: 'silent' }),
    });
    running = catchUp.run(stopping.signal).then(() => {
      isOver = true;
    });
  };
  /** Advances the time while the agent reads live events four times per second. */
  const pass = async (ms: number) => {
    for (let left = ms; left > 0; left -= 250) {
      await time.tickAsync(250);
      catchUp.read(milliseconds(systemClock.monotonic()));
    }
  };
  const seeLive = (...serials: number[]) => catchUp.sawLive(serials.map((serial) => event(serial)));
  const write = (...serials: number[]) => appendFileSync(path, serials.map((serial) => start(serial)).join(''));

  it("reports the log's events between the last run and the first live event", async () => {
    write(...range(90, 300));
    begin();
    seeLive(...range(151, 300));
    await pass(10_000);
    assert.deepEqual(reported, range(101, 150));
    assert.ok(isOver);
  });

  it('reports no event that waits unread in the socket, regardless of how long it waits', async () => {
    write(...range(90, 150));
    begin();
    write(...range(151, 400));
    await time.tickAsync(20_000); // the agent is slow, and reads nothing
    assert.deepEqual(reported, []);
    seeLive(...range(151, 400));
    await pass(10_000);
    assert.deepEqual(reported, range(101, 150));
    assert.ok(isOver);
  });

  it('reports no event that is written to the log while the log is read', async () => {
    write(...range(90, 150));
    begin();
    for (let serial = 151; serial < 191; serial += 1) {
      write(serial); // the kernel gives it to the socket as well, which is read a moment later
      await pass(250);
      seeLive(serial);
    }
    assert.deepEqual(reported, range(101, 150));
  });

  it('reports events that arrived out of order around the first live event once', async () => {
    write(...range(101, 148), 151, 149, 152, 150, 153, 154);
    begin();
    seeLive(152, 150, 153, 154); // 151 was given out before anybody listened, and 149
    await pass(10_000);
    assert.deepEqual(reported.sort(), [...range(101, 149), 151]);
  });

  it('does not recover events lost while listening: they are counted', async () => {
    write(...range(101, 1_000));
    begin();
    seeLive(...range(151, 300), ...range(601, 1_000));
    await pass(10_000);
    assert.deepEqual(reported, range(101, 150));
  });

  it('waits for auditd if auditd is slower than the agent', async () => {
    write(...range(90, 120));
    begin();
    seeLive(...range(151, 170));
    await pass(5_000);
    write(...range(121, 140));
    await pass(5_000);
    assert.equal(isOver, false);
    write(...range(141, 170));
    await pass(5_000);
    assert.deepEqual(reported, range(101, 150));
    assert.ok(isOver);
  });

  it('ends when auditd stops writing', async () => {
    write(...range(90, 150));
    begin();
    seeLive(200);
    await pass(20_000);
    assert.deepEqual(reported, range(101, 150));
    assert.ok(isOver);
  });

  it('continues across a log rotation', async () => {
    write(...range(90, 120));
    renameSync(path, `${path}.1`);
    write(...range(121, 200));
    begin();
    seeLive(...range(151, 200));
    await pass(10_000);
    assert.deepEqual(reported, range(101, 150));
  });

  it('reports events left by an earlier boot, regardless of their serials', async () => {
    const before = NOW - 7_200_000;
    appendFileSync(
      path,
      range(40, 60)
        .map((serial) => start(serial, before + serial))
        .join(''),
    );
    write(1, 2, 50, 51);
    begin({ bootId: 'an earlier one', serial: 45, timeMs: before + 45 });
    seeLive(50, 51);
    await pass(10_000);
    assert.deepEqual(reported, [...range(46, 60), 1, 2]);
  });

  it('reports the start of this boot even if an earlier boot had the same serials', async () => {
    const before = NOW - 7_200_000;
    appendFileSync(
      path,
      range(40, 60)
        .map((serial) => start(serial, before + serial))
        .join(''),
    );
    write(...range(1, 71));
    begin({ bootId: 'an earlier one', serial: 45, timeMs: before + 45 });
    seeLive(71);
    await pass(10_000);
    assert.deepEqual(reported, [...range(46, 60), ...range(1, 70)]);
  });

  it('reads the existing log immediately when the agent exits', async () => {
    write(...range(90, 300));
    begin();
    seeLive(...range(151, 300));
    stopping.abort();
    await time.tickAsync(1);
    await running;
    assert.deepEqual(reported, range(101, 150));
  });

  it('works without a log', async () => {
    begin();
    await pass(3_000);
    assert.ok(isOver);
    assert.deepEqual(reported, []);
  });

  it('works with an empty log', async () => {
    writeFileSync(path, '');
    begin();
    await pass(10_000);
    assert.ok(isOver);
  });
});
