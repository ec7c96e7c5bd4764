import type { AuditEvent, StreamSink, Streams } from '../../src/contract/sources.ts';

/** What a source of audit events has delivered. */
export class Recorder implements StreamSink {
  readonly events: AuditEvent[] = [];
  lostEvents = 0;

  accept<K extends keyof Streams>(stream: K, records: readonly Streams[K][]): void {
    if (stream === 'audit') this.events.push(...(records as readonly AuditEvent[]));
  }

  drop(_stream: keyof Streams, _reason: string, count: number): void {
    this.lostEvents += count;
  }

  /** The programs that were started with this among their arguments. */
  withArgument(argument: string): AuditEvent[] {
    return this.events.filter(({ argv }) => argv?.includes(argument));
  }
}
