import { constants } from 'node:os';
import { decodeStatus, encodeStatus } from '../../../../src/agent/linux/audit/status.ts';
import { encodeMessage, NLMSG_DONE, NLMSG_ERROR } from '../../../../src/agent/linux/native/netlink/message.ts';
import type { NetlinkSocket, openNetlink } from '../../../../src/agent/linux/native/netlink/socket.ts';

/** Requests, and the record of a change, of linux/audit.h. */
const GET = 1000;
const SET = 1001;
const ADD_RULE = 1011;
const DEL_RULE = 1012;
const LIST_RULES = 1013;
const CONFIG_CHANGE = 1305;
const REPLACE = 1329;
/** AUDIT_FILTER_PREPEND. */
const PREPEND = 0x10;
/** AUDIT_STATUS_PID: the bit of the process id in the mask of a request. */
const MASK_PID = 4;
/** AUDIT_STATUS_BACKLOG_WAIT_TIME. */
const MASK_BACKLOG_WAIT_TIME = 0x20;
const LOST_AT = 24;
const BACKLOG_AT = 28;

const { EEXIST, EPERM } = constants.errno;

/** The kernel's audit, as far as a process sees it through its sockets: settings, rules, the slot and the records. */
export class FakeKernel {
  rules: Buffer[] = [];
  /** 2: locked. */
  enabled = 1;
  /** The audit daemon. */
  pid = 0;
  lost = 0;
  /** Records that wait to be sent. */
  backlog = 0;
  backlogWaitTime = 0;
  /** How many requests there were to change something. */
  changes = 0;
  readonly #sockets = new Map<FakeSocket, 'control' | 'daemon' | 'listener'>();
  #serial = 0;

  readonly open: typeof openNetlink = (_protocol, { groups = 0, own = false } = {}) => {
    const socket = new FakeSocket(
      (...request) => this.#answer(socket, ...request),
      () => this.#sockets.delete(socket),
    );
    this.#sockets.set(socket, own ? 'daemon' : groups === 0 ? 'control' : 'listener');
    return socket as unknown as NetlinkSocket;
  };

  /** An administrator adds a rule, or removes it. */
  change(rules: Buffer[]): void {
    this.rules = rules;
    this.record([CONFIG_CHANGE, 'op=add_rule res=1']);
  }

  /** Another process requests the slot. */
  request(pid: number): void {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(pid);
    for (const [socket, kind] of this.#sockets)
      if (kind === 'daemon') socket.push(encodeMessage(REPLACE, 0, 0, payload));
  }

  /** Makes an event of these records, each with its type. */
  record(...records: readonly (readonly [number, string])[]): void {
    this.#serial += 1;
    const header = `audit(${Math.floor(Date.now() / 1_000)}.000:${this.#serial}): `;
    for (const [type, text] of records) {
      const data = Buffer.from(header + text);
      for (const [socket, kind] of this.#sockets) if (kind !== 'control') socket.push(encodeMessage(type, 0, 0, data));
    }
  }

  #answer(socket: FakeSocket, type: number, sequence: number, payload: Buffer): void {
    if (type !== GET && type !== LIST_RULES) this.changes += 1;
    const error = this.#carryOut(type, payload);
    const acknowledgement = Buffer.alloc(4);
    acknowledgement.writeInt32LE(-error);
    socket.push(encodeMessage(NLMSG_ERROR, 0, sequence, acknowledgement));
    if (type === GET) {
      const status = encodeStatus({
        enabled: this.enabled,
        failure: 1,
        pid: this.pid,
        backlogLimit: 8_192,
        backlogWaitTime: this.backlogWaitTime,
      });
      status.writeUInt32LE(this.backlog, BACKLOG_AT);
      status.writeUInt32LE(this.lost, LOST_AT);
      socket.push(encodeMessage(GET, 0, sequence, status));
    } else if (type === LIST_RULES) {
      for (const rule of this.rules) socket.push(encodeMessage(LIST_RULES, 0, sequence, rule));
      socket.push(encodeMessage(NLMSG_DONE, 0, sequence, Buffer.alloc(4)));
    }
  }

  /** The kernel lists a prepended rule without its mark. */
  #add(rule: Buffer): void {
    const list = rule.readUInt32LE(0);
    rule.writeUInt32LE(list & ~PREPEND);
    if ((list & PREPEND) === 0) this.rules.push(rule);
    else this.rules.unshift(rule);
  }

  /** @returns an errno, or 0 */
  #carryOut(type: number, payload: Buffer): number {
    if (this.enabled === 2 && (type === ADD_RULE || type === DEL_RULE)) return EPERM;
    if (type === ADD_RULE) this.#add(Buffer.from(payload));
    if (type === SET && (payload.readUInt32LE(0) & MASK_BACKLOG_WAIT_TIME) !== 0)
      this.backlogWaitTime = decodeStatus(payload)?.backlogWaitTime ?? 0;
    if (type === DEL_RULE) this.rules = this.rules.filter((rule) => !rule.equals(payload));
    if (type !== SET || (payload.readUInt32LE(0) & MASK_PID) === 0) return 0;
    const pid = decodeStatus(payload)?.pid ?? 0;
    if (pid !== 0 && this.pid !== 0 && this.pid !== pid) return EEXIST;
    this.pid = pid;
    return 0;
  }
}

/** What NetlinkSocket is to its users. */
class FakeSocket {
  readonly #queue: Buffer[] = [];
  readonly #answer: (type: number, sequence: number, payload: Buffer) => void;
  readonly close: () => void;
  #sequence = 0;

  constructor(answer: (type: number, sequence: number, payload: Buffer) => void, close: () => void) {
    this.#answer = answer;
    this.close = close;
  }

  push(datagram: Buffer): void {
    this.#queue.push(datagram);
  }

  send(type: number, _flags: number, payload: Buffer): number {
    this.#sequence += 1;
    this.#answer(type, this.#sequence, payload);
    return this.#sequence;
  }

  receive(): Buffer | undefined {
    return this.#queue.shift();
  }

  read(into: Buffer): number | undefined {
    return this.#queue.shift()?.copy(into);
  }

  announceArrivals(): boolean {
    return false;
  }
}
