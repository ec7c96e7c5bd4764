import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, LONG_AGO, milliseconds, seconds } from '../../../core/base/duration.ts';
import {
  errnoIn,
  messagesOf,
  type NetlinkMessage,
  NLM_F_ACK,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
} from '../native/netlink/message.ts';
import type { NetlinkSocket } from '../native/netlink/socket.ts';
import { systemError } from './audit-errors.ts';
import { decodeRule, type KernelRule } from './rules.ts';
import { type AuditStatus, decodeStatus, encodeStatus } from './status.ts';

/** Polls without an answer that are needed before the time limit counts. */
const MIN_LOOKS = 20;

/**
 * A time limit for an answer that is polled for.
 *
 * A process that was stopped or starved of CPU resumes after the limit has passed, although the answer may have arrived
 * within a millisecond; the peer may have been stopped as well. So the limit counts only after a minimum number of
 * polls.
 */
export class AnswerLimit {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #until: number;
  #looks = 0;

  constructor(clock: Pick<Clock, 'monotonic'>, limit: Duration) {
    this.#clock = clock;
    this.#until = clock.monotonic() + limit;
  }

  /** Call this after each poll without an answer. */
  isOver(): boolean {
    this.#looks += 1;
    return this.#looks >= MIN_LOOKS && this.#clock.monotonic() >= this.#until;
  }
}

/** Requests of linux/audit.h. */
const AUDIT_GET = 1000;
const AUDIT_SET = 1001;
const AUDIT_ADD_RULE = 1011;
const AUDIT_DEL_RULE = 1012;
const AUDIT_LIST_RULES = 1013;

/** Answers come from kernel threads, a moment after the request. Reads are limited as well: see AnswerLimit. */
const ANSWER_LIMIT = seconds(2);
const POLL = milliseconds(1);
/** Changes that are this close count as one; how many are remembered. */
const COUNTS_ONCE = seconds(1);
const MAX_CHANGES = 64;

/**
 * Audit's settings and rules. It has a socket of its own, so that answers do not mix with the stream of records.
 *
 * Every method rejects with an errno error (`code` EPERM, EEXIST, …) when the kernel refuses.
 */
export class AuditControl {
  readonly #socket: NetlinkSocket;
  readonly #clock: Clock;
  /** When this object changed rules or settings, oldest first; what is changed within `COUNTS_ONCE` counts once. */
  readonly #changes: Duration[] = [];

  constructor(socket: NetlinkSocket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
  }

  async status(): Promise<AuditStatus> {
    const [answer] = await this.#request(AUDIT_GET, Buffer.alloc(0), ({ type }) => type === AUDIT_GET);
    const status = answer === undefined ? undefined : decodeStatus(answer);
    if (status === undefined) throw systemError('EPROTO', 'AUDIT_GET');
    return status;
  }

  /** Whether this object changed rules or settings between these moments; the last 64 seconds with a change are remembered. */
  hasChanged(from: Duration, until: Duration): boolean {
    return this.#changes.some((at) => at + COUNTS_ONCE > from && at <= until);
  }

  async set(change: Parameters<typeof encodeStatus>[0]): Promise<void> {
    this.#noteChange();
    await this.#request(AUDIT_SET, encodeStatus(change));
  }

  async rules(): Promise<KernelRule[]> {
    const answers = await this.#request(AUDIT_LIST_RULES, Buffer.alloc(0), ({ type }) => type === NLMSG_DONE);
    return answers.map(decodeRule).filter((rule) => rule !== undefined);
  }

  /** Does nothing if the rule exists. */
  async addRule(rule: Buffer): Promise<void> {
    this.#noteChange();
    await this.#request(AUDIT_ADD_RULE, rule).catch(unless('EEXIST'));
  }

  /** Does nothing if the rule does not exist. */
  async deleteRule(rule: Buffer): Promise<void> {
    this.#noteChange();
    await this.#request(AUDIT_DEL_RULE, rule).catch(unless('ENOENT'));
  }

  close(): void {
    this.#socket.close();
  }

  #noteChange(): void {
    const now = this.#clock.monotonic();
    if (now - (this.#changes.at(-1) ?? LONG_AGO) < COUNTS_ONCE) return;
    this.#changes.push(now);
    if (this.#changes.length > MAX_CHANGES) this.#changes.shift();
  }

  /** @param isLast whether an answer is the last one; if absent, only the acknowledgement is awaited */
  async #request(type: number, payload: Buffer, isLast?: (answer: NetlinkMessage) => boolean): Promise<Buffer[]> {
    const sequence = this.#socket.send(type, NLM_F_REQUEST | NLM_F_ACK, payload);
    const answers: Buffer[] = [];
    const limit = new AnswerLimit(this.#clock, ANSWER_LIMIT);
    for (;;) {
      const datagram = this.#socket.receive();
      if (datagram === undefined) {
        if (limit.isOver()) throw systemError('ETIMEDOUT', `audit request ${type}`);
        await this.#clock.sleep(POLL);
        continue;
      }
      for (const message of messagesOf(datagram)) {
        if (message.sequence !== sequence) continue; // answers a request that was abandoned
        if (message.type === NLMSG_ERROR) {
          const errno = errnoIn(message.payload) ?? 0;
          if (errno !== 0) throw systemError(errno, `audit request ${type}`);
          if (isLast === undefined) return [];
          continue;
        }
        if (message.type === type) answers.push(Buffer.from(message.payload));
        if (isLast?.(message) === true) return answers;
      }
    }
  }
}

/** The AUDIT_SET request that registers this process as the audit daemon: records go to the socket that sends it. */
export const register = (socket: NetlinkSocket): number =>
  socket.send(AUDIT_SET, NLM_F_REQUEST | NLM_F_ACK, encodeStatus({ pid: process.pid }));

const unless = (code: string) => (error: NodeJS.ErrnoException) => {
  if (error.code !== code) throw error;
};
