import type { Clock } from '../../base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../../base/duration.ts';
import { AgentError, errnoOf, messageOf, toAgentError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { nextTurn } from '../../base/turn.ts';
import type { SourceStatus } from '../../contract/sources.ts';
import { readU16, readU32 } from '../native/byte-order.ts';
import { DrainPause, SHORTEST_PAUSE } from '../native/netlink/drain-pause.ts';
import { errnoIn, HEADER_BYTES, NLMSG_ERROR } from '../native/netlink/message.ts';
import { NETLINK_AUDIT, type NetlinkSocket, openNetlink } from '../native/netlink/socket.ts';
import { AuditPrograms } from './audit-programs.ts';
import { AuditControl, register } from './control.ts';
import { systemError } from './errno.ts';
import type { AuditSink } from './event.ts';
import { isInFirstNetwork } from './first-network.ts';
import { readHeader } from './header.ts';
import { excludedTypes, hiddenBy } from './hiding-rules.ts';
import { KernelRules } from './kernel-rules.ts';
import { previousSettings } from './leftover-rules.ts';
import type { ResumePoint } from './log-tail.ts';
import { NoticeBoard } from './notice-board.ts';
import { isNotice } from './notices.ts';
import { SYSCALL } from './reassembler.ts';
import { RecordStream } from './record-stream.ts';
import type { AuditRule, KernelRule } from './rules.ts';
import { LOCKED_REMEDY, memoIn, memoRule } from './rules.ts';
import { isAlive, SlotWatch } from './slot-watch.ts';
import { type AuditStatus, formatSettings, RUNNING, restore, type Settings } from './status.ts';

/** Holds some 14,000 records; the kernel's backlog holds 8,192 more for the daemon. Takes memory only while it is full. */
const RECEIVE_BUFFER_BYTES = 16 * 1024 * 1024;
/** MAX_AUDIT_MESSAGE_LENGTH of linux/audit.h is 8970. */
const LONGEST_RECORD_BYTES = 16 * 1024;
/** AUDIT_NLGRP_READLOG of linux/audit.h, as a mask: every record, for processes with CAP_AUDIT_READ. */
const READLOG = 1;

/** Lower types are answers to requests. */
const FIRST_RECORD_TYPE = 1100;
/** Rules or settings were changed. */
const CONFIG_CHANGE = 1305;
/** The kernel's check whether this daemon is alive, when another process requests the slot. Reading it is the answer. */
const AUDIT_REPLACE = 1329;

/** The pauses shorten before the receive buffer is half full. */
const MANY_RECORDS = 3_000;
const FEW_RECORDS = 1_000;
/** About the capacity of the receive buffer: this many records at once mean that it was full and records may be lost. */
const A_BUFFERFUL = 12_000;

/** How long the event loop may be blocked at a time, and how many records are read between two checks of the clock. */
const LONGEST_TURN = milliseconds(5);
/** Of one drain, and of the last one of a socket. */
const LONGEST_DRAIN = seconds(1);
const LONGEST_LAST_DRAIN = seconds(10);
const RECORDS_PER_LOOK = 32;

const CHECK_EVERY = seconds(5);
/** The kernel reports changes of its rules; this check is for a lost report. Each listing starts a kernel thread. */
const CHECK_RULES_EVERY = seconds(30);
const WARN_AGAIN = minutes(1);
/** How long the status reports it. */
const OFF_REPORT_INTERVAL = minutes(10);
const NEVER = milliseconds(Number.NEGATIVE_INFINITY);

/** How long a new daemon may hold the slot without having enabled audit. */
const SWITCHED_ON_WITHIN = seconds(3);

/** Rounds of reading at the end, and records that each of them causes itself. */
const MAX_ROUNDS = 20;
const RECORDS_PER_ROUND = 8;

/** How far a source has been read. */
export interface Progress {
  /** Everything that had arrived by then was read. */
  readonly until: Duration;
  /** Position in auditd's log, if that was read. */
  readonly position?: ResumePoint;
}

interface Parts {
  /** Absent: `/`. */
  readonly hostRoot?: string;
  /** The rules to set in the kernel; evaluated at every refreshRules. */
  readonly rules: () => readonly AuditRule[];
  readonly sink: AuditSink;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called after every drain, when everything read was passed on. */
  readonly drained?: (progress: Progress) => Promise<void> | void;
  /** Called after that: everything that the kernel recorded up to then was passed on or counted as lost. */
  readonly settled?: (until: Duration) => void;
  /** Called when there was no listener for a while: starts may be missing, in unknown number. */
  readonly interrupted?: () => void;
  /** Called when the result of `status()` changes. */
  readonly changed?: () => void;
  /** Called once when the source cannot continue: reading failed, or the kernel refuses. It must still be closed. */
  readonly onLost?: (reason: AgentError) => void;
}

/**
 * The kernel's audit records, in one of two roles.
 *
 * As the audit **daemon**: the one process to which the kernel sends them. There is one slot per kernel; the agent takes it
 * only when it is free, and releases it at once when another daemon requests it. auditd, having been refused, exits with
 * status 1, and its unit starts it again after a moment; by then the slot is free.
 *
 * As a **listener** beside another daemon: a member of the multicast group, which gets every record too. When that daemon
 * has been gone for half a minute, the agent takes the slot. Changing roles leaves no gap: the new socket is opened before
 * the old one is released, and records that arrive at both are reported once.
 *
 * Audit's settings and rules are global to the machine. As the daemon, the agent sets them, restores them at close, and
 * stores the original ones in the kernel, so that the successor of a killed agent can restore them. Beside another daemon,
 * that daemon's settings hold. The agent's rules are marked, and removed at close.
 */
export class AuditSource {
  readonly #parts: Parts;
  readonly #buffer = Buffer.allocUnsafeSlow(LONGEST_RECORD_BYTES);
  readonly #watch: SlotWatch;
  readonly #openSocket: typeof openNetlink;
  /** Whether the kernel sends records to the multicast group of this network namespace. */
  readonly #mayListen: () => boolean;
  #open: Opened | undefined;
  /** Serialises changes of rules. */
  #turn: Promise<unknown> = Promise.resolve();

  /** @param kernel replaced in tests */
  constructor(parts: Parts, { openSocket = openNetlink, mayListen = () => isInFirstNetwork() } = {}) {
    this.#parts = parts;
    this.#openSocket = openSocket;
    this.#mayListen = mayListen;
    this.#watch = new SlotWatch(parts.clock);
  }

  /** The present role. Only valid while the source is open. */
  status(): SourceStatus {
    const opened = this.#open;
    if (opened === undefined) return { state: 'off' };
    const missing = opened.wasOff?.reason ?? opened.hidden;
    if (missing !== undefined) {
      const source = opened.role === 'daemon' ? 'auditUnicast' : 'auditMulticast';
      return { state: 'degraded', source, reason: missing };
    }
    if (opened.role === 'daemon') return { state: 'on', source: 'auditUnicast' };
    const { daemon, noDaemon } = opened;
    const alone =
      noDaemon === undefined
        ? 'The audit slot has just become free; the agent takes it unless another daemon does.'
        : `Without an audit daemon, the kernel also prints audit records to its log. ${noDaemon.message} ${noDaemon.remedy}`;
    const reason = daemon === 0 ? alone : `Reading audit records alongside the audit daemon, process ${daemon}.`;
    return { state: 'on', source: 'auditMulticast', reason };
  }

  /** @throws AgentError AUDIT_UNAVAILABLE or SOCKET_UNAVAILABLE; audit is then unchanged */
  async open(): Promise<void> {
    if (this.#open !== undefined) return;
    const opened = await this.#connect().catch((error: unknown) => {
      throw unavailable(error);
    });
    this.#open = opened;
    opened.reading = this.#read(opened);
  }

  /** Sets the kernel's rules to the present result of `rules()`. @throws AgentError AUDIT_UNAVAILABLE */
  async refreshRules(): Promise<void> {
    const opened = this.#open;
    if (opened === undefined) return;
    await this.#inTurn(() => this.#syncRules(opened)).catch((error: unknown) => {
      throw unavailable(error);
    });
  }

  /** Reads the remaining records and restores audit. Safe to call twice; never rejects. */
  async close(): Promise<void> {
    const opened = this.#open;
    if (opened === undefined) return;
    this.#open = undefined;
    opened.stopping.abort();
    await opened.reading;
    await this.#inTurn(() => this.#release(opened)).catch((err: unknown) =>
      this.#parts.log.warn({ err }, 'Could not restore the audit settings.'),
    );
  }

  async #connect(): Promise<Opened> {
    const control = new AuditControl(this.#openSocket(NETLINK_AUDIT), this.#parts.clock);
    let opened: Opened | undefined;
    try {
      const status = await control.status();
      const rules = await control.rules();
      this.#hiddenPart(rules); // throws when nothing can be seen
      opened = this.#opened(control, status, previousSettings(rules));
      if (!(await this.#becomeDaemon(opened))) await this.#joinAsListener(opened);
      await this.#syncRules(opened);
      opened.stream.setKernelLost(status.lost);
      return opened;
    } catch (error) {
      if (opened === undefined) control.close();
      else await this.#release(opened).catch(() => {}); // the first error is the cause
      throw error;
    }
  }

  #opened(control: AuditControl, status: AuditStatus, previousSettings: Settings | undefined): Opened {
    const { sink, clock, log } = this.#parts;
    return {
      control,
      notices: new NoticeBoard({
        clock,
        log,
        hasChanged: (from, until) => control.hasChanged(from, until),
        programs: new AuditPrograms({ hostRoot: this.#parts.hostRoot ?? '/', clock }),
      }),
      rules: new KernelRules(control),
      sockets: [],
      role: undefined,
      daemon: 0,
      found: previousSettings ?? status,
      settingsAreOurs: previousSettings !== undefined,
      locked: status.enabled === 2,
      stopping: new AbortController(),
      stream: new RecordStream((events) => sink.accept(events), { beganLive: true }),
      emptyAt: NEVER,
      readUntil: NEVER,
      warnedAt: new Map(),
      checkNow: false,
      rulesCheckedAt: NEVER,
      contender: 0,
      reading: Promise.resolve(),
    };
  }

  /**
   * Takes the slot unless another daemon has it: the kernel checks whether the registered daemon is alive (AUDIT_REPLACE),
   * and refuses with EEXIST if so. A pid in the status proves nothing: that of a killed daemon stays until the next record.
   *
   * @returns whether this process is the daemon now
   */
  async #becomeDaemon(opened: Opened): Promise<boolean> {
    const { control } = opened;
    if (opened.noDaemon !== undefined || !this.#watch.mayTake()) return false;
    let socket: NetlinkSocket;
    try {
      socket = this.#openSocket(NETLINK_AUDIT, { receiveBufferBytes: RECEIVE_BUFFER_BYTES, own: true });
    } catch (error) {
      opened.noDaemon = toAgentError(error); // without native code, an inherited socket can still listen
      return false;
    }
    opened.sockets.push(socket);
    if (!this.#registered(opened, socket)) {
      opened.sockets.pop();
      socket.close();
      opened.daemon = (await control.status()).pid;
      this.#watch.seenOther();
      return false;
    }
    opened.role = 'daemon';
    opened.daemon = process.pid;
    opened.contender = 0;
    await this.#claimSettings(opened);
    return true;
  }

  #registered(opened: Opened, socket: NetlinkSocket): boolean {
    const sequence = register(socket);
    // The acknowledgement has arrived when the request returns; records may have arrived before it.
    for (let datagram = socket.receive(); datagram !== undefined; datagram = socket.receive()) {
      if (datagram.length < HEADER_BYTES) continue;
      if (readU16(datagram, 4) !== NLMSG_ERROR || readU32(datagram, 8) !== sequence) {
        this.#take(opened, datagram, datagram.length, this.#parts.clock.monotonic());
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

  /** Sets audit up as the agent needs it, and stores the original settings in the kernel. */
  async #claimSettings(opened: Opened): Promise<void> {
    if (opened.locked) return;
    opened.settingsAreOurs = true;
    await opened.control.addRule(memoOf(opened));
    await this.#assertSettings(opened, await opened.control.status(), RUNNING);
  }

  /**
   * Joins the multicast group. Audit's settings are then those of its daemon; unless there is none at the moment, and the
   * agent waits for one that has requested the slot.
   *
   * @throws AgentError AUDIT_UNAVAILABLE when nothing would be heard
   */
  async #joinAsListener(opened: Opened): Promise<void> {
    if (!this.#mayListen()) throw unheard();
    const { clock } = this.#parts;
    const { pid } = await opened.control.status();
    const daemon = pid !== process.pid && pid !== 0 && isAlive(pid) ? pid : 0;
    // A daemon that is starting takes the slot first and enables audit afterwards.
    const patience = clock.monotonic() + SWITCHED_ON_WITHIN;
    while (daemon !== 0 && (await opened.control.status()).enabled === 0) {
      if (clock.monotonic() >= patience) throw switchedOff(daemon);
      await clock.sleep(SHORTEST_PAUSE);
    }
    opened.sockets.push(this.#openSocket(NETLINK_AUDIT, { groups: READLOG, receiveBufferBytes: RECEIVE_BUFFER_BYTES }));
    opened.role = 'listener';
    opened.daemon = daemon;
    if (daemon === 0) await this.#claimSettings(opened);
  }

  /** Another daemon requests the slot. */
  async #yield(opened: Opened): Promise<void> {
    const { control, contender } = opened;
    this.#watch.seenOther();
    try {
      await this.#joinAsListener(opened);
    } finally {
      await control.set({ pid: 0 }); // at once: the other one tries a few times only
    }
    this.#parts.log.info(
      { pid: contender },
      'Another audit daemon requests the slot; reading alongside it from now on.',
    );
    await this.#leaveOldSocket(opened);
    await this.#syncRules(opened);
    opened.contender = 0;
    this.#parts.changed?.();
  }

  /** Another process took the slot by force. */
  async #reregister(opened: Opened): Promise<void> {
    if (!(await this.#becomeDaemon(opened))) await this.#joinAsListener(opened);
    this.#parts.log.warn(
      { role: opened.role },
      'The kernel no longer has this process registered as its audit daemon.',
    );
    await this.#leaveOldSocket(opened);
    opened.rulesCheckedAt = NEVER;
    this.#parts.changed?.();
  }

  /** Takes the slot once it has been free for long enough. */
  async #reclaim(opened: Opened): Promise<void> {
    if (!(await this.#becomeDaemon(opened))) return;
    this.#parts.log.info('The audit daemon has exited; took over its slot.');
    await this.#leaveOldSocket(opened);
    await this.#syncRules(opened);
    this.#parts.changed?.();
  }

  /** The new socket has the records from now on; the old one may still hold earlier ones. */
  async #leaveOldSocket(opened: Opened): Promise<void> {
    await this.#drain(opened, LONGEST_LAST_DRAIN);
    opened.sockets.shift()?.close();
  }

  /** Sets what differs from the required settings. A locked audit stays as it is. */
  async #assertSettings(
    { control, locked }: Opened,
    status: AuditStatus,
    wanted: Partial<Settings>,
  ): Promise<Partial<Settings>> {
    if (locked) return {};
    const change = Object.fromEntries(
      Object.entries(wanted).filter(([name, value]) => status[name as keyof Settings] !== value),
    );
    if (Object.keys(change).length > 0) await control.set(change);
    return change;
  }

  /**
   * Sets the agent's rules, and adapts to those of others.
   *
   * @returns how many had to be added
   * @throws AgentError AUDIT_UNAVAILABLE when there can't be rules of the agent, or those of others hide everything
   */
  async #syncRules(opened: Opened): Promise<number> {
    const { clock, changed } = this.#parts;
    const { rules, locked, stream } = opened;
    opened.rulesCheckedAt = clock.monotonic();
    const added = locked ? await this.#requireRules(rules) : await this.#setRules(opened);
    const hidden = this.#hiddenPart(rules.listed);
    stream.setExcluded(excludedTypes(rules.listed));
    if (hidden !== opened.hidden) {
      opened.hidden = hidden;
      changed?.();
    }
    return added;
  }

  /**
   * Why a part is missing that these rules of the kernel hide; `undefined` when none is.
   *
   * @throws AgentError AUDIT_UNAVAILABLE when they hide everything
   */
  #hiddenPart(rules: readonly KernelRule[]): string | undefined {
    const needed = new Set(this.#parts.rules().flatMap(({ syscalls }) => syscalls));
    const hidden = hiddenBy(rules, (call) => needed.has(call));
    if (hidden?.isAll === true) throw hidden.reason;
    return hidden && `${hidden.reason.message} ${hidden.reason.remedy}`;
  }

  async #setRules(opened: Opened): Promise<number> {
    const { rules, role, settingsAreOurs } = opened;
    const memo = settingsAreOurs ? { memo: memoOf(opened) } : {};
    return rules.sync({ rules: this.#parts.rules(), exclude: role === 'daemon', ...memo });
  }

  async #requireRules(rules: KernelRules): Promise<0> {
    if (!(await rules.has(this.#parts.rules()))) throw lockedOut();
    return 0;
  }

  /** Undoes what `open` did so far; removes the stored settings last. */
  async #release(opened: Opened): Promise<void> {
    const { control, role, sockets } = opened;
    try {
      // Without a role nothing was changed, and rules with the agent's key belong to another running agent.
      if (role !== undefined) await this.#restore(opened);
    } finally {
      for (const socket of sockets) socket.close();
      control.close();
    }
  }

  async #restore(opened: Opened): Promise<void> {
    const { log } = this.#parts;
    const { control, found, locked, settingsAreOurs } = opened;
    const ours = locked ? [] : await opened.rules.ours();
    for (const rule of ours) if (memoIn(rule) === undefined) await control.deleteRule(rule.data);
    await this.#finish(opened).catch((err: unknown) => log.warn({ err }, 'Could not read the last events.'));
    const status = await control.status();
    const isFree = status.pid === process.pid || status.pid === 0 || !isAlive(status.pid);
    // Another daemon needs the settings as they are.
    const change = locked || !settingsAreOurs || !isFree ? {} : restore(found, status);
    if (Object.keys(change).length > 0) await control.set(change);
    for (const rule of ours) if (memoIn(rule) !== undefined) await control.deleteRule(rule.data);
    if (status.pid === process.pid) await control.set({ pid: 0 });
  }

  /** Reads the last events and losses. */
  async #finish(opened: Opened): Promise<void> {
    const { clock, sink } = this.#parts;
    const { control, stream } = opened;
    for (let round = 0, records = FEW_RECORDS; round < MAX_ROUNDS && records > RECORDS_PER_ROUND; round += 1) {
      await this.#makeRecord(opened);
      await clock.sleep(SHORTEST_PAUSE);
      records = (await this.#drain(opened)).records;
    }
    stream.flush();
    opened.notices.settle(true);
    await this.#parts.drained?.({ until: clock.monotonic() });
    stream.setKernelLost((await control.status()).lost);
    const lost = stream.takeLost(clock.monotonic(), true);
    if (lost > 0) sink.lost(lost);
  }

  /**
   * Makes the kernel write a record, by setting a value to what it is already. Records that the kernel could not deliver wait
   * in its retry queue until the next record, and a dropped record shows only by the serial of the next one.
   */
  async #makeRecord({ control, locked, role }: Opened): Promise<void> {
    if (!locked && role === 'daemon') await control.set({ failure: RUNNING.failure });
  }

  async #read(opened: Opened): Promise<void> {
    const { clock, sink, onLost, drained } = this.#parts;
    const { stream } = opened;
    const { signal } = opened.stopping;
    const drainPause = new DrainPause(clock, { many: MANY_RECORDS, few: FEW_RECORDS });
    let checkAt = clock.monotonic() + CHECK_EVERY;
    try {
      while (!signal.aborted) {
        const { records, until, isEmpty } = await this.#drain(opened);
        const now = clock.monotonic();
        stream.expire(now);
        opened.notices.settle();
        await drained?.({ until });
        if (records >= A_BUFFERFUL) await this.#inTurn(() => this.#makeRecord(opened));
        if (opened.contender !== 0) await this.#inTurn(() => this.#yield(opened));
        if (now >= checkAt || opened.checkNow) {
          checkAt = now + CHECK_EVERY;
          opened.checkNow = false;
          await this.#inTurn(() => this.#check(opened));
        }
        const lost = stream.takeLost(until);
        if (lost > 0) sink.lost(lost);
        this.#reportSettled(opened);
        if (!isEmpty) {
          await nextTurn();
          continue;
        }
        const isWaiting = stream.waitingSince !== undefined || !opened.notices.isIdle;
        await drainPause.sleep({ read: records, sockets: opened.sockets, isWaiting }, signal);
      }
    } catch (error) {
      if (!signal.aborted) onLost?.(error instanceof AgentError ? error : unavailable(error));
    }
  }

  /**
   * The kernel delivers records in the order in which they were made. So when one has arrived, all earlier ones have arrived
   * or are lost; and all have arrived by the time that the kernel's backlog was empty.
   */
  #reportSettled({ stream, emptyAt }: Opened): void {
    const { clock, settled } = this.#parts;
    const { settledAt, newestTime } = stream;
    if (settledAt === undefined) return;
    const newest = clock.monotonic() - Math.max(0, clock.now().getTime() - newestTime);
    settled?.(milliseconds(Math.min(settledAt, Math.max(newest, emptyAt))));
  }

  /** Checks whether audit is still as the agent needs it; restores what other processes changed, or adapts to it. */
  async #check(opened: Opened): Promise<void> {
    const { log, clock } = this.#parts;
    const askedAt = clock.monotonic();
    const found = await opened.control.status();
    opened.stream.setKernelLost(found.lost);
    if (found.backlog === undefined) opened.emptyAt = askedAt;
    const hasChanged = await this.#checkSlot(opened, found);
    const status = hasChanged ? await opened.control.status() : found;
    if (opened.settingsAreOurs) {
      const { enabled, backlogWaitTime } = RUNNING;
      const change = await this.#assertSettings(opened, status, { enabled, backlogWaitTime });
      if (Object.keys(change).length > 0) {
        this.#warn(opened, 'settings', change, 'Another process changed audit settings; restored them.');
        opened.rulesCheckedAt = NEVER; // while audit is disabled, the kernel does not report changes of rules
      }
      if (change.enabled !== undefined) this.#wasSwitchedOff(opened);
      else if (opened.wasOff !== undefined && askedAt >= opened.wasOff.until) {
        delete opened.wasOff;
        this.#parts.changed?.();
      }
    } else if (status.enabled === 0) throw switchedOff(opened.daemon);
    if (this.#parts.clock.monotonic() - opened.rulesCheckedAt >= CHECK_RULES_EVERY) {
      const added = await this.#syncRules(opened);
      if (added > 0) {
        this.#warn(
          opened,
          'rules',
          { rules: added },
          'Another process removed audit rules of the agent; added them again.',
        );
      }
    }
    log.trace({ ...opened.stream.counts, role: opened.role }, 'Checked audit.');
  }

  /** Events in between are missing, in unknown number. */
  #wasSwitchedOff(opened: Opened): void {
    const { clock, changed, interrupted } = this.#parts;
    interrupted?.();
    const at = clock.now().toISOString();
    opened.wasOff = {
      until: milliseconds(clock.monotonic() + OFF_REPORT_INTERVAL),
      reason: `Another process switched audit off; the agent switched it on again at ${at}. Events in between are missing.`,
    };
    changed?.();
  }

  /** One line a minute of each kind, so that changes in a loop do not push out other lines. */
  #warn({ warnedAt }: Opened, kind: 'settings' | 'rules', fields: object, message: string): void {
    const { clock, log } = this.#parts;
    const now = clock.monotonic();
    const last = warnedAt.get(kind);
    if (last !== undefined && now - last < WARN_AGAIN) return;
    warnedAt.set(kind, now);
    log.warn(fields, message);
  }

  /** @returns whether the role may have changed, and the settings with it */
  async #checkSlot(opened: Opened, { pid }: AuditStatus): Promise<boolean> {
    const another = pid !== process.pid && pid !== 0 && isAlive(pid);
    if (another) this.#watch.seenOther();
    if (opened.role === 'daemon') {
      if (pid === process.pid) return false;
      await this.#reregister(opened);
      return true;
    }
    if (!another && this.#watch.mayTake()) {
      await this.#reclaim(opened);
      return true;
    }
    const daemon = another ? pid : 0;
    if (daemon !== opened.daemon) {
      opened.daemon = daemon;
      this.#parts.changed?.();
    }
    if (another && opened.settingsAreOurs) {
      opened.settingsAreOurs = false;
      opened.rulesCheckedAt = NEVER; // the next sync removes the stored settings
    }
    return false;
  }

  /**
   * Reads until nothing is left, in turns that each end with a delivery; ends early where records come faster than they can be
   * read, so that checks, losses and the stop don't wait for whoever makes them.
   *
   * @returns the number of records, and up to when everything that had arrived was read
   */
  async #drain(opened: Opened, limit = LONGEST_DRAIN): Promise<{ records: number; until: Duration; isEmpty: boolean }> {
    const { clock } = this.#parts;
    const end = clock.monotonic() + limit;
    let records = 0;
    if (opened.sockets.length === 0) opened.readUntil = clock.monotonic();
    for (const [index, socket] of [...opened.sockets].entries()) {
      for (let more = true; more; ) {
        const turn = this.#drainTurn(opened, socket);
        records += turn.read;
        more = turn.more;
        if (index === 0 && !more) opened.readUntil = turn.lookedAt;
        opened.stream.deliver();
        if (more && clock.monotonic() >= end) return { records, until: opened.readUntil, isEmpty: false };
        if (more) await new Promise((resolve) => setImmediate(resolve));
      }
    }
    return { records, until: opened.readUntil, isEmpty: true };
  }

  /** @returns `lookedAt`: a moment before the socket was found empty; `undefined` while there is more */
  #drainTurn(opened: Opened, socket: NetlinkSocket): { read: number; more: boolean; lookedAt: Duration } {
    const { clock } = this.#parts;
    const start = clock.monotonic();
    let now = start;
    for (let read = 0; ; ) {
      const length = socket.read(this.#buffer);
      if (length === undefined) return { read, more: false, lookedAt: now };
      this.#take(opened, this.#buffer, length, now);
      read += 1;
      if (read % RECORDS_PER_LOOK !== 0) continue;
      now = clock.monotonic();
      if (now - start >= LONGEST_TURN) return { read, more: true, lookedAt: now };
    }
  }

  /**
   * Reads one datagram, which is one record. Its length is the datagram's: for the daemon, unlike anywhere else in netlink,
   * nlmsg_len does not include the header, since auditd has always expected it so. See audit_log_end() in kernel/audit.c.
   */
  #take(opened: Opened, datagram: Buffer, length: number, now: Duration): void {
    if (length < HEADER_BYTES) return;
    const type = readU16(datagram, 4);
    if (type < FIRST_RECORD_TYPE) return;
    if (type === AUDIT_REPLACE) {
      const pid = length >= HEADER_BYTES + 4 ? readU32(datagram, HEADER_BYTES) : 0;
      if (pid !== process.pid) opened.contender = pid;
      return;
    }
    if (type === CONFIG_CHANGE) {
      opened.checkNow = true;
      opened.rulesCheckedAt = NEVER;
    }
    if (isNotice(type) || (type === SYSCALL && !opened.notices.isIdle))
      this.#takeNotice(opened, type, datagram, length);
    opened.stream.take(type, datagram, HEADER_BYTES, length, now);
  }

  #takeNotice({ notices }: Opened, type: number, datagram: Buffer, length: number): void {
    const header = readHeader(datagram, HEADER_BYTES);
    if (header === undefined || header.bodyAt > length) return;
    if (type === SYSCALL && !notices.isWaitingFor(header.serial)) return;
    const text = datagram.toString('latin1', header.bodyAt, length);
    if (type === SYSCALL) notices.takeCall(header, text);
    else notices.take(type, header, text);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }
}

/** The state of one period between open and close. */
interface Opened {
  readonly control: AuditControl;
  readonly rules: KernelRules;
  /** The sockets, in the order in which they are read; two of them while the role changes. */
  readonly sockets: NetlinkSocket[];
  /** Absent until the role is known. */
  role: 'daemon' | 'listener' | undefined;
  /** Process id of the audit daemon at the last check; 0 without a daemon. */
  daemon: number;
  /** Audit's settings before any agent changed them. */
  readonly found: Settings;
  /** Whether the agent's settings are in force, and the kernel stores `found`. */
  settingsAreOurs: boolean;
  /** Neither rules nor settings can change until the next boot. */
  readonly locked: boolean;
  readonly stopping: AbortController;
  readonly stream: RecordStream;
  readonly notices: NoticeBoard;
  /** Why a part is missing, while rules of others hide it. */
  hidden?: string | undefined;
  /** Set for a while after another process disabled audit. */
  wasOff?: { readonly until: Duration; readonly reason: string };
  readonly warnedAt: Map<'settings' | 'rules', Duration>;
  /** When the kernel's backlog was empty, as of the last check. */
  emptyAt: Duration;
  /** Up to when everything that had arrived was read. */
  readUntil: Duration;
  /** Why it cannot be the daemon, if not because of another daemon. */
  noDaemon?: AgentError;
  /** Rules or settings were changed: check at once. */
  checkNow: boolean;
  /** When the rules were last set as required. */
  rulesCheckedAt: Duration;
  /** The process that requests the slot; 0 if none does. */
  contender: number;
  reading: Promise<void>;
}

const memoOf = ({ found }: Opened): Buffer => memoRule(formatSettings(found));

const switchedOff = (daemon: number) =>
  new AgentError(
    'AUDIT_UNAVAILABLE',
    `Audit is disabled although an audit daemon is running, process ${daemon}.`,
    'Enable it (auditctl -e 1), or stop the daemon so that the agent can enable it.',
  );

/** Source: kauditd_send_multicast_skb() in kernel/audit.c. The daemon has its records wherever it is. */
const unheard = () =>
  new AgentError(
    'AUDIT_UNAVAILABLE',
    "Beside an audit daemon, the kernel sends audit records to listeners in the host's network namespace only.",
    "Run the agent in the host's network namespace (podman: --network=host).",
  );

const lockedOut = () =>
  new AgentError(
    'AUDIT_UNAVAILABLE',
    "Audit's rules are locked until the next boot (enabled is 2), and the agent's are not among them.",
    LOCKED_REMEDY,
  );

function unavailable(error: unknown): AgentError {
  const refusal = error instanceof AgentError ? error.cause : error;
  const errno = errnoOf(refusal);
  if (error instanceof AgentError && errno !== 'EPROTONOSUPPORT' && errno !== 'EPERM' && errno !== 'EACCES') {
    return error;
  }
  if (errno === undefined) return toAgentError(error);
  return new AgentError(
    'AUDIT_UNAVAILABLE',
    `The kernel denies this process access to audit records (${messageOf(refusal)}).`,
    REMEDIES[errno] ?? 'Look up the error in errno(3), and check that the kernel has CONFIG_AUDITSYSCALL=y.',
    { cause: error },
  );
}

const NO_SUPPORT =
  'Use a kernel with CONFIG_AUDIT=y and CONFIG_AUDITSYSCALL=y, and without audit=0 on its command line.';
const NOT_ALLOWED =
  "Grant CAP_AUDIT_CONTROL and CAP_AUDIT_READ, and run it in the host's pid and user namespaces (podman: --pid=host).";
const REMEDIES: Readonly<Record<string, string>> = {
  EPROTONOSUPPORT: NO_SUPPORT,
  ECONNREFUSED: NO_SUPPORT,
  EPERM: NOT_ALLOWED,
  EACCES: NOT_ALLOWED,
  EINVAL: NOT_ALLOWED,
};
