import { isatty } from 'node:tty';
import { pino } from 'pino';
import type { AgentError } from './errors.ts';
import { isJournal, journalLine } from './journal.ts';
import { LogOutput } from './log-output.ts';
import { printable, printableJson } from './printable.ts';

export type Logger = pino.Logger;

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** One line of the log, as its readers inside the agent get it (the Diagnostic collector). */
export interface LogLine {
  readonly time: Date;
  readonly level: Exclude<LogLevel, 'silent'>;
  readonly message: string;
  /** The failure's stable id and remedy, when the line is about an AgentError. */
  readonly id?: string;
  readonly remedy?: string;
  /** What else there is to say, by name. */
  readonly details?: Readonly<Record<string, string>>;
}

/** Where log lines go: something with a synchronous `write`, which must neither throw nor block, such as a LogOutput. */
export interface LogDestination {
  write(line: string): void;
  /** Resolves when what was written has gone out, or after a limit of time. To be called before the process ends. */
  flush?(): Promise<void>;
}

/** Gets the lines of the log as they are written. */
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

/** Fields that are never written, should one ever get into a log line. */
const SECRETS = ['sharedAccessKey', 'connectionString', 'privateKey', 'password'];

/**
 * The agent's own log: one JSON object a line, to standard output, where containers take it up; for systemd's journal,
 * see journal.ts.
 *
 * Conventions:
 * - The message is a fixed sentence, capitalized, with a full stop; what varies goes into fields.
 * - Fields carry their unit in their name: `waitMs`, `sizeBytes`. Errors go under `err`.
 * - `error`: data was lost or someone must act. `warn`: unexpected, recovered. `info`: the agent's own state changed.
 *   `debug`: per message sent. Nothing above `trace` per event collected: count those.
 * - Never a payload, a key, or a connection string: they say what the device is doing, or open it.
 *
 * Children are for parts of the agent, which live as long as it does: they are never forgotten.
 *
 * Written by this thread where the reader takes it at once: a pino transport would be a worker thread of 17 MB, and the
 * last lines before a crash count.
 */
export function createLog({
  level,
  destination = standardOutput(),
  tap = [],
}: {
  level: LogLevel | AdjustableLevel;
  destination?: LogDestination;
  /** Each gets every line at or above its own level, whatever the log's. */
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
      onChild: (child) => loggers.push(child as Logger), // a child has a level of its own from then on
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

/** Says an error in the words of the contract's runbook line, with what to do beside it. */
export function logError(log: Logger, error: AgentError): void {
  const { id, code, reason, remedy } = error;
  log.error({ id, code, reason, remedy }, error.line);
}

/** Standard output: JSON for machines, a readable line for a person at a terminal, a priority and a message for the journal. */
export const standardOutput = (): LogDestination => new LogOutput({ descriptor: 1, format: formatOf(1) });

/** The same on standard error, for a command whose results go to standard output. */
export const standardError = (): LogDestination => new LogOutput({ descriptor: 2, format: formatOf(2) });

/** JSON, too, ends on somebody's terminal, as by `docker logs`. */
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
  const { time, level, msg, id, reason, remedy, err } = JSON.parse(line) as {
    time: string;
    level: LogLine['level'];
    msg?: string;
    id?: string;
    reason?: string;
    remedy?: string;
    err?: { message?: string; id?: string; remedy?: string };
  };
  // An AgentError's line has its reason in it already.
  const why = err?.message ?? (id === undefined ? reason : undefined);
  const message = why === undefined ? (msg ?? '') : `${msg ?? ''} (${why})`;
  const failure = id ?? err?.id;
  const mend = remedy ?? err?.remedy;
  return {
    time: new Date(time),
    level,
    message,
    ...(failure === undefined ? {} : { id: failure }),
    ...(mend === undefined ? {} : { remedy: mend }),
  };
}
