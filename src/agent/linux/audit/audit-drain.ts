import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, LONG_AGO, milliseconds, seconds } from '../../../core/base/duration.ts';
import { nextTurn } from '../../../core/base/waiting.ts';
import { readU16, readU32 } from '../native/byte-order.ts';
import { DrainPause } from '../native/netlink/drain-pause.ts';
import { HEADER_BYTES } from '../native/netlink/message.ts';
import type { NetlinkSocket } from '../native/netlink/socket.ts';
import { readHeader } from './header.ts';
import type { NoticeBoard } from './notice-board.ts';
import { isNotice } from './notices.ts';
import { SYSCALL } from './reassembler.ts';
import type { RecordStream } from './record-stream.ts';

/** MAX_AUDIT_MESSAGE_LENGTH of linux/audit.h is 8970. */
const LONGEST_RECORD_BYTES = 16 * 1024;

/** Lower types are answers to requests. */
const FIRST_RECORD_TYPE = 1100;
/** Rules or settings were changed. */
const CONFIG_CHANGE = 1305;
/** The kernel's check whether this daemon is alive, when another process requests the slot. Reading it is the answer. */
const AUDIT_REPLACE = 1329;

/** The pauses shorten before the receive buffer is half full. */
const MANY_RECORDS = 3_000;
const FEW_RECORDS = 1_000;

/** How long the event loop may be blocked at a time, and how many records are read between two checks of the clock. */
const LONGEST_TURN = milliseconds(5);
const RECORDS_PER_LOOK = 32;
/** Time limits of one drain, and of the last drain of a socket. */
const LONGEST_DRAIN = seconds(1);
const LONGEST_LAST_DRAIN = seconds(10);

interface Parts {
  readonly clock: Clock;
  /** Takes every record. */
  readonly stream: RecordStream;
  /** Takes the records of notices as well. */
  readonly notices: NoticeBoard;
  /** Called when another process requests the audit slot. */
  readonly onRequest: (pid: number) => void;
  /** Called for the record of changed rules or settings. */
  readonly onConfigChange: () => void;
}

interface Drained {
  /** How many were read. */
  readonly records: number;
  /** Everything that had arrived by then was read. */
  readonly until: Duration;
  /** Whether nothing is left. */
  readonly isEmpty: boolean;
}

/** Reads the sockets that the kernel sends audit records to, and passes the records on. Closes the sockets. */
export class AuditDrain {
  readonly #parts: Parts;
  readonly #buffer = Buffer.allocUnsafeSlow(LONGEST_RECORD_BYTES);
  readonly #pause: DrainPause;
  /** In the order in which they are read; two of them while the role changes. */
  readonly #sockets: NetlinkSocket[] = [];
  /** Up to when everything that had arrived was read. */
  #readUntil = LONG_AGO;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#pause = new DrainPause(parts.clock, { many: MANY_RECORDS, few: FEW_RECORDS });
  }

  /** Reads this socket, too, after those that it has. */
  add(socket: NetlinkSocket): void {
    this.#sockets.push(socket);
  }

  /** Closes a socket without reading it. */
  remove(socket: NetlinkSocket): void {
    this.#sockets.splice(this.#sockets.indexOf(socket), 1);
    socket.close();
  }

  /** Reads to the end and closes the oldest socket: a newer one has the records from now on, this one may have earlier ones. */
  async leaveOldest(): Promise<void> {
    await this.drain(LONGEST_LAST_DRAIN);
    this.#sockets.shift()?.close();
  }

  /** Closes all sockets. */
  close(): void {
    for (const socket of this.#sockets) socket.close();
  }

  /**
   * Reads until nothing is left, in turns that each end with a delivery; ends early where records come faster than they can be
   * read, so that checks, losses and the stop don't wait for the programs that cause them.
   */
  async drain(limit = LONGEST_DRAIN): Promise<Drained> {
    const { clock, stream } = this.#parts;
    const end = clock.monotonic() + limit;
    let records = 0;
    if (this.#sockets.length === 0) this.#readUntil = clock.monotonic();
    for (const [index, socket] of [...this.#sockets].entries()) {
      for (let more = true; more; ) {
        const turn = this.#drainTurn(socket);
        records += turn.read;
        more = turn.more;
        if (index === 0 && !more) this.#readUntil = turn.lookedAt;
        stream.deliver();
        if (more && clock.monotonic() >= end) return { records, until: this.#readUntil, isEmpty: false };
        if (more) await nextTurn();
      }
    }
    return { records, until: this.#readUntil, isEmpty: true };
  }

  /**
   * Resolves when the sockets should be read again, or when `signal` aborts.
   *
   * @param read how many records the last drain read
   */
  async pause(read: number, signal: AbortSignal): Promise<void> {
    const { stream, notices } = this.#parts;
    const isWaiting = stream.waitingSince !== undefined || !notices.isIdle;
    await this.#pause.sleep({ read, sockets: this.#sockets, isWaiting }, signal);
  }

  /**
   * Takes one datagram, which is one record. Its length is the datagram's: for the daemon, unlike anywhere else in netlink,
   * nlmsg_len does not include the header, since auditd has always expected it so. See audit_log_end() in kernel/audit.c.
   */
  take(datagram: Buffer, length: number, now: Duration): void {
    if (length < HEADER_BYTES) return;
    const { stream, notices, onRequest, onConfigChange } = this.#parts;
    const type = readU16(datagram, 4);
    if (type < FIRST_RECORD_TYPE) return;
    if (type === AUDIT_REPLACE) {
      const pid = length >= HEADER_BYTES + 4 ? readU32(datagram, HEADER_BYTES) : 0;
      if (pid !== process.pid) onRequest(pid);
      return;
    }
    if (type === CONFIG_CHANGE) onConfigChange();
    if (isNotice(type) || (type === SYSCALL && !notices.isIdle)) this.#takeNotice(type, datagram, length);
    stream.take(type, datagram, HEADER_BYTES, length, now);
  }

  /** @returns `lookedAt`: a moment before the socket was found empty, unless there is more */
  #drainTurn(socket: NetlinkSocket): { read: number; more: boolean; lookedAt: Duration } {
    const { clock } = this.#parts;
    const start = clock.monotonic();
    let now = start;
    for (let read = 0; ; ) {
      const length = socket.read(this.#buffer);
      if (length === undefined) return { read, more: false, lookedAt: now };
      this.take(this.#buffer, length, now);
      read += 1;
      if (read % RECORDS_PER_LOOK !== 0) continue;
      now = clock.monotonic();
      if (now - start >= LONGEST_TURN) return { read, more: true, lookedAt: now };
    }
  }

  #takeNotice(type: number, datagram: Buffer, length: number): void {
    const { notices } = this.#parts;
    const header = readHeader(datagram, HEADER_BYTES);
    if (header === undefined || header.bodyAt > length) return;
    if (type === SYSCALL && !notices.isWaitingFor(header.serial)) return;
    const text = datagram.toString('latin1', header.bodyAt, length);
    if (type === SYSCALL) notices.takeCall(header, text);
    else notices.take(type, header, text);
  }
}
