import type { AuditEvent, AuditSink } from '../../src/agent/linux/audit/event.ts';

/** What a source of audit events has delivered. */
export class Recorder implements AuditSink {
  readonly events: AuditEvent[] = [];
  lostEvents = 0;

  accept(events: readonly AuditEvent[]): void {
    this.events.push(...events);
  }

  lost(count: number): void {
    this.lostEvents += count;
  }

  /** The programs that were started with this among their arguments. */
  withArgument(argument: string): AuditEvent[] {
    return this.events.filter(({ argv }) => argv?.includes(argument));
  }
}
