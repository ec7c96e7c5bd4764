import { AUDIT_LOG } from '../audit/audit-log-source.ts';
import type { AuditEvent } from '../audit/event.ts';
import { Logins } from '../logins/logins.ts';
import type { EventSource, SourceDeclaration, SourceHost } from './event-source.ts';
import type { Feed } from './source-ladder.ts';

/** Logins: from records that programs write to audit, for which no rule is needed; else from wtmp, btmp and wtmp.db. */
export const logins: SourceDeclaration = {
  streams: ['logins'],
  feeds: ['audit'],
  auditRules: [],
  make: (host) => new LoginSource(host),
};

class LoginSource implements EventSource {
  readonly #feeds: SourceHost['feeds'];
  readonly #logins: Logins;

  constructor({ sink, clock, log, hostRoot, stateDirectory, writer, table, containerOf, feeds }: SourceHost) {
    this.#feeds = feeds;
    this.#logins = new Logins({
      sink,
      clock,
      log,
      hostRoot,
      auditLog: AUDIT_LOG,
      stateDirectory,
      writer,
      executableOf: (pid) => table.get(pid)?.executable,
      containerOf,
    });
  }

  follow(isWanted: boolean, feed: Feed | undefined): Promise<void> {
    return this.#logins.follow({ isWanted, isFromAudit: feed === 'audit' });
  }

  acceptAudit(events: readonly AuditEvent[]): void {
    this.#logins.accept(events);
  }

  drained(): void {
    this.#logins.expire();
  }

  status() {
    return this.#feeds.current === 'audit' ? this.#feeds.status('audit') : this.#logins.status();
  }

  close(): Promise<void> {
    return this.#logins.close();
  }
}
