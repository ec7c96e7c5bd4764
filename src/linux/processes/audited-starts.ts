import type { Logger } from '../../base/log.ts';
import { MalformedRecordError } from '../../contract/collector.ts';
import type { ProcessStarted, StreamSink } from '../../contract/sources.ts';
import type { AuditEvent, AuditFields } from '../audit/event.ts';
import type { AuditRule } from '../audit/rules.ts';

/** What audit is asked for to report starts. A search of PATH fails some eight times for each program that is found. */
export const START_RULES: readonly AuditRule[] = [{ syscalls: ['execve', 'execveat'], where: { success: 1 } }];

/** The login uid of processes that no login has started, such as services: (uid_t)-1, see credentials(7). */
const UNSET = String(2 ** 32 - 1);

interface Parts {
  readonly sink: StreamSink;
  readonly log: Logger;
}

/** Starts of programs, as the kernel's audit reports them. */
export class AuditedStarts {
  readonly #parts: Parts;
  #hasLogged = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Takes audit's events; those that are no start are skipped. */
  accept(events: readonly AuditEvent[]): void {
    const { sink } = this.#parts;
    const starts: ProcessStarted[] = [];
    let malformed = 0;
    for (const event of events) {
      try {
        const start = startOf(event);
        if (start !== undefined) starts.push(start);
      } catch (err) {
        malformed += 1;
        this.#logFirst(err);
      }
    }
    if (malformed > 0) sink.drop('starts', 'malformed', malformed);
    if (starts.length > 0) sink.accept('starts', starts);
  }

  /** Only once: whoever can cause one broken record can cause any number. */
  #logFirst(err: unknown): void {
    if (this.#hasLogged) return;
    this.#hasLogged = true;
    this.#parts.log.debug({ err }, 'Skipped a broken record of a start; the next ones are only counted.');
  }
}

/**
 * The start that an event of audit reports.
 *
 * @returns `undefined` when it reports something else, or the start failed
 * @throws MalformedRecordError when it lacks what a start must have
 */
export function startOf(event: AuditEvent): ProcessStarted | undefined {
  const { time, serial, syscall, success, fields, argv, commandLine, argvBytesCut, cwd, imaHash } = event;
  if (!success || (syscall !== 'execve' && syscall !== 'execveat')) return undefined;
  if (commandLine === undefined) throw new MalformedRecordError('its arguments are missing');
  const { exe, auid, tty } = fields;
  if (exe === undefined || exe === '' || exe === '(null)') throw new MalformedRecordError(`exe is ${exe ?? 'missing'}`);
  const userId = idIn(fields, 'euid');
  // Every member is there, also when it is undefined: V8 then has one shape for all starts.
  return {
    time,
    serial,
    pid: idIn(fields, 'pid'),
    parentPid: idIn(fields, 'ppid'),
    userId,
    loginUserId: auid === undefined || auid === UNSET ? undefined : Number(auid),
    executable: exe,
    startedAt: time,
    commandLine,
    argv,
    commandLineBytesCut: argvBytesCut,
    cwd,
    terminal: tty === '(none)' ? undefined : tty,
    imaHash,
  };
}

function idIn(fields: AuditFields, name: string): number {
  const text = fields[name];
  if (text === undefined || !/^-?\d{1,15}$/.test(text)) {
    throw new MalformedRecordError(`${name} is ${text ?? 'missing'}`);
  }
  return Number(text);
}
