import type { SourceStatus } from '../../../core/contract/sources.ts';
import type { Finding } from './finding.ts';

/** The cost of each source of Triggered events, as measured by the benchmarks, see src/agent/linux/README.md. */
const COSTS: Readonly<Record<string, string>> = {
  auditUnicast: '3 audit records per program start',
  auditMulticast: '7 audit records per program start, also for the other daemon',
  auditLog: "reads everything that auditd's log grows by",
  procConnector: 'a message per start and end, and reads of /proc',
  procPolling: '1 % of a core; misses short programs',
};

/** Describes the state of a source. If a better source exists, the finding is a note, with the steps to use it as remedy. */
export function sourceFinding(check: string, { state, source, reason }: SourceStatus, before = ''): Finding {
  const cost = source === undefined ? undefined : COSTS[source];
  const from = source === undefined ? '' : `, from ${source}${cost === undefined ? '' : ` (${cost})`}`;
  return {
    check,
    state: (state === 'on' && reason === undefined) || state === 'off' ? 'ok' : 'note',
    finding: `${before}${state}${from}`,
    ...(reason === undefined ? {} : { remedy: reason }),
  };
}
