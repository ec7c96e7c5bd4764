import type { Clock } from '../../../core/base/clock.ts';
import { milliseconds, seconds } from '../../../core/base/duration.ts';
import { type AgentError, toAgentError } from '../../../core/base/errors.ts';
import type { Logger } from '../../../core/base/log.ts';
import type { SourceStatus } from '../../../core/contract/sources.ts';
import { readU16, readU32 } from '../native/byte-order.ts';
import { errnoIn, HEADER_BYTES, NLMSG_ERROR } from '../native/netlink/message.ts';
import { NETLINK_AUDIT, type NetlinkSocket, type openNetlink } from '../native/netlink/socket.ts';
import type { AuditDrain } from './audit-drain.ts';
import { switchedOff, systemError, unheard } from './audit-errors.ts';
import type { AuditSetup } from './audit-setup.ts';
import { type AuditControl, register } from './control.ts';
import { isOtherDaemon, type SlotWatch } from './slot-watch.ts';
import type { AuditStatus } from './status.ts';

/** Holds about 14,000 records; the kernel's backlog holds 8,192 more for the daemon. Takes memory only while it is full. */
const RECEIVE_BUFFER_BYTES = 16 * 1024 * 1024;
/** AUDIT_NLGRP_READLOG of linux/audit.h, as a mask: every record, for processes with CAP_AUDIT_READ. */
const READLOG = 1;

/** How long a new daemon may hold the slot without having enabled audit, and how often it is checked. */
const SWITCHED_ON_WITHIN = seconds(3);
const LOOK_AGAIN_AFTER = milliseconds(50);

interface Parts {
  readonly control: AuditControl;
  /** Claims the settings for a daemon, or leaves them to another one. */
  readonly setup: AuditSetup;
  /** Is given the sockets, and closes them. */
  readonly drain: AuditDrain;
  readonly watch: SlotWatch;
  readonly openSocket: typeof openNetlink;
  /** Whether the kernel sends records to the multicast group of this network namespace. */
  readonly mayListen: () => boolean;
  /** Whether it must leave audit to another agent that runs: only then it asks who requests the slot. */
  readonly yieldsToAgent?: boolean;
  /** Whether a process is another agent. */
  readonly isAgent: (pid: number) => boolean;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called when the result of `status()` changes. */
  readonly changed?: () => void;
}

/**
 * The agent's role in audit: the daemon, which has the slot, or a listener beside another daemon. Changing roles leaves no
 * gap: the new socket is added before the old one is read to its end and closed.
 *
 * Every method that changes something must have ended before the next one is called.
 */
export class AuditRole {
  readonly #parts: Parts;
  #current: 'daemon' | 'listener' | undefined;
  /** Process id of the audit daemon at the last check; 0 without a daemon. */
  #daemon = 0;
  /** Why it cannot be the daemon, if not because of another daemon. */
  #noDaemon: AgentError | undefined;
  /** The process that requests the slot; 0 if none does. */
  #contender = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** `undefined` until one is assumed. */
  get current(): 'daemon' | 'listener' | undefined {
    return this.#current;
  }

  get isDaemon(): boolean {
    return this.#current === 'daemon';
  }

  /** Process id of the audit daemon at the last check; 0 without a daemon. */
  get daemon(): number {
    return this.#daemon;
  }

  /** Whether another process requests the slot: `yieldSlot` is to be called. */
  get isContended(): boolean {
    return this.#contender !== 0;
  }

  /** @param missing why records are missing, if some are */
  status(missing: string | undefined): SourceStatus {
    const source = this.isDaemon ? 'auditUnicast' : 'auditMulticast';
    if (missing !== undefined) return { state: 'degraded', source, reason: missing };
    if (this.isDaemon) return { state: 'on', source };
    const noDaemon = this.#noDaemon;
    const alone =
      noDaemon === undefined
        ? 'The audit slot has just become free; the agent takes it unless another daemon does.'
        : `Without an audit daemon, the kernel also prints audit records to its log. ${noDaemon.message} ${noDaemon.remedy}`;
    const reason =
      this.#daemon === 0 ? alone : `Reading audit records alongside the audit daemon, process ${this.#daemon}.`;
    return { state: 'on', source, reason };
  }

  /** Becomes the daemon if possible, and a listener otherwise. @throws AgentError AUDIT_UNAVAILABLE, or errno errors */
  async assume(): Promise<void> {
    if (!(await this.#becomeDaemon())) await this.#joinAsListener();
  }

  /** Notes that another process requests the slot. */
  contend(pid: number): void {
    this.#contender = pid;
  }

  /** Leaves the slot to the process that requests it. @throws AgentError AUDIT_UNAVAILABLE, or errno errors */
  async yieldSlot(): Promise<void> {
    const { control, setup, drain, watch, yieldsToAgent, isAgent, log, changed } = this.#parts;
    const pid = this.#contender;
    watch.seenOther();
    if (yieldsToAgent === true && isAgent(pid)) setup.becomeGuest();
    try {
      await this.#joinAsListener();
    } finally {
      await control.set({ pid: 0 }); // at once: the other one tries a few times only
    }
    log.info({ pid }, 'Another audit daemon requests the slot; reading alongside it from now on.');
    await drain.leaveOldest();
    await setup.syncRules(this.isDaemon);
    this.#contender = 0;
    changed?.();
  }

  /**
   * Adapts to who has the slot now.
   *
   * @returns whether the role may have changed, and the settings with it
   * @throws AgentError AUDIT_UNAVAILABLE, or errno errors
   */
  async check({ pid }: AuditStatus): Promise<boolean> {
    const { setup, watch, changed } = this.#parts;
    const another = isOtherDaemon(pid);
    if (another) watch.seenOther();
    if (this.isDaemon) {
      if (pid === process.pid) return false;
      await this.#reregister();
      return true;
    }
    if (!another && watch.mayTake()) {
      await this.#reclaim();
      return true;
    }
    const daemon = another ? pid : 0;
    if (daemon !== this.#daemon) {
      this.#daemon = daemon;
      changed?.();
    }
    if (another) setup.leaveSettings();
    return false;
  }

  /**
   * Takes the slot unless another daemon has it: the kernel checks whether the registered daemon is alive (AUDIT_REPLACE),
   * and refuses with EEXIST if so. A pid in the status proves nothing: that of a killed daemon stays until the next record.
   *
   * @returns whether this process is the daemon now
   */
  async #becomeDaemon(): Promise<boolean> {
    const { control, setup, drain, watch, openSocket } = this.#parts;
    if (this.#noDaemon !== undefined || !watch.mayTake()) return false;
    if (setup.isGuest) {
      watch.seenOther(); // it would leave the slot to any process that requests it
      return false;
    }
    let socket: NetlinkSocket;
    try {
      socket = openSocket(NETLINK_AUDIT, { receiveBufferBytes: RECEIVE_BUFFER_BYTES, own: true });
    } catch (error) {
      this.#noDaemon = toAgentError(error); // without native code, an inherited socket can still listen
      return false;
    }
    drain.add(socket);
    if (!this.#registered(socket)) {
      drain.remove(socket);
      this.#daemon = (await control.status()).pid;
      watch.seenOther();
      return false;
    }
    this.#current = 'daemon';
    this.#daemon = process.pid;
    this.#contender = 0;
    await setup.claimSettings();
    return true;
  }

  #registered(socket: NetlinkSocket): boolean {
    const { drain, clock } = this.#parts;
    const sequence = register(socket);
    // The acknowledgement has arrived when the request returns; records may have arrived before it.
    for (let datagram = socket.receive(); datagram !== undefined; datagram = socket.receive()) {
      if (datagram.length < HEADER_BYTES) continue;
      if (readU16(datagram, 4) !== NLMSG_ERROR || readU32(datagram, 8) !== sequence) {
        drain.take(datagram, datagram.length, clock.monotonic());
        continue;
      }
      const errno = errnoIn(datagram.subarray(HEADER_BYTES)) ?? 0;
      if (errno === 0) return true;
      const refusal = systemError(errno, 'registering as audit daemon');
      if (refusal.code === 'EEXIST') return false;
      throw refusal;
    }
    throw systemError('ETIMEDOUT', 'registering as audit daemon');
  }

  /**
   * Joins the multicast group. Audit's settings are then those of its daemon; unless there is none at the moment, and the
   * agent waits for one that has requested the slot.
   *
   * @throws AgentError AUDIT_UNAVAILABLE if no record would be received
   */
  async #joinAsListener(): Promise<void> {
    const { control, setup, drain, clock, openSocket, mayListen } = this.#parts;
    if (!mayListen()) throw unheard();
    const { pid } = await control.status();
    const daemon = isOtherDaemon(pid) ? pid : 0;
    // A daemon that is starting takes the slot first and enables audit afterwards.
    const patience = clock.monotonic() + SWITCHED_ON_WITHIN;
    while (daemon !== 0 && (await control.status()).enabled === 0) {
      if (clock.monotonic() >= patience) throw switchedOff(daemon);
      await clock.sleep(LOOK_AGAIN_AFTER);
    }
    drain.add(openSocket(NETLINK_AUDIT, { groups: READLOG, receiveBufferBytes: RECEIVE_BUFFER_BYTES }));
    this.#current = 'listener';
    this.#daemon = daemon;
    if (daemon === 0) await setup.claimSettings();
  }

  /** Another process took the slot by force. */
  async #reregister(): Promise<void> {
    const { setup, drain, log, changed } = this.#parts;
    await this.assume();
    log.warn({ role: this.#current }, 'The kernel no longer has this process registered as its audit daemon.');
    await drain.leaveOldest();
    setup.checkRulesSoon();
    changed?.();
  }

  /** Takes the slot once it has been free for long enough. */
  async #reclaim(): Promise<void> {
    const { setup, drain, log, changed } = this.#parts;
    if (!(await this.#becomeDaemon())) return;
    log.info('The audit daemon has exited; took over its slot.');
    await drain.leaveOldest();
    await setup.syncRules(this.isDaemon);
    changed?.();
  }
}
