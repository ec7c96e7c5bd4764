import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Checkpoint } from '../../src/agent/linux/audit/checkpoint.ts';
import { AuditControl } from '../../src/agent/linux/audit/control.ts';
import type { AuditStatus } from '../../src/agent/linux/audit/status.ts';
import { NETLINK_AUDIT, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../src/core/base/duration.ts';
import { temporaryFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { Auditd } from './auditd.ts';
import { forks } from './forks.ts';
import { missingForAudit } from './missing-for-audit.ts';

/** Alongside auditd, a start has seven records; the receive buffer holds about 7,000 records. */
const STARTS = 400;
/** Time limit for an agent that gets little CPU. */
const BUSY = { limit: seconds(40) };

interface OutputLine {
  readonly following?: string;
  readonly start?: readonly string[];
  readonly end?: string | null;
  readonly pid?: number;
  readonly at?: number;
  readonly dropped?: string;
  readonly count?: number;
}

/** Alongside a real auditd, the agent first gets no CPU, then a fiftieth of a CPU. */
describe('A slow agent @release', function () {
  this.timeout(120_000);
  let control: AuditControl;
  let atFirst: AuditStatus;
  let auditd: Auditd;
  let agent: ChildProcess | undefined;
  let output: OutputLine[];
  let errors: string;
  let slowing: AbortController | undefined;
  let slowed: Promise<void> | undefined;

  before(async function () {
    require(this, await missingForAudit());
    require(this, existsSync('/usr/sbin/auditd') ? undefined : 'auditd is not installed');
    control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
    atFirst = await control.status();
  });
  beforeEach(async () => {
    auditd = new Auditd(control, temporaryFolder());
    await auditd.start();
    symlinkSync('/proc', join(auditd.root, 'proc'));
    mkdirSync(join(auditd.root, 'state'));
  });
  afterEach(async () => {
    await end('SIGKILL');
    await auditd.remove();
    for (const rule of await control.rules()) if (rule.ours) await control.deleteRule(rule.data);
    const { enabled, failure, backlogLimit, backlogWaitTime } = atFirst;
    await control.set({ enabled, failure, backlogLimit, backlogWaitTime });
  });
  after(() => control?.close());

  const follow = async () => {
    output = [];
    errors = '';
    agent = spawn(process.execPath, ['dist/test/system/follow-all.js', auditd.root, join(auditd.root, 'state')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    if (agent.stdout) createInterface({ input: agent.stdout }).on('line', (line) => output.push(JSON.parse(line)));
    agent.stderr?.setEncoding('utf8').on('data', (text: string) => {
      errors += text;
    });
    await until(
      () => `following; ${errors}`,
      () => output.some(({ following }) => following === 'auditMulticast'),
      BUSY,
    );
  };
  const end = async (signal: NodeJS.Signals) => {
    await endSlowDown();
    if (agent === undefined || agent.exitCode !== null || agent.signalCode !== null) return;
    const ended = once(agent, 'exit');
    agent.kill(signal);
    await ended;
  };
  /** Stops the agent for 4 s, then runs it for 2 ms in 100 ms until `endSlowDown`. */
  const slowDown = () => {
    const stop = new AbortController();
    slowing = stop;
    slowed = (async () => {
      for (let rest = seconds(4); !stop.signal.aborted; rest = milliseconds(98)) {
        agent?.kill('SIGSTOP');
        await systemClock.sleep(rest, stop.signal);
        agent?.kill('SIGCONT');
        await systemClock.sleep(milliseconds(2), stop.signal);
      }
      agent?.kill('SIGCONT');
    })();
  };
  const endSlowDown = async () => {
    slowing?.abort();
    await slowed;
  };
  const runMany = async (mark: string) => {
    const loop = `i=0; while [ $i -lt ${STARTS} ]; do /bin/true ${mark} $i; i=$((i+1)); done`;
    await once(spawn('/bin/sh', ['-c', loop], { stdio: 'ignore' }), 'exit');
  };
  const startsOf = (mark: string) => output.filter(({ start }) => start?.[1] === mark);
  /** Counts the losses, except the exits that the killed agent held. */
  const dropped = () => {
    const counts: Record<string, number> = {};
    for (const { dropped: stream = 'exits killed', count = 0 } of output)
      if (stream !== 'exits killed') counts[stream] = (counts[stream] ?? 0) + count;
    return counts;
  };

  it('reports each start once and each exit after a restart while programs start', async () => {
    const mark = `slow-${process.pid}`;
    await follow();
    await runMany('first');
    await until(
      () => `the first starts; ${errors}`,
      () => startsOf('first').length >= STARTS,
      BUSY,
    );
    const newest = Math.max(...startsOf('first').map(({ at = 0 }) => at));
    const checkpoint = new Checkpoint(join(auditd.root, 'state/audit-checkpoint.json'), '');
    await until('a checkpoint', () => (checkpoint.read()?.timeMs ?? 0) >= newest);
    await end('SIGKILL'); // its rules stay, and auditd still runs
    const missed = `missed-${process.pid}`;
    await runMany(missed);

    await follow();
    const forksBefore = forks();
    slowDown();
    await runMany(mark);
    const pids = () => new Set(startsOf(mark).map(({ pid }) => pid));
    const ends = () => output.filter(({ end: program, pid }) => program !== undefined && pids().has(pid));
    const hasAllStarts = () => startsOf(mark).length >= STARTS && startsOf(missed).length >= STARTS;
    await until('all starts', hasAllStarts, BUSY).catch(() => {}); // the assertions below report missing starts
    await until('all ends', () => ends().length >= STARTS).catch(() => {});
    await systemClock.sleep(seconds(2)); // duplicates would arrive in this time
    await end('SIGTERM');

    // The receive buffer holds about 1,000 starts. Losses are allowed only if many other programs started.
    const foreignForks = forks() - forksBefore - STARTS;
    const lost = Object.values(dropped()).reduce((all, count) => all + count, 0);
    assert.ok(
      lost === 0 || foreignForks > 500,
      `${JSON.stringify(dropped())} lost, with ${foreignForks} foreign forks`,
    );
    for (const word of [mark, missed]) {
      const numbers = startsOf(word).map(({ start }) => Number(start?.[2]));
      assert.equal(new Set(numbers).size, numbers.length, 'a start was reported twice');
      assert.ok(numbers.length <= STARTS && numbers.length + lost >= STARTS, `${numbers.length} starts, ${lost} lost`);
    }
    assert.equal(startsOf('first').length, 0);
    assert.ok(ends().length <= STARTS && ends().length + lost >= STARTS, `${ends().length} ends, ${lost} lost`);
    assert.deepEqual(new Set(ends().map(({ end: program }) => program)), new Set(['/usr/bin/true']));
    assert.doesNotMatch(errors, /Lost the source/);
  });
});
