import { type Handler, serveControlSocket } from '../../core/base/control-socket.ts';
import { AgentError } from '../../core/base/errors.ts';
import { LOG_LEVELS, type Logger, type LogLevel, type LogLine } from '../../core/base/log.ts';
import type { LogTap } from '../../core/base/log-tap.ts';
import type { Service } from '../../core/base/service.ts';
import type { OccurrenceConsumer } from '../../core/contract/consumers.ts';
import type { Payload } from '../../core/contract/event.ts';
import type { SettingsReader } from '../../core/contract/settings.ts';
import type { Occurrences } from '../collectors/occurrences.ts';
import { securityAlert } from '../collectors/security-alert.ts';
import type { Triggers } from '../pipeline/triggers.ts';
import { metricsText, OPENMETRICS } from '../status/openmetrics.ts';
import type { LocalStatus } from '../status/schema.ts';

/** Lets `vakt status` ask. Without it the agent still does its work, so that only another running agent is fatal. */
export function controlSocket(path: string, handlers: Parameters<typeof serveControlSocket>[1], log: Logger): Service {
  let close = async () => {};
  return {
    name: 'control socket',
    async start() {
      try {
        close = await serveControlSocket(path, handlers);
      } catch (error) {
        if (error instanceof AgentError) throw error;
        log.warn({ path, err: error }, 'Could not open the control socket; "vakt status" will not work.');
      }
    },
    stop: () => close(),
  };
}

/** Streams the payloads of one event, a JSON line each, for `vakt collect`. A reader that is too slow misses some. */
export const followHandler =
  (triggers: Triggers): Handler =>
  (query, response) => {
    const event = query.get('event');
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    response.flushHeaders();
    const end = triggers.follow((name, payload) => {
      if (name === event && !response.writableNeedDrain) response.write(`${JSON.stringify(payload)}\n`);
    });
    response.on('close', end);
    return undefined;
  };

/** The status as OpenMetrics, for collectors that read a Unix socket. */
export const metricsHandler =
  (status: () => LocalStatus): Handler =>
  (_query, response) => {
    const text = metricsText(status(), 'openmetrics');
    response.writeHead(200, { 'content-type': OPENMETRICS });
    response.end(text);
    return undefined;
  };

/** Last to start, so first to stop: logs the stop before any other service ends. */
export const endOfRun = (say: () => void): Service => ({
  name: 'end of run',
  start: async () => {},
  stop: async () => say(),
});

/**
 * Turns alerts into Diagnostic events, where messages may not contain SecurityAlert: at the level of an alert's line in
 * the log, with its fields in ExtraDetails. The priority of SecurityAlert counts for them, not that of Diagnostic.
 */
export const alertsAsDiagnostics = ({
  settings,
  level,
  announce,
}: {
  settings: SettingsReader;
  /** Lowest level of log lines that become Diagnostic events. */
  level: LogLevel;
  /** Makes a Diagnostic event, whatever its priority is. */
  announce: (line: LogLine) => void;
}): OccurrenceConsumer => ({
  wants: (event) => event === securityAlert.name && settings.current().priorities[event] !== 'Off',
  accept(batch) {
    const lines = batch.occurrences().map(({ payload, time }) => lineOf(payload, time));
    for (const line of lines) if (LOG_LEVELS.indexOf(line.level) >= LOG_LEVELS.indexOf(level)) announce(line);
  },
  lost: () => {},
});

function lineOf({ Remediation, ExtraDetails = {}, ...fields }: Payload, time: Date): LogLine {
  const { Severity, RuleTitle } = fields;
  const level = Severity === 'Critical' || Severity === 'High' ? 'error' : Severity === 'Medium' ? 'warn' : 'info';
  const details = Object.entries({ ...(ExtraDetails as object), ...fields }).map(([name, fact]) => [
    name,
    String(fact),
  ]);
  return {
    time,
    level,
    message: `Security alert: ${RuleTitle}`,
    remedy: String(Remediation),
    details: Object.fromEntries(details),
  };
}

/** Stopped before the queues close: what is logged after that can't become an event any more. */
export function logEvents(tap: LogTap, occurrences: Occurrences): Service {
  let stop = () => {};
  return {
    name: 'log events',
    async start() {
      stop = tap.listen(
        (line) => occurrences.accept('log', [line]),
        (count) => occurrences.drop('log', 'cacheFull', count),
      );
    },
    stop: async () => stop(),
  };
}
