import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { AuditSource } from '../../src/agent/linux/audit/audit-source.ts';
import { AuditControl } from '../../src/agent/linux/audit/control.ts';
import type { AuditStatus } from '../../src/agent/linux/audit/status.ts';
import { NETLINK_AUDIT, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../src/core/base/duration.ts';
import type { LogLine } from '../../src/core/base/log.ts';
import { quietLog } from '../agent/pipeline/memory-queues.ts';
import { temporaryFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { Auditd } from './auditd.ts';
import { missingForAudit } from './missing-for-audit.ts';
import { Recorder } from './recorder.ts';

const AUDITCTL = '/usr/sbin/auditctl';
const MAIN = new URL('../../src/main.js', import.meta.url).pathname;
/** Path of a configuration that is read but not used. */
const IDENTITY = { VAKT_IDENTITY__KIND: 'connectionString', VAKT_IDENTITY__FILE: '/nonexistent' };
const MARK = `vakt-test-${process.pid}`;
const TAKE_AUDIT = new URL('./take-audit.js', import.meta.url).pathname;

describe('Tampering with kernel audit', () => {
  let control: AuditControl;
  let atFirst: AuditStatus;
  let source: AuditSource;
  let logged: LogLine[];

  before(async function () {
    require(this, await missingForAudit());
    require(this, existsSync(AUDITCTL) ? undefined : 'auditctl is not installed');
    control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
    atFirst = await control.status();
  });
  beforeEach(async () => {
    logged = [];
    source = new AuditSource({
      rules: () => [{ syscalls: ['execve'], where: { success: 1 } }],
      sink: new Recorder(),
      clock: systemClock,
      log: quietLog(logged),
    });
    await source.open();
    await systemClock.sleep(milliseconds(600));
    assert.deepEqual(
      logged.filter(({ level }) => level === 'warn'),
      [],
      'the agent attributed its own changes to another process',
    );
  });
  afterEach(async () => {
    await source?.close();
    for (const rule of await control.rules()) if (rule.ours) await control.deleteRule(rule.data);
    const { enabled, failure, backlogLimit, backlogWaitTime } = atFirst;
    await control.set({ enabled, failure, backlogLimit, backlogWaitTime });
  });
  after(() => control?.close());

  const warning = () => `a warning; ${JSON.stringify(logged)}`;
  const auditctl = (...args: string[]) => assert.equal(spawnSync(AUDITCTL, args).status, 0);
  const hasWarned = (pattern: RegExp) =>
    logged.some(({ level, id, message }) => level === 'warn' && id === 'AUDIT_TAMPERED' && pattern.test(message));
  const BY = '/usr/sbin/auditctl \\(process \\d+, user 0.*\\)';

  it('is reported with the missing events when a process disables audit, which the agent enables again', async () => {
    auditctl('-e', '0');
    await until('audit to be on', async () => (await control.status()).enabled === 1);
    await until(warning, () => hasWarned(new RegExp(`${BY} changed audit's settings: audit_enabled=0, was 1`)));
    const { state, reason } = source.status();
    assert.equal(state, 'degraded');
    assert.match(reason ?? '', /switched audit off/);
  });

  it("is reported when a process removes the agent's rules, which the agent restores", async () => {
    const count = async () => (await control.rules()).filter(({ ours }) => ours).length;
    const before = await count();
    auditctl('-D', '-k', 'vakt');
    await until('the rules to be back', async () => (await count()) === before);
    await until(warning, () => hasWarned(new RegExp(`${BY} changed audit rules: op=remove_rule key=vakt`)));
  });

  it('is reported when a process changes the backlog limit or joins the multicast group', async () => {
    auditctl('-b', '9001');
    await until(warning, () => hasWarned(new RegExp(`${BY} changed audit's settings: audit_backlog_limit=9001`)));
    assert.equal(spawnSync(process.execPath, [TAKE_AUDIT, 'listen']).status, 0);
    await until(warning, () => hasWarned(/node \(process \d+, user 0.*\) listens to audit/));
  });

  it('is reported when a program other than auditd registers as the audit daemon', async () => {
    const taker = spawn(process.execPath, [TAKE_AUDIT, 'slot'], { stdio: 'ignore' });
    try {
      await until(warning, () => hasWarned(/node \(process \d+, user 0.*\) changed the audit daemon: audit_pid=/));
    } finally {
      taker.kill('SIGKILL');
    }
  });

  it('is not reported for a command that reads events next to an agent of another configuration', async () => {
    const agentRules = async () =>
      (await control.rules()).filter((rule) => rule.ours).map(({ data }) => data.toString('hex'));
    const before = await agentRules();
    const command = spawn(process.execPath, [MAIN, 'collect', 'ProcessCreate', '--filter', `CommandLine~${MARK}`], {
      env: { ...process.env, VAKT_CONTROL_SOCKET: '/nonexistent/vakt.sock', ...IDENTITY },
    });
    let output = '';
    for (const stream of [command.stdout, command.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    const ended = once(command, 'close');
    try {
      await until(
        () => output,
        () => output.includes('Following ProcessCreate from auditMulticast'),
      );
      spawnSync('/bin/true', [MARK]);
      await until(
        () => output,
        () => output.includes(`true ${MARK}`),
      );
    } finally {
      command.kill('SIGINT');
      await ended;
    }
    await systemClock.sleep(milliseconds(600)); // long enough to read all records about changes of audit
    assert.deepEqual(await agentRules(), before);
    assert.equal((await control.status()).pid, process.pid);
    assert.ok(!hasWarned(/changed/), JSON.stringify(logged));
    assert.equal(source.status().source, 'auditUnicast');
  });

  it('is not reported for auditd when it starts, restarts and stops', async () => {
    const auditd = new Auditd(control, temporaryFolder());
    try {
      await auditd.start();
      await auditd.stop();
      await auditd.start();
      await systemClock.sleep(seconds(1)); // long enough to read all records about auditd
      assert.ok(!hasWarned(/audit daemon|listens/), JSON.stringify(logged));
    } finally {
      await auditd.remove();
    }
  });
});
