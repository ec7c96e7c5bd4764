import { type Duration, milliseconds, seconds } from '../../../core/base/duration.ts';
import type { SocketAddress } from '../../../core/contract/streams.ts';
import type { Writable } from '../native/writable.ts';
import { type AuditEvent, type AuditFields, USER_RECORDS, type UserRecord } from './event.ts';
import type { AuditHeader } from './header.ts';
import { addRingCall, connectsOf, isOfRingRule, oneRingCall, type RingCalls } from './io-uring.ts';
import {
  ArgumentCollector,
  type Command,
  commandOf,
  parseCall,
  parseField,
  parseFields,
  parseUserFields,
} from './record.ts';
import { parseSocketAddress } from './socket-address.ts';
import { type NamedCall, nameCall } from './syscalls.ts';

/** In characters. Longer records are seldom repeated. */
export const LONGEST_KNOWN = 512;
/**
 * If every command is a different one, this is few enough for the oldest entry to become garbage before it has survived two
 * collections of V8's young generation.
 */
const MAX_KNOWN = 64;

/**
 * The arguments of recently started programs, by EXECVE records that contain all of them.
 *
 * The same few commands are started again and again, for example by polling. Looking up a record costs less than parsing it;
 * equal strings are then the same object, and quick to compare.
 */
export class RecentCommands {
  readonly #known = new Map<string, Command>();

  /** @param record of at most LONGEST_KNOWN characters */
  get(record: string): Command | undefined {
    return this.#known.get(record);
  }

  /** @param record as for `get`; it must contain all arguments of `command` */
  add(record: string, command: Command): void {
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(record, command);
  }
}

/** Types of records, from linux/audit.h. */
export const SYSCALL = 1300;
export const PATH = 1302;
export const SOCKETCALL = 1304;
export const SOCKADDR = 1306;
export const CWD = 1307;
export const EXECVE = 1309;
/** "End of event": the last record of an event that has several. */
export const EOE = 1320;
export const BPRM_FCAPS = 1321;
export const PROCTITLE = 1327;
/** An operation of io_uring. */
export const URINGOP = 1336;
/** A measurement by an `audit` rule of IMA. */
export const INTEGRITY_RULE = 1805;

/** Records that are an event by themselves: programs write them one at a time. */
const USER_RECORD_NAMES = new Map<number, UserRecord>(
  Object.entries(USER_RECORDS).map(([name, type]) => [type, name as UserRecord]),
);

/** How long an event may wait for missing records. The kernel writes all of them within a system call. */
const PATIENCE = seconds(2);
/** How long it waits for optional records, if the kernel delivers records at once but without an end record. */
const GRACE = milliseconds(200);
const MAX_PENDING = 1024;
const MAX_PENDING_BYTES = 4 * 1024 * 1024;
/** Number of past events of which late records are recognised; a power of two. */
const REMEMBERED = 8192;

interface Pending {
  readonly serial: number;
  readonly time: number;
  readonly since: Duration;
  fields?: AuditFields;
  /** The system call; absent for a number that is not in the tables. */
  call?: NamedCall;
  /** Absent where a single record contains all arguments. */
  arguments?: ArgumentCollector;
  /** The complete arguments, once known. */
  command?: Command;
  cwd?: string;
  address?: SocketAddress;
  socketcall?: readonly number[];
  /** The io_uring requests. */
  ring?: RingCalls;
  imaHash?: string;
  ended: boolean;
}

/**
 * Combines the records of one serial into an event.
 *
 * Records of several events arrive interleaved, and under load out of order. An event is delivered as soon as all records of
 * its kind have arrived, or its end record has and no required one is missing; otherwise after two seconds, or when too many
 * wait, with the records that have arrived. If end records are excluded, an event that may be complete waits for a fifth of
 * a second. No event is delivered twice: a record that arrives later is dropped. An event that lost its SYSCALL record is
 * useless, and is counted in `unusable`.
 */
export class Reassembler {
  /** Records that delivered events lacked; events lost because of a missing SYSCALL record; records that arrived too late. */
  readonly counts = { missing: 0, unusable: 0, late: 0 };
  /** Types of records that the kernel does not make, at least for some processes: an event without them lacks nothing. */
  excluded: ReadonlySet<number> = new Set();
  /** In the order in which their first record arrived. */
  readonly #pending = new Map<number, Pending>();
  #pendingBytes = 0;
  readonly #commands = new RecentCommands();
  readonly #emit: (event: AuditEvent) => void;
  readonly #mayLackBeginning: (serial: number) => boolean;
  /** The type of the record that ends an event. */
  readonly #end: number;
  readonly #grace: Duration;
  /** Serials of the last delivered events, each at its remainder. Initial entries match no serial. */
  readonly #finished = Uint32Array.from({ length: REMEMBERED }, (_, index) => index + 1);
  /** Their times: auditd's log can have the serial again, from another boot. */
  readonly #finishedAt = new Float64Array(REMEMBERED);

  /**
   * @param options `endRecords`: whether events with several records have an end record. auditd's log has none; there the
   *   PROCTITLE record is the last one, unless a rule excludes it. `mayLackBeginning`: whether an event may have begun before
   *   its records were read, so that it does not count as lost without its SYSCALL record.
   */
  constructor(
    emit: (event: AuditEvent) => void,
    {
      endRecords = true,
      mayLackBeginning = () => false,
    }: { endRecords?: boolean; mayLackBeginning?: (serial: number) => boolean } = {},
  ) {
    this.#emit = emit;
    this.#mayLackBeginning = mayLackBeginning;
    this.#end = endRecords ? EOE : PROCTITLE;
    this.#grace = endRecords ? GRACE : PATIENCE; // a log may be written in parts
  }

  /** When the first record of the oldest waiting event arrived; `undefined` when none waits. */
  get waitingSince(): Duration | undefined {
    for (const { since } of this.#pending.values()) return since;
    return undefined;
  }

  /** Whether records of this type are part of an event; for others, no text is needed. */
  wants(type: number): boolean {
    switch (type) {
      case SYSCALL:
      case EXECVE:
      case CWD:
      case SOCKADDR:
      case SOCKETCALL:
      case URINGOP:
      case INTEGRITY_RULE:
        return true;
      default:
        return type === this.#end || USER_RECORD_NAMES.has(type);
    }
  }

  /**
   * @param text the record without its header, as latin1
   * @param now of the monotonic clock
   */
  accept(type: number, { serial, time }: AuditHeader, text: string, now: Duration): void {
    const userRecord = USER_RECORD_NAMES.get(type);
    let event = this.#pending.get(serial);
    if (event === undefined) {
      if (this.#finished[serial % REMEMBERED] === serial && this.#finishedAt[serial % REMEMBERED] === time) {
        if (type !== this.#end) this.counts.late += 1;
        return;
      }
      if (userRecord !== undefined) {
        this.#finish(serial, time);
        this.#emit(userEvent(userRecord, time, serial, text));
        return;
      }
      if (type === this.#end) return; // of an event without any record that is used
      event = { serial, time, since: now, ended: false }; // in this order; see readHeader
      if (this.#pending.size >= MAX_PENDING) this.#releaseOldest();
      this.#pending.set(serial, event);
    }
    if (type === SYSCALL) {
      event.fields ??= parseCall(text);
      const call = nameCall(event.fields.arch, event.fields.syscall);
      if (call !== undefined) event.call = call;
      if (call?.name === 'io_uring_enter' && isOfRingRule(text)) event.ring ??= oneRingCall(event.fields);
    } else if (type === CWD) {
      const cwd = parseField(text, 'cwd');
      if (cwd !== undefined) event.cwd = cwd;
    } else if (type === EXECVE) {
      this.#takeArguments(event, text);
    } else if (type === SOCKADDR) {
      const address = parseSocketAddress(parseField(text, 'saddr'));
      if (address !== undefined) event.address = address;
    } else if (type === SOCKETCALL) {
      event.socketcall = socketcallArguments(text);
    } else if (type === URINGOP) {
      const ring = addRingCall(text, event.ring);
      if (ring !== undefined) event.ring = ring;
    } else if (type === INTEGRITY_RULE) {
      const hash = parseField(text, 'hash');
      if (hash !== undefined) event.imaHash = hash;
    } else if (type === this.#end) {
      event.ended = true;
    }
    if (isComplete(event)) this.#release(event, 0);
    else if (event.ended && this.#isWhole(event)) this.#release(event);
    else while (this.#pendingBytes > MAX_PENDING_BYTES) this.#releaseOldest();
  }

  #takeArguments(event: Pending, text: string): void {
    if (event.command !== undefined) return; // the arguments are complete
    const mayBeKnown = event.arguments === undefined && text.length <= LONGEST_KNOWN;
    const known = mayBeKnown ? this.#commands.get(text) : undefined;
    if (known !== undefined) {
      event.command = known;
      return;
    }
    event.arguments ??= new ArgumentCollector();
    const before = event.arguments.size;
    event.arguments.add(text);
    this.#pendingBytes += event.arguments.size - before;
    if (mayBeKnown && hasCommand(event)) this.#commands.add(text, event.command);
  }

  /** Delivers events that have waited long enough. Call it after every drain. */
  expire(now: Duration): void {
    for (const event of this.#pending.values()) {
      const waited = now - event.since;
      if (waited < this.#grace) return;
      if (isUnderWay(event)) this.#pending.delete(event.serial);
      else if (waited >= PATIENCE || this.#missingIn(event) === 0) this.#release(event);
    }
  }

  /** Delivers everything: nothing more will come. */
  flush(): void {
    for (const event of this.#pending.values()) this.#release(event);
  }

  /** Drops events whose beginning is missing because reading began later. */
  forgetRemains(): void {
    for (const [serial, event] of this.#pending) {
      if (event.fields !== undefined) continue;
      this.#pending.delete(serial);
      this.#pendingBytes -= event.arguments?.size ?? 0;
    }
  }

  #releaseOldest(): void {
    for (const event of this.#pending.values()) {
      this.#release(event);
      return;
    }
  }

  /** Whether no required record is missing. */
  #isWhole(event: Pending): boolean {
    if (event.fields === undefined) return event.ring !== undefined;
    if (event.arguments === undefined && event.command === undefined)
      return !isStart(event) || this.excluded.has(EXECVE);
    return hasCommand(event);
  }

  /** Number of records known to be missing; of incomplete arguments at least one. */
  #missingIn(event: Pending): number {
    const lacksDirectory = event.cwd === undefined && isStart(event) && !this.excluded.has(CWD);
    return Number(!this.#isWhole(event)) + Number(lacksDirectory);
  }

  #finish(serial: number, time: number): void {
    this.#finished[serial % REMEMBERED] = serial;
    this.#finishedAt[serial % REMEMBERED] = time;
  }

  #release(event: Pending, missing = this.#missingIn(event)): void {
    const { serial, time } = event;
    const fields = event.fields ?? event.ring?.fields;
    this.#pending.delete(serial);
    this.#pendingBytes -= event.arguments?.size ?? 0;
    this.#finish(serial, time);
    if (fields === undefined) {
      if (!this.#mayLackBeginning(serial)) this.counts.unusable += 1;
      return;
    }
    this.counts.missing += missing;
    this.#emit(toEvent(event, fields));
  }
}

/** Whether the SYSCALL record is one of a program start: then arguments and a directory follow. */
function isStart({ fields, call }: Pending): boolean {
  return fields?.success === 'yes' && (call?.name === 'execve' || call?.name === 'execveat');
}

/** Numbers of socketcall(2), from linux/net.h, as its SYSCALL record has them: in hexadecimal. */
const [SYS_SOCKET, SYS_ACCEPT, SYS_ACCEPT4] = ['1', '5', '12'];

/**
 * Whether all records of an event of this kind have arrived, so that no end record is needed. An accept(2) without a peer
 * address (its second argument is NULL) has no SOCKADDR record.
 */
function isComplete(event: Pending): boolean {
  const { fields, call, address, socketcall } = event;
  if (fields === undefined) return false;
  switch (call?.name) {
    case 'execve':
    case 'execveat':
      return event.cwd !== undefined && hasCommand(event);
    case 'connect':
      return address !== undefined;
    case 'accept':
    case 'accept4':
      return address !== undefined || fields.a1 === '0';
    case 'socket':
    case 'io_uring_setup':
      return true;
    case 'io_uring_enter': // after all that was done in it
      return event.ring !== undefined && address !== undefined;
    case 'socketcall': {
      if (socketcall === undefined) return false;
      const isAccept = fields.a0 === SYS_ACCEPT || fields.a0 === SYS_ACCEPT4;
      return address !== undefined || fields.a0 === SYS_SOCKET || (isAccept && socketcall[1] === 0);
    }
    default:
      return false;
  }
}

/**
 * Whether an io_uring_enter(2) is still running, possibly for minutes: its SYSCALL and SOCKADDR records arrive when it ends,
 * and suffice. Or this is the retry of a connect that was already reported, and nothing more arrives.
 */
function isUnderWay({ ring, fields, address, ended }: Pending): boolean {
  return ring !== undefined && fields === undefined && address === undefined && !ended;
}

/** Whether all arguments have arrived. */
function hasCommand(event: Pending): event is Pending & { readonly command: Command } {
  if (event.command !== undefined) return true;
  const all = event.arguments?.finish();
  if (all === undefined) return false;
  event.command = commandOf(all);
  return true;
}

/** `nargs=3 a0=5 a1=ffbc7a40 a2=10`. Source: show_special() in kernel/auditsc.c. */
function socketcallArguments(text: string): readonly number[] {
  const fields = parseFields(text);
  const count = Math.min(Number(fields.nargs) || 0, 6);
  return Array.from({ length: count }, (_, index) => Number.parseInt(fields[`a${index}`] ?? '', 16));
}

function userEvent(record: UserRecord, time: number, serial: number, text: string): AuditEvent {
  const fields = parseUserFields(text);
  return { time: new Date(time), serial, record, success: fields.res === 'success' || fields.res === '1', fields };
}

function toEvent(pending: Pending, fields: AuditFields): AuditEvent {
  const { time, serial, call, command, cwd, address, socketcall, ring, imaHash } = pending;
  const syscall = call?.name ?? fields.syscall; // absent where there are only URINGOP records
  const event: Writable<AuditEvent> = { time: new Date(time), serial, success: fields.success === 'yes', fields };
  if (syscall !== undefined) event.syscall = syscall;
  if (call !== undefined) event.abi = call.abi;
  if (command !== undefined) {
    event.argv = command.argv;
    event.commandLine = command.line;
    if (command.bytesCut > 0) event.argvBytesCut = command.bytesCut;
  }
  if (cwd !== undefined) event.cwd = cwd;
  if (address !== undefined) event.address = address;
  if (socketcall !== undefined) event.socketcall = socketcall;
  if (ring !== undefined) event.ringConnects = connectsOf(ring);
  if (imaHash !== undefined) event.imaHash = imaHash;
  return event;
}
