import { fstatSync } from 'node:fs';
import { printable, printableJson } from './text.ts';

/* Output that systemd's journal reads: see systemd.exec(5), "JOURNAL_STREAM", and sd-daemon(3). */

/** Syslog priorities of the log levels; the journal has none for `trace`. */
const PRIORITIES: Readonly<Record<string, number>> = { fatal: 2, error: 3, warn: 4, info: 6, debug: 7, trace: 7 };
const ERROR = '<3>';

/**
 * Whether a descriptor is connected to the journal. The variable alone does not prove it: a child inherits the variable
 * even if its output is redirected.
 */
export function isJournal(fd: number, { JOURNAL_STREAM: stream }: NodeJS.ProcessEnv = process.env): boolean {
  if (stream === undefined) return false;
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return stream === `${dev}:${ino}`;
  } catch {
    return false; // closed
  }
}

/**
 * Formats a log line for the journal: its priority, for `journalctl -p warning`; the message; the fields as one JSON
 * object. The journal adds the time. Line breaks are replaced: the journal gives each line its own priority.
 */
export function journalLine(line: string): string {
  const { time: _, level, msg = '', ...fields } = JSON.parse(line) as Record<string, unknown>;
  const priority = PRIORITIES[String(level)] ?? PRIORITIES.info;
  const details = Object.keys(fields).length === 0 ? '' : ` ${printableJson(JSON.stringify(fields))}`;
  return `<${priority}>${printable(String(msg))}${details}\n`;
}

/** Formats an error message that isn't written by the log. */
export const journalError = (text: string): string => `${ERROR}${text}`;
