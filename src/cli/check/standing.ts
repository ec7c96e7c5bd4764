import type { SourceStatus } from '../../contract/sources.ts';
import type { Finding } from './finding.ts';

/** What a source of things that happen costs; measured in the benchmarks, see src/linux/README.md. */
const COSTS: Readonly<Record<string, string>> = {
  auditUnicast: '3 audit records a program start',
  auditMulticast: '7 audit records a program start, which the other daemon gets, too',
  auditLog: "as much as auditd's log grows by",
  procConnector: 'a message a start or end, and a look into /proc',
  procPolling: 'a hundredth of a core; misses short programs',
};

/** How a source stands, for an operator: one that isn't the best is worth knowing, with what would mend it. */
export function standing(check: string, { state, source, reason }: SourceStatus, before = ''): Finding {
  const cost = source === undefined ? undefined : COSTS[source];
  const from = source === undefined ? '' : `, from ${source}${cost === undefined ? '' : ` (${cost})`}`;
  return {
    check,
    state: (state === 'on' && reason === undefined) || state === 'off' ? 'ok' : 'note',
    finding: `${before}${state}${from}`,
    ...(reason === undefined ? {} : { remedy: reason }),
  };
}
