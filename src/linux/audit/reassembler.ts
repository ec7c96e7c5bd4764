import type { Duration } from '../../base/duration.ts';
import { seconds } from '../../base/duration.ts';
import type { AuditEvent, AuditFields } from '../../contract/sources.ts';
import type { AuditHeader } from './header.ts';
import { ArgumentCollector, type Arguments, CALL_FIELDS, parseField, parseFields } from './record.ts';
import { nameCall } from './syscalls.ts';

/** Types of records, from linux/audit.h. */
export const SYSCALL = 1300;
export const PATH = 1302;
export const CWD = 1307;
export const EXECVE = 1309;
/** "End of event": the last record of an event that has several. */
export const EOE = 1320;
export const BPRM_FCAPS = 1321;
export const PROCTITLE = 1327;

/** How long an event may wait for records that are missing. The kernel writes all of one within a system call. */
const PATIENCE = seconds(2);
const MOST_PENDING = 1024;
const MOST_PENDING_BYTES = 4 * 1024 * 1024;
/** How many events back a record is known to have come too late; a power of two. */
const REMEMBERED = 8192;

interface Pending {
  readonly time: number;
  readonly serial: number;
  readonly since: Duration;
  fields?: AuditFields;
  arguments?: ArgumentCollector;
  /** What `arguments` come to, once that is known. */
  command?: Arguments;
  cwd?: string;
  ended: boolean;
}

/**
 * Puts the records of one serial together to an event.
 *
 * Records of several events come interleaved, and under load out of order. An event is given out as soon as its end
 * record has come and nothing it must have is missing; otherwise after two seconds, or when too many wait, with what is
 * there. It is never given out twice: a record that comes later than that is dropped. An event that lost its SYSCALL
 * record says nothing any more, and is counted in `unusable`.
 */
export class Reassembler {
  /** Records that events given out lacked; events lost for want of their SYSCALL record; records that came too late. */
  readonly counts = { missing: 0, unusable: 0, late: 0 };
  /** In the order their first record came. */
  readonly #pending = new Map<number, Pending>();
  #pendingBytes = 0;
  readonly #emit: (event: AuditEvent) => void;
  /** Serials of the events last given out, each at its own remainder. No entry fits its place before it is written. */
  readonly #finished = Uint32Array.from({ length: REMEMBERED }, (_, index) => index + 1);

  constructor(emit: (event: AuditEvent) => void) {
    this.#emit = emit;
  }

  /** Whether records of this type are part of an event; of others the text need not be made. */
  static wants(type: number): boolean {
    return type === SYSCALL || type === EXECVE || type === CWD || type === EOE;
  }

  /**
   * @param text the record without its header, as latin1
   * @param now of the monotonic clock
   */
  accept(type: number, { serial, time }: AuditHeader, text: string, now: Duration): void {
    let event = this.#pending.get(serial);
    if (event === undefined) {
      if (this.#finished[serial % REMEMBERED] === serial) {
        this.counts.late += 1;
        return;
      }
      if (type === EOE) return; // of an event that had nothing for us
      event = { time, serial, since: now, ended: false };
      if (this.#pending.size >= MOST_PENDING) this.#releaseOldest();
      this.#pending.set(serial, event);
    }
    if (type === SYSCALL) {
      event.fields ??= parseFields(text, CALL_FIELDS);
    } else if (type === CWD) {
      const cwd = parseField(text, 'cwd');
      if (cwd !== undefined) event.cwd = cwd;
    } else if (type === EXECVE) {
      event.arguments ??= new ArgumentCollector();
      const before = event.arguments.size;
      event.arguments.add(text);
      this.#pendingBytes += event.arguments.size - before;
    } else if (type === EOE) {
      event.ended = true;
    }
    if (event.ended && isWhole(event)) this.#release(event);
    else while (this.#pendingBytes > MOST_PENDING_BYTES) this.#releaseOldest();
  }

  /** Gives out what has waited long enough. To be called after every drain. */
  expire(now: Duration): void {
    for (const event of this.#pending.values()) {
      if (now - event.since < PATIENCE) return;
      this.#release(event);
    }
  }

  /** Gives out everything: nothing more will come. */
  flush(): void {
    for (const event of this.#pending.values()) this.#release(event);
  }

  #releaseOldest(): void {
    for (const event of this.#pending.values()) {
      this.#release(event);
      return;
    }
  }

  #release(event: Pending): void {
    const { serial, fields } = event;
    this.#pending.delete(serial);
    this.#pendingBytes -= event.arguments?.size ?? 0;
    this.#finished[serial % REMEMBERED] = serial;
    if (fields === undefined) {
      this.counts.unusable += 1;
      return;
    }
    this.counts.missing += missingIn(event);
    this.#emit(toEvent(event, fields));
  }
}

/** Whether a program was started, by what the SYSCALL record says: then there are arguments, and a directory. */
function isStart({ success, arch, syscall }: AuditFields): boolean {
  const name = success === 'yes' ? nameCall(arch, syscall)?.name : undefined;
  return name === 'execve' || name === 'execveat';
}

/** Whether nothing that matters is missing. */
function isWhole(event: Pending): boolean {
  const { fields, arguments: collected } = event;
  if (fields === undefined) return false;
  if (collected === undefined) return !isStart(fields);
  const command = event.command ?? collected.finish();
  if (command !== undefined) event.command = command;
  return command !== undefined;
}

/** How many records never came; of those with arguments at least one. */
function missingIn(event: Pending): number {
  const lacksDirectory = event.cwd === undefined && event.fields !== undefined && isStart(event.fields);
  return Number(!isWhole(event)) + Number(lacksDirectory) + Number(!event.ended);
}

function toEvent({ time, serial, command, cwd }: Pending, fields: AuditFields): AuditEvent {
  const call = nameCall(fields.arch, fields.syscall);
  const syscall = call?.name ?? fields.syscall;
  return {
    time: new Date(time),
    serial,
    ...(syscall === undefined ? {} : { syscall }),
    ...(call === undefined ? {} : { abi: call.abi }),
    success: fields.success === 'yes',
    fields,
    ...(command === undefined ? {} : { argv: command.argv }),
    ...(command === undefined || command.bytesCut === 0 ? {} : { argvBytesCut: command.bytesCut }),
    ...(cwd === undefined ? {} : { cwd }),
  };
}
