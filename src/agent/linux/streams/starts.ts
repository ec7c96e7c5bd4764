import { MalformedRecordError } from '../../../core/contract/collector.ts';
import type { ProcessStarted } from '../../../core/contract/streams.ts';
import { type AuditEvent, type AuditFields, isStart } from '../audit/event.ts';
import type { AuditRule } from '../audit/rules.ts';
import type { EventSource, SourceDeclaration, SourceHost } from './event-source.ts';

/** Audit rules for successful starts only: a search of PATH fails about eight times per program found. */
export const START_RULES: readonly AuditRule[] = [{ syscalls: ['execve', 'execveat'], where: { success: 1 } }];

/** The login uid of processes outside login sessions, such as services: (uid_t)-1, see credentials(7). */
const UNSET = String(2 ** 32 - 1);

/** Starts of programs, from audit or from the feed of starts. */
export const starts: SourceDeclaration = {
  streams: ['starts'],
  feeds: ['audit', 'starts'],
  auditRules: START_RULES,
  make: (host) => new Starts(host),
};

class Starts implements EventSource {
  readonly #host: SourceHost;
  #isWanted = false;
  #hasLogged = false;

  constructor(host: SourceHost) {
    this.#host = host;
  }

  prepare(isWanted: boolean): void {
    this.#isWanted = isWanted;
  }

  acceptAudit(events: readonly AuditEvent[]): void {
    if (!this.#isWanted) return;
    const { sink } = this.#host;
    const found: ProcessStarted[] = [];
    let malformed = 0;
    for (const event of events) {
      try {
        const start = startOf(event);
        if (start !== undefined) found.push(start);
      } catch (err) {
        malformed += 1;
        this.#logFirst(err);
      }
    }
    if (malformed > 0) sink.drop('starts', 'malformed', malformed);
    if (found.length > 0) sink.accept('starts', found);
  }

  /** The reader is not needed with audit, whose records have the arguments. */
  status() {
    const { feeds, commandLines } = this.#host;
    const status = feeds.statusOfCalls('starts');
    return feeds.current === 'audit' ? status : commandLines.status(status);
  }

  /** Logged only once: a process that causes one malformed record can cause any number. */
  #logFirst(err: unknown): void {
    if (this.#hasLogged) return;
    this.#hasLogged = true;
    this.#host.log.debug({ err }, 'Skipped a broken record of a start; the next ones are only counted.');
  }
}

/**
 * The start that an event of audit reports.
 *
 * @returns `undefined` for other events and for failed starts
 * @throws MalformedRecordError when a field that every start has is missing
 */
export function startOf(event: AuditEvent): ProcessStarted | undefined {
  const { time, serial, fields, argv, commandLine, argvBytesCut, cwd, imaHash } = event;
  if (!isStart(event)) return undefined;
  if (commandLine === undefined) throw new MalformedRecordError('its arguments are missing');
  const { exe, auid, tty } = fields;
  if (exe === undefined || exe === '' || exe === '(null)') throw new MalformedRecordError(`exe is ${exe ?? 'missing'}`);
  const userId = idIn(fields, 'euid');
  const isSetUserId = fields.uid !== undefined && fields.uid !== fields.euid;
  // Undefined members are set, too, so that V8 has one shape for all starts.
  return {
    time,
    serial,
    pid: idIn(fields, 'pid'),
    parentPid: idIn(fields, 'ppid'),
    userId,
    realUserId: isSetUserId ? idIn(fields, 'uid') : undefined,
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
