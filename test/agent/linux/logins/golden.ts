import { readdirSync, readFileSync } from 'node:fs';
import type { AuditEvent } from '../../../../src/agent/linux/audit/event.ts';
import { RecordStream } from '../../../../src/agent/linux/audit/record-stream.ts';
import { milliseconds } from '../../../../src/core/base/duration.ts';

const FOLDER = 'test/golden/debian13-6.18';

/** Records that `npm run capture -- logins` wrote on a real kernel, keyed by case: lines of type, space and text. */
export const golden: Readonly<Record<string, readonly string[]>> = Object.fromEntries(
  readdirSync(FOLDER)
    .filter((file) => file.startsWith('login-') && file.endsWith('.txt'))
    .map((file) => [file.slice('login-'.length, -'.txt'.length), linesOf(`${FOLDER}/${file}`)]),
);

function linesOf(path: string): string[] {
  return readFileSync(path, 'latin1')
    .split('\n')
    .filter((line) => line !== '');
}

/** Reads records the way the agent does. */
export function eventsOf(lines: readonly string[]): AuditEvent[] {
  const events: AuditEvent[] = [];
  const stream = new RecordStream((batch) => events.push(...batch));
  for (const line of lines) {
    const record = Buffer.from(line.slice(5), 'latin1');
    stream.take(Number(line.slice(0, 4)), record, 0, record.length, milliseconds(0));
  }
  stream.flush();
  return events;
}
