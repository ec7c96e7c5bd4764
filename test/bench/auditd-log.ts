import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import type { Auditd } from '../system/auditd.ts';
import { hasAuditd, STARTS, withAuditd } from './auditd-peer.ts';
import { hasJournald, withJournald } from './journald-peer.ts';
import type { Native } from './starts.ts';

/** Number of program starts. */
const COUNT = 200;

/** Log entries for one program that starts and exits. */
export interface LogOfAStart {
  /** Size in bytes. */
  readonly bytes: number;
  readonly records: number;
}

/**
 * Makes auditd and journald log starts and exits of programs with the agent's rules, and measures their logs. Journald also logs
 * other programs of the machine: its result is the average size of as many entries.
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

/** Lines about these starts and the exits of their processes. */
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
  // Journald has an entry for each record except the one that ends an event.
  const entries = counted.filter((line) => !line.startsWith('type=EOE ')).length / count;
  const bytes = counted.reduce((sum, line) => sum + line.length + 1, 0) / count;
  return { log: { bytes, records: counted.length / count }, entries };
}
