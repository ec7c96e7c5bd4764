import { readFileSync } from 'node:fs';
import { AuditControl } from '../../src/agent/linux/audit/control.ts';
import { isAlive } from '../../src/agent/linux/audit/slot-watch.ts';
import { NETLINK_AUDIT, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../src/core/base/clock.ts';

/** Returns why this process cannot be the kernel's audit daemon; `undefined` if it can. */
export async function missingForAudit(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'this is not root';
  let control: AuditControl | undefined;
  try {
    control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
    const { pid, enabled } = await control.status();
    if (pid !== 0 && isAlive(pid)) return `process ${pid} is the audit daemon: ${nameOf(pid)}`;
    if (enabled === 2) return 'audit is locked until the next boot';
    return undefined;
  } catch (error) {
    return `the kernel's audit is not available: ${(error as Error).message}`;
  } finally {
    control?.close();
  }
}

/** Returns a process's command line, or its name if the command line is unreadable, as for a zombie. */
function nameOf(pid: number): string {
  try {
    const called = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim();
    return called === '' ? readFileSync(`/proc/${pid}/comm`, 'utf8').trim() : called;
  } catch {
    return 'it has just exited';
  }
}
