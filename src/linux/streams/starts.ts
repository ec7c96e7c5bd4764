import type { AuditEvent } from '../audit/event.ts';
import { AuditedStarts, START_RULES } from '../processes/audited-starts.ts';
import type { EventSource, SourceDeclaration, SourceHost } from './event-source.ts';

/** Starts of programs: from audit, else right from the feed of starts. */
export const starts: SourceDeclaration = {
  streams: ['starts'],
  feeds: ['audit', 'starts'],
  auditRules: START_RULES,
  make: (host) => new Starts(host),
};

class Starts implements EventSource {
  readonly #host: SourceHost;
  readonly #audited: AuditedStarts;
  #isWanted = false;

  constructor(host: SourceHost) {
    this.#host = host;
    this.#audited = new AuditedStarts(host);
  }

  prepare(isWanted: boolean): void {
    this.#isWanted = isWanted;
  }

  acceptAudit(events: readonly AuditEvent[]): void {
    if (this.#isWanted) this.#audited.accept(events);
  }

  /** With audit, the records have the arguments, and the reader is not needed. */
  status() {
    const { feeds, commandLines } = this.#host;
    const status = feeds.statusOfCalls('starts');
    return feeds.current === 'audit' ? status : commandLines.status(status);
  }
}
