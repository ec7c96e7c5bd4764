import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { seconds } from '../../src/base/duration.ts';
import { AuditControl } from '../../src/linux/audit/control.ts';
import { syscallRules } from '../../src/linux/audit/rules.ts';
import { RUNNING } from '../../src/linux/audit/status.ts';
import { ABIS } from '../../src/linux/audit/syscalls.ts';
import { NETLINK_AUDIT, openNetlink } from '../../src/linux/native/netlink/socket.ts';
import { Auditd } from '../system/auditd.ts';
import type { Native } from './starts.ts';

const STARTS = 200;

/** What auditd writes of one program that starts and ends. */
export interface LogOfAStart {
  /** In bytes. */
  readonly bytes: number;
  readonly records: number;
}

/** Has auditd log starts and ends of programs, with the rules that the agent has, and measures its log. */
export async function logOfAStart(native: Native): Promise<LogOfAStart> {
  if (!existsSync('/usr/sbin/auditd')) throw new Error('auditd is not installed');
  const control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
  const rules = [
    ...syscallRules([{ syscalls: ['execve', 'execveat'], where: { success: 1 } }], ABIS[process.arch] ?? []),
    ...syscallRules([{ syscalls: ['exit_group'] }], ABIS[process.arch] ?? []),
  ];
  const root = mkdtempSync(join(tmpdir(), 'vakt-auditd-'));
  const auditd = new Auditd(control, root);
  try {
    await auditd.start();
    for (const rule of rules) await control.addRule(rule);
    await control.set({ backlogLimit: RUNNING.backlogLimit, backlogWaitTime: RUNNING.backlogWaitTime });
    const { marker, count } = await native.start(STARTS, 100);
    await systemClock.sleep(seconds(2));
    return ofStarts(auditd.texts.join('').split('\n'), marker, count);
  } finally {
    for (const rule of rules) await control.deleteRule(rule);
    await auditd.remove();
    control.close();
    rmSync(root, { recursive: true });
  }
}

/** The lines about these starts, and about the ends of their processes. */
function ofStarts(lines: readonly string[], marker: string, count: number): LogOfAStart {
  const events = new Map<string, string[]>();
  for (const line of lines) {
    const serial = line.match(/msg=audit\([\d.]+:(\d+)\)/)?.[1];
    if (serial !== undefined) events.set(serial, [...(events.get(serial) ?? []), line]);
  }
  const all = [...events.values()];
  const pidOf = (event: readonly string[]) => event.join('\n').match(/^type=SYSCALL .* pid=(\d+)/m)?.[1];
  const started = all.filter((event) => event.some((line) => line.startsWith('type=EXECVE') && line.includes(marker)));
  const pids = new Set(started.map(pidOf));
  const ended = all.filter((event) => pids.has(pidOf(event)) && !started.includes(event));
  const counted = [...started, ...ended].flat();
  return {
    bytes: counted.reduce((sum, line) => sum + line.length + 1, 0) / count,
    records: counted.length / count,
  };
}
