import { isatty } from 'node:tty';
import { pino } from 'pino';
import type { AgentError } from './errors.ts';
import { isJournal, journalLine } from './journal.ts';
import { LogOutput } from './log-output.ts';
import { printable, printableJson } from './text.ts';

export type Logger = pino.Logger;

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** One line of the log, as passed to listeners inside the agent, such as the Diagnostic collector. */
export interface LogLine {
  readonly time: Date;
  readonly level: Exclude<LogLevel, 'silent'>;
  readonly message: string;
  /** The failure's stable id and remedy, when the line is about an AgentError. */
  readonly id?: string;
  readonly remedy?: string;
  /** The line is about an alert of the detections: it has the field `alertId`. */
  readonly isAlert?: true;
  /** Further fields, by name. */
  readonly details?: Readonly<Record<string, string>>;
}

/** Where log lines are written, such as a LogOutput. */
export interface LogDestination {
  /** Must neither throw nor block. */
  write(line: string): void;
  /** Resolves when all lines are written, or after a time limit. Call this before the process exits. */
  flush?(): Promise<void>;
}

/** Receives the lines of the log as they are written. */
export interface LogListener {
  readonly level: LogLevel;
  accept(line: LogLine): void;
}

/** The level of a log, which can be changed while the log is in use. */
export class AdjustableLevel {
  readonly #listeners: (() => void)[] = [];
  #current: LogLevel;

  constructor(level: LogLevel) {
    this.#current = level;
  }

  get current(): LogLevel {
    return this.#current;
  }

  change(level: LogLevel): void {
    this.#current = level;
    for (const listener of this.#listeners) listener();
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }
}

/** Fields that are redacted, in case one gets into a log line. */
const SECRETS = ['sharedAccessKey', 'connectionString', 'privateKey', 'password'];

/**
 * The agent's own log: one JSON object per line on standard output, as container runtimes expect. For systemd's
 * journal, see journal.ts.
 *
 * Conventions:
 * - The message is a fixed sentence, capitalized, with a full stop; what varies goes into fields.
 * - Fields carry their unit in their name: `waitMs`, `sizeBytes`. Errors go under `err`.
 * - `error`: data was lost or someone must act. `warn`: unexpected, recovered. `info`: the agent's own state changed.
 *   `debug`: per message sent. Nothing above `trace` per event collected: count those.
 * - Never a payload, a key, or a connection string: they reveal what the device does, or give access to it.
 *
 * Child loggers are never released: make one for each part of the agent, not for each event.
 *
 * Written by the main thread: a pino transport would need a worker thread of 17 MB, and would lose the last lines
 * before a crash.
 */
export function createLog({
  level,
  destination = standardOutput(),
  tap = [],
}: {
  level: LogLevel | AdjustableLevel;
  destination?: LogDestination;
  /** Each receives every line at or above its own level, regardless of the log's level. */
  tap?: LogListener | readonly LogListener[];
}): Logger {
  const own = typeof level === 'string' ? new AdjustableLevel(level) : level;
  const taps = [tap].flat();
  const lowest = () => {
    const audible = [own.current, ...taps.map((listener) => listener.level)];
    return LOG_LEVELS.find((candidate) => audible.includes(candidate)) ?? 'silent';
  };
  const loggers: Logger[] = [];
  const sink = {
    [Symbol.for('pino.metadata')]: true, // has pino set lastLevel before each write
    lastLevel: 0,
    write(line: string) {
      if (this.lastLevel >= threshold(own.current)) destination.write(line);
      for (const listener of taps) if (this.lastLevel >= threshold(listener.level)) listener.accept(parseLine(line));
    },
  };
  const log = pino(
    {
      level: lowest(),
      base: null, // the journal adds pid and host
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: pino.stdSerializers.errWithCause },
      redact: SECRETS.flatMap((name) => [name, `*.${name}`]),
      onChild: (child) => loggers.push(child as Logger), // a child does not follow its parent's level
    },
    sink,
  );
  loggers.push(log);
  own.onChange(() => {
    for (const logger of loggers) logger.level = lowest();
  });
  return log;
}

const threshold = (level: LogLevel): number => pino.levels.values[level] ?? Number.POSITIVE_INFINITY; // silent

/** Logs an error in the format that runbooks search for (contract §7), with the remedy as a field. */
export function logError(log: Logger, error: AgentError): void {
  const { id, code, reason, remedy } = error;
  log.error({ id, code, reason, remedy }, error.line);
}

/**
 * Standard output: JSON for machines, a readable line for a person at a terminal, a priority and a message for the
 * journal.
 */
export const standardOutput = (): LogDestination => new LogOutput({ descriptor: 1, format: formatOf(1) });

/** The same on standard error, for a command whose results go to standard output. */
export const standardError = (): LogDestination => new LogOutput({ descriptor: 2, format: formatOf(2) });

/** JSON is made printable, too: `docker logs` shows it on a terminal. */
function formatOf(descriptor: 1 | 2): (line: string) => string {
  if (isatty(descriptor)) return readable;
  return isJournal(descriptor) ? journalLine : printableJson;
}

/** `12:34:56 warn  Could not reach the hub. waitMs=4000`. */
export function readable(line: string): string {
  const { time, level, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const details = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  const cause = (err as { message?: string } | undefined)?.message;
  if (cause !== undefined) details.push(`err=${cause}`);
  return `${printable([String(time).slice(11, 19), String(level).padEnd(5), msg, ...details].join(' '))}\n`;
}

function parseLine(line: string): LogLine {
  const { time, level, msg, id, reason, remedy, err, alertId } = JSON.parse(line) as {
    time: string;
    level: LogLine['level'];
    msg?: string;
    id?: string;
    reason?: string;
    remedy?: string;
    alertId?: string;
    err?: { message?: string; id?: string; remedy?: string };
  };
  // The line of an AgentError already contains its reason.
  const why = err?.message ?? (id === undefined ? reason : undefined);
  const message = why === undefined ? (msg ?? '') : `${msg ?? ''} (${why})`;
  const failure = id ?? err?.id;
  const remedyText = remedy ?? err?.remedy;
  return {
    time: new Date(time),
    level,
    message,
    ...(failure === undefined ? {} : { id: failure }),
    ...(remedyText === undefined ? {} : { remedy: remedyText }),
    ...(alertId === undefined ? {} : { isAlert: true }),
  };
}
