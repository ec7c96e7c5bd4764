import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import type { Auditd } from '../system/auditd.ts';
import { hasAuditd, STARTS, withAuditd } from './auditd-peer.ts';
import { hasJournald, withJournald } from './journald-peer.ts';
import type { Native } from './starts.ts';

/** How many programs are started. */
const COUNT = 200;

/** What is written of one program that starts and ends. */
export interface LogOfAStart {
  /** In bytes. */
  readonly bytes: number;
  readonly records: number;
}

/**
 * Has auditd, and journald beside it, log starts and ends of programs, with the rules that the agent has, and measures what they
 * write. Other programs of the machine count with journald: its part is that of as many of its entries on the average.
 */
export async function logsOfAStart(
  native: Native,
): Promise<{ readonly auditd: LogOfAStart; readonly journald: LogOfAStart | undefined }> {
  if (!hasAuditd()) throw new Error('auditd is not installed');
  const measure = (auditd: Auditd) => async () => {
    const { marker, count } = await native.start(COUNT, 100);
    await systemClock.sleep(seconds(2));
    return ofStarts(auditd.texts.join('').split('\n'), marker, count);
  };
  return withAuditd(
    async (daemon) => {
      if (!hasJournald()) return { auditd: (await measure(daemon)()).log, journald: undefined };
      const { result, journal } = await withJournald(measure(daemon));
      const { log, entries } = result;
      return { auditd: log, journald: { bytes: (journal.bytes / journal.entries) * entries, records: entries } };
    },
    [...STARTS, { syscalls: ['exit_group'] }],
  );
}

/** The lines about these starts, and about the ends of their processes. */
function ofStarts(lines: readonly string[], marker: string, count: number): { log: LogOfAStart; entries: number } {
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
  // journald has an entry for each record but the one that only ends an event.
  const entries = counted.filter((line) => !line.startsWith('type=EOE ')).length / count;
  const bytes = counted.reduce((sum, line) => sum + line.length + 1, 0) / count;
  return { log: { bytes, records: counted.length / count }, entries };
}
