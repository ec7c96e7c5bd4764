import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AuditControl } from '../../src/agent/linux/audit/control.ts';
import { syscallRules } from '../../src/agent/linux/audit/rules.ts';
import { RUNNING } from '../../src/agent/linux/audit/status.ts';
import { abisOf } from '../../src/agent/linux/audit/syscalls.ts';
import { NETLINK_AUDIT, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { Auditd } from '../system/auditd.ts';

export const hasAuditd = (): boolean => existsSync('/usr/sbin/auditd');

/** System calls for which auditd has rules. */
type Calls = Parameters<typeof syscallRules>[0];

export const STARTS: Calls = [{ syscalls: ['execve', 'execveat'], where: { success: 1 } }];

/**
 * Auditd as it is shipped, with rules for some calls, by default for program starts: it reads all seven records of each start and
 * writes them to its log.
 */
export async function withAuditd<T>(work: (auditd: Auditd) => Promise<T>, calls = STARTS): Promise<T> {
  const control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
  const rules = syscallRules(calls, abisOf());
  const root = mkdtempSync(join(tmpdir(), 'vakt-auditd-'));
  const auditd = new Auditd(control, root);
  try {
    await auditd.start();
    for (const rule of rules) await control.addRule(rule);
    await control.set({ backlogLimit: RUNNING.backlogLimit, backlogWaitTime: RUNNING.backlogWaitTime });
    return await work(auditd);
  } finally {
    for (const rule of rules) await control.deleteRule(rule);
    await auditd.remove();
    rmSync(root, { recursive: true });
    control.close();
  }
}
