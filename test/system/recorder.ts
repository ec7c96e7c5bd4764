import type { AuditEvent, AuditSink } from '../../src/agent/linux/audit/event.ts';

/** Records what a source of audit events delivers. */
export class Recorder implements AuditSink {
  readonly events: AuditEvent[] = [];
  lostEvents = 0;

  accept(events: readonly AuditEvent[]): void {
    this.events.push(...events);
  }

  lost(count: number): void {
    this.lostEvents += count;
  }

  /** Starts of programs with this argument. */
  withArgument(argument: string): AuditEvent[] {
    return this.events.filter(({ argv }) => argv?.includes(argument));
  }
}
