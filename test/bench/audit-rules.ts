import { AuditControl } from '../../src/agent/linux/audit/control.ts';
import { BPRM_FCAPS, PATH, PROCTITLE } from '../../src/agent/linux/audit/reassembler.ts';
import { excludeRule, memoRule, syscallRules } from '../../src/agent/linux/audit/rules.ts';
import { formatSettings, RUNNING, restore } from '../../src/agent/linux/audit/status.ts';
import { abisOf } from '../../src/agent/linux/audit/syscalls.ts';
import { NETLINK_AUDIT, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../src/core/base/clock.ts';

/**
 * Sets audit up like the agent, for a reader that is already the audit daemon, so that it gets the same records. It also adds the
 * agent's mark: if the benchmark is killed, the next agent restores audit.
 *
 * @returns a function that restores audit
 */
export async function setAuditRules(): Promise<() => Promise<void>> {
  const control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
  const found = await control.status();
  const rules = [
    memoRule(formatSettings(found)),
    ...[PATH, PROCTITLE, BPRM_FCAPS].map(excludeRule),
    ...syscallRules([{ syscalls: ['execve', 'execveat'], where: { success: 1 } }], abisOf()),
  ];
  const undo = async () => {
    try {
      for (const rule of rules) await control.deleteRule(rule);
      const change = restore(found, await control.status());
      if (Object.keys(change).length > 0) await control.set(change);
    } finally {
      control.close();
    }
  };
  try {
    for (const rule of rules) await control.addRule(rule);
    await control.set(RUNNING);
    return undo;
  } catch (error) {
    await undo();
    throw error;
  }
}
