import { systemClock } from '../../src/base/clock.ts';
import { seconds } from '../../src/base/duration.ts';
import { hasAuditd, STARTS, withAuditd } from './auditd-peer.ts';
import type { Native } from './starts.ts';

/** How many programs are started. */
const COUNT = 200;

/** What auditd writes of one program that starts and ends. */
export interface LogOfAStart {
  /** In bytes. */
  readonly bytes: number;
  readonly records: number;
}

/** Has auditd log starts and ends of programs, with the rules that the agent has, and measures its log. */
export async function logOfAStart(native: Native): Promise<LogOfAStart> {
  if (!hasAuditd()) throw new Error('auditd is not installed');
  return withAuditd(
    async (auditd) => {
      const { marker, count } = await native.start(COUNT, 100);
      await systemClock.sleep(seconds(2));
      return ofStarts(auditd.texts.join('').split('\n'), marker, count);
    },
    [...STARTS, { syscalls: ['exit_group'] }],
  );
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
