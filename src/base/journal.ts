import { fstatSync } from 'node:fs';
import { printable, printableJson } from './printable.ts';

/* systemd's journal as the reader of a process's output: see systemd.exec(5), "JOURNAL_STREAM", and sd-daemon(3). */

/** Syslog's priorities by the log's levels; the journal has nothing for `trace`. */
const PRIORITIES: Readonly<Record<string, number>> = { fatal: 2, error: 3, warn: 4, info: 6, debug: 7, trace: 7 };
const ERROR = '<3>';

/**
 * Whether a descriptor leads to the journal. The variable alone proves nothing: a child inherits it, whatever its own
 * output is.
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
 * A line of the log as the journal takes it: its priority, for `journalctl -p warning`; the message, for people; the
 * fields as one JSON object. Time and level are the journal's own. One line, whatever is in it: another would get a
 * priority of its own.
 */
export function journalLine(line: string): string {
  const { time: _, level, msg = '', ...fields } = JSON.parse(line) as Record<string, unknown>;
  const priority = PRIORITIES[String(level)] ?? PRIORITIES.info;
  const details = Object.keys(fields).length === 0 ? '' : ` ${printableJson(JSON.stringify(fields))}`;
  return `<${priority}>${printable(String(msg))}${details}\n`;
}

/** Complaints that are not lines of the log. */
export const journalComplaint = (text: string): string => `${ERROR}${text}`;
