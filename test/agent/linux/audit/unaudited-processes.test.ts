import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { ProcFolder } from '../../../../src/agent/host/proc-folder.ts';
import { RUNNING } from '../../../../src/agent/linux/audit/status.ts';
import { enablesAudit, UnauditedProcesses } from '../../../../src/agent/linux/audit/unaudited-processes.ts';
import type { BackgroundWriter } from '../../../../src/agent/state/background-writer.ts';
import { NoteFile } from '../../../../src/agent/state/note-file.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { type Duration, milliseconds, minutes } from '../../../../src/core/base/duration.ts';
import { FakeProc } from '../processes/fake-proc.ts';

// Process ids are above the kernel's limit of 2^22, since this process is never reported.
const KERNEL_THREAD = 0x0020_0000;
const audit = (enabled: number, pid = 0) => ({ ...RUNNING, enabled, pid, lost: 0 });

interface Options {
  readonly commandLine?: string;
  readonly bootId?: string;
  readonly writer?: BackgroundWriter;
}

describe('UnauditedProcesses', () => {
  let host: FakeProc;
  let now: number;
  const clock = { ...systemClock, monotonic: () => milliseconds(now) };
  const later = (wait: Duration) => {
    now += wait;
  };
  beforeEach(() => {
    host = new FakeProc();
    now = 0;
    host.uptime(60);
  });
  afterEach(() => host.close());

  const make = ({ commandLine = 'quiet', bootId = 'this', writer }: Options = {}) =>
    new UnauditedProcesses({
      proc: new ProcFolder(host.path),
      commandLine,
      bootId,
      note: new NoteFile(join(host.hostRoot, 'audit-enabled.json'), writer),
      clock,
      log: pino({ level: 'silent' }),
    });
  const reasonAfter = async (unaudited: UnauditedProcesses, status = audit(0)) => {
    await unaudited.look(async () => status);
    return unaudited.reason();
  };

  it('lists the processes that ran when the agent first enabled audit, by number and name', async () => {
    host.add(5_000_412, { executable: '/usr/sbin/sshd', start: 900 });
    host.add(5_000_801, { executable: '/usr/bin/redis server', start: 5_999 });
    host.add(5_000_900, { executable: '/usr/bin/late', start: 6_001 });
    host.add(2, { executable: '', flags: KERNEL_THREAD });
    host.add(77, { state: 'Z' });
    const reason = await reasonAfter(make());
    assert.match(reason ?? '', /^2 processes were running when audit was first enabled in this boot\./);
    assert.match(reason ?? '', /: sshd \(5000412\), redis server \(5000801\)\./);
    assert.match(reason ?? '', /audit=1/);
  });

  it('lists none if the kernel enables audit before the first process starts', async () => {
    host.add(1);
    assert.equal(await reasonAfter(make({ commandLine: 'ro audit=1 quiet' })), undefined);
    for (const [line, isEnabled] of Object.entries({
      'ro audit=1': true,
      'audit=on': true,
      'audit=0': false,
      'audit=off': false,
      'audit=0 audit=1\n': true,
      'audit=1 audit=off': false,
      'noaudit=1 xaudit=1': false,
      'audit_backlog_limit=64': false,
    })) {
      assert.equal(enablesAudit(line), isEnabled, line);
    }
  });

  it('keeps the list when the agent restarts in the same boot, and drops it in the next', async () => {
    host.add(5_000_412, { executable: '/usr/sbin/sshd', start: 900 });
    await reasonAfter(make());
    host.add(5_000_950, { executable: '/usr/bin/later', start: 7_000 });
    host.uptime(80);
    assert.match((await reasonAfter(make(), audit(1))) ?? '', /^1 process was running when .*: sshd \(5000412\)\./);
    host.remove(5_000_412);
    host.remove(5_000_950);
    host.uptime(5);
    assert.equal(await reasonAfter(make({ bootId: 'next' })), undefined);
  });

  it('estimates the list if another program enabled audit: since that daemon started, or until now', async () => {
    host.add(5_000_300, { executable: '/usr/sbin/auditd', start: 500 });
    host.add(5_000_200, { executable: '/usr/bin/old', start: 400 });
    host.add(5_000_400, { executable: '/usr/bin/newer', start: 600 });
    const alongside = await reasonAfter(make(), audit(1, 5_000_300));
    assert.match(
      alongside ?? '',
      /^2 processes started before the agent .*may be older.*: old \(5000200\), auditd \(5000300\)\./,
    );
    const alone = await reasonAfter(make({ bootId: 'other' }), audit(1));
    assert.match(alone ?? '', /^3 processes started before the agent and may be older than audit in this boot/);
  });

  it('removes processes from the list when they exit, even if another one gets the pid', async () => {
    host.add(5_000_412, { executable: '/usr/sbin/sshd', start: 900 });
    host.add(5_000_500, { executable: '/usr/sbin/cron', start: 900 });
    const unaudited = make();
    assert.match((await reasonAfter(unaudited)) ?? '', /^2 processes/);
    host.add(5_000_412, { executable: '/usr/sbin/sshd', start: 6_500 });
    later(minutes(2));
    assert.match(unaudited.reason() ?? '', /^1 process was .*: cron \(5000500\)\./);
    host.remove(5_000_500);
    later(minutes(2));
    assert.equal(unaudited.reason(), undefined);
  });

  it('names up to eight processes, and counts all', async () => {
    for (let pid = 5_000_100; pid < 5_001_200; pid += 1) host.add(pid, { executable: `/bin/p${pid}` });
    assert.match((await reasonAfter(make())) ?? '', /^1100 processes .*p5000107 \(5000107\), and 1092 more\./);
  });

  it('writes its file in the background, so that a hanging disk does not block the agent', async () => {
    host.add(5_000_412, { executable: '/usr/sbin/sshd', start: 900 });
    const path = join(host.hostRoot, 'audit-enabled.json');
    const asked: string[] = [];
    const writer = { note: (file: string) => void asked.push(file) } as unknown as BackgroundWriter;
    assert.match((await reasonAfter(make({ writer }))) ?? '', /sshd/);
    assert.deepEqual([asked, existsSync(path)], [[path], false]);
  });

  describe("after another program's rule that hid processes (-a never,task) was removed", () => {
    beforeEach(() => {
      host.add(5_000_412, { executable: '/usr/sbin/sshd', start: 900 });
      host.add(5_000_801, { executable: '/usr/bin/redis', start: 6_500 });
    });
    const at = (seconds: number) => {
      later(milliseconds(seconds * 1_000 - now));
      host.uptime(60 + seconds);
    };

    it('lists the processes that started between the last check without the rule and its removal', async () => {
      const unaudited = make();
      await reasonAfter(unaudited);
      host.add(5_000_850, { executable: '/usr/bin/between', start: 6_900 });
      at(3);
      await unaudited.foundTaskRule(false);
      at(4);
      await unaudited.foundTaskRule(true);
      assert.match(unaudited.reason() ?? '', /^1 process was running when/);
      at(10);
      host.add(5_000_900, { executable: '/usr/bin/late', start: 7_001 });
      await unaudited.foundTaskRule(false);
      const reason = unaudited.reason() ?? '';
      assert.match(reason, /^3 processes started before audit was enabled in this boot, or while another program's/);
      assert.match(
        reason,
        /perhaps nothing that it does itself: sshd \(5000412\), redis \(5000801\), between \(5000850\)\./,
      );
      assert.match(reason, /Restart these services, or boot with audit=1/);
    });

    it('lists all since boot if the agent finds the rule at its start, even if audit is enabled at boot', async () => {
      const commandLine = 'audit=1';
      const before = make({ commandLine });
      await reasonAfter(before);
      await before.foundTaskRule(true);
      assert.equal(before.reason(), undefined);
      at(10);
      const after = make({ commandLine });
      assert.equal(await reasonAfter(after), undefined);
      await after.foundTaskRule(false);
      const reason = after.reason() ?? '';
      assert.match(
        reason,
        /^2 processes started while another program's audit rule -a never,task may have hidden them\./,
      );
      assert.match(reason, /: sshd \(5000412\), redis \(5000801\)\. Restart these services\.$/);
      assert.equal(await reasonAfter(make({ commandLine })), reason);
      assert.equal(await reasonAfter(make({ commandLine, bootId: 'next' })), undefined);
    });

    it('lists none if the agent has seen no such rule', async () => {
      const unaudited = make({ commandLine: 'audit=1' });
      await unaudited.foundTaskRule(false);
      assert.equal(await reasonAfter(unaudited), undefined);
      assert.equal(existsSync(join(host.hostRoot, 'audit-enabled.json')), false);
    });

    it('searches again when the rule is added and removed again', async () => {
      const unaudited = make();
      await unaudited.foundTaskRule(true);
      at(10);
      await unaudited.foundTaskRule(false);
      assert.match(unaudited.reason() ?? '', /^2 processes/);
      await unaudited.foundTaskRule(true);
      assert.match(unaudited.reason() ?? '', /^2 processes/);
      at(20);
      host.add(5_000_900, { executable: '/usr/bin/late', start: 7_500 });
      await unaudited.foundTaskRule(false);
      assert.match(unaudited.reason() ?? '', /^3 processes/);
    });

    it('does not replace processes older than audit, and searches for those later if it fails now', async () => {
      const unaudited = make();
      await unaudited.look(() => Promise.reject(new Error('EPERM')));
      await unaudited.foundTaskRule(true);
      assert.match((await reasonAfter(unaudited)) ?? '', /^1 process was running when audit was first enabled/);
    });
  });

  for (const text of ['', 'null', '[]', '7', '{"bootId":"this"}', '{"bootId":"this","ticks":"1","isKnown":true}']) {
    it(`searches again if the file contains ${JSON.stringify(text)}`, async () => {
      host.add(5_000_412, { executable: '/usr/sbin/sshd', start: 900 });
      writeFileSync(join(host.hostRoot, 'audit-enabled.json'), text);
      assert.match((await reasonAfter(make())) ?? '', /^1 process was running when/);
    });
  }

  it("reports later if audit could not be queried at first, and never blocks the agent's start", async () => {
    host.add(5_000_412, { executable: '/usr/sbin/sshd', start: 900 });
    const unaudited = make();
    await unaudited.look(() => Promise.reject(new Error('EPERM')));
    assert.equal(unaudited.reason(), undefined);
    assert.match((await reasonAfter(unaudited)) ?? '', /sshd/);
    const kept = readFileSync(join(host.hostRoot, 'audit-enabled.json'), 'utf8');
    assert.deepEqual(JSON.parse(kept), { bootId: 'this', ticks: 6_000, isKnown: true });
  });
});
