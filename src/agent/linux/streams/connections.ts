import { hostProc } from '../../host/in-root.ts';
import type { AuditEvent } from '../audit/event.ts';
import { Connections, MAX_LATE } from '../sockets/connections/connections.ts';
import { CONNECTION_RULES } from '../sockets/connections/socket-calls.ts';
import type { EventSource, SourceDeclaration, SourceHost } from './event-source.ts';

/** Connections: from audit, which names the process, and sock_diag, which knows the socket. */
export const connections: SourceDeclaration = {
  streams: ['connections'],
  feeds: ['audit'],
  auditRules: CONNECTION_RULES,
  make: (host) => new ConnectionSource(host),
};

class ConnectionSource implements EventSource {
  readonly #host: SourceHost;
  readonly #connections: Connections;

  constructor(host: SourceHost) {
    this.#host = host;
    const { sink, clock, log, loopback, table, commandLines, hostRoot } = host;
    this.#connections = new Connections({
      sink,
      clock,
      log,
      loopback,
      own: (pid) => pid === process.pid,
      commandLineOf: (pid, executable) => {
        const known = table.get(pid);
        return known?.executable === executable ? known?.commandLine : undefined;
      },
      commandLines,
      held: host.held('connections', MAX_LATE),
      learned: (pid, executable, argv) => table.learn(pid, executable, argv),
      proc: hostProc(hostRoot),
    });
  }

  /** Only live ones: the sockets of a past connection no longer exist. */
  acceptAudit(events: readonly AuditEvent[], isLive: boolean): void {
    if (isLive) this.#connections.accept(events);
  }

  drained(): void {
    this.#connections.settle();
  }

  status() {
    const { feeds, commandLines } = this.#host;
    return commandLines.status(feeds.statusOfCalls('audit'));
  }

  close(): Promise<void> {
    return this.#connections.close();
  }
}
