import { untilBeat } from '../../base/beat.ts';
import type { Clock } from '../../base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../../base/duration.ts';
import { AgentError, errnoOf, messageOf, toAgentError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { SourceStatus } from '../../contract/sources.ts';
import { errnoIn, HEADER_BYTES, NLMSG_ERROR, readU16, readU32 } from '../native/netlink/message.ts';
import { NETLINK_AUDIT, type NetlinkSocket, openNetlink } from '../native/netlink/socket.ts';
import { AuditPrograms } from './audit-programs.ts';
import { AuditControl, register } from './control.ts';
import { systemError } from './errno.ts';
import type { AuditSink } from './event.ts';
import { readHeader } from './header.ts';
import { KernelRules } from './kernel-rules.ts';
import { previousSettings } from './leftover-rules.ts';
import type { ResumePoint } from './log-tail.ts';
import { NoticeBoard } from './notice-board.ts';
import { isNotice } from './notices.ts';
import { SYSCALL } from './reassembler.ts';
import { RecordStream } from './record-stream.ts';
import type { AuditRule } from './rules.ts';
import { memoIn, memoRule } from './rules.ts';
import { isAlive, SlotWatch } from './slot-watch.ts';
import { type AuditStatus, formatSettings, RUNNING, restore, type Settings } from './status.ts';

/** Holds some 7,000 records, above the 8,192 of the kernel's backlog. */
const RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024;
/** MAX_AUDIT_MESSAGE_LENGTH of linux/audit.h is 8970. */
const LONGEST_RECORD_BYTES = 16 * 1024;
/** AUDIT_NLGRP_READLOG of linux/audit.h, as a mask: every record, for whoever has CAP_AUDIT_READ. */
const READLOG = 1;

/** Below are answers to requests. */
const FIRST_RECORD_TYPE = 1100;
/** Somebody has changed rules or settings. */
const CONFIG_CHANGE = 1305;
/** The kernel's question whether this daemon still lives, when another wants the slot. To read it is to answer. */
const AUDIT_REPLACE = 1329;

/**
 * Reading in large batches costs least, look-ups above all: one list of what lives serves for a whole batch. The pace
 * quickens before the receive buffer is half full.
 */
const LONGEST_PAUSE = milliseconds(250);
const SHORTEST_PAUSE = milliseconds(50);
const MANY_RECORDS = 3_000;
const FEW_RECORDS = 1_000;
/** About what the receive buffer holds: read at once, it was full, and the kernel may have had to keep or drop others. */
const A_BUFFERFUL = 6_000;

/** How long the event loop may be held up at a time, and how many records pass between two looks at the clock. */
const LONGEST_TURN = milliseconds(5);
const RECORDS_PER_LOOK = 32;

const CHECK_EVERY = seconds(5);
/** The kernel tells when its rules change; this is for when that was lost. It starts a thread for each list it gives. */
const CHECK_RULES_EVERY = seconds(30);
const WARN_AGAIN = minutes(1);
/** For how long the status says so. */
const TELLS_THAT_IT_WAS_OFF = minutes(10);
const NEVER = milliseconds(Number.NEGATIVE_INFINITY);

/** How long a new daemon may have taken the slot, and not yet have switched audit on. */
const SWITCHED_ON_WITHIN = seconds(3);

/** Rounds of reading at the end, and the records that each makes by itself. */
const MOST_ROUNDS = 20;
const RECORDS_PER_ROUND = 8;

/** How far a source has been read. */
export interface Progress {
  /** Everything that had come by then has been read. */
  readonly until: Duration;
  /** In auditd's log, when that is what was read. */
  readonly position?: ResumePoint;
}

interface Parts {
  /** Absent: `/`. */
  readonly hostRoot?: string;
  /** What to ask the kernel for; asked again at every refreshRules. */
  readonly rules: () => readonly AuditRule[];
  readonly sink: AuditSink;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called after every drain, when all that was read has been handed over. */
  readonly drained?: (progress: Progress) => Promise<void> | void;
  /** Called after that: all that the kernel recorded up to then has been handed over, or counted as lost. */
  readonly settled?: (until: Duration) => void;
  /** Called when nobody listened for a while: starts may be missing, and nobody knows how many. */
  readonly interrupted?: () => void;
  /** Called when `status()` says something else than before. */
  readonly changed?: () => void;
  /** Called once when it can't go on: reading failed, or the kernel refuses. It still must be closed. */
  readonly onLost?: (reason: AgentError) => void;
}

/**
 * The kernel's audit records, in one of two roles.
 *
 * As its **daemon**: the one process they are sent to. There is one such slot in a kernel; it is taken only when free, and
 * given up at once when another daemon asks for it. auditd, having been refused, exits with status 1, and its unit starts
 * it again after a moment; then the slot is free.
 *
 * As a **listener** beside another daemon: a member of the multicast group that gets every record, too. When that daemon
 * has been gone for half a minute, the slot is taken. The two roles change into each other without a gap: the new socket
 * is opened before the old one is given up, and what comes by both is told once.
 *
 * Audit's settings and rule list belong to the whole machine. The daemon's settings are set, put back at close, and
 * remembered in the kernel, so that a killed agent's successor can put them back in its stead; beside another daemon, they
 * are that one's. Our rules bear a mark, and go at close.
 */
export class AuditSource {
  readonly #parts: Parts;
  readonly #buffer = Buffer.allocUnsafeSlow(LONGEST_RECORD_BYTES);
  readonly #watch: SlotWatch;
  #open: Opened | undefined;
  /** Rules are changed by one at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#watch = new SlotWatch(parts.clock);
  }

  /** Which role it has. Only to be asked while it is open. */
  status(): SourceStatus {
    const opened = this.#open;
    if (opened === undefined) return { state: 'off' };
    const { wasOff } = opened;
    if (wasOff !== undefined) {
      const source = opened.role === 'daemon' ? 'auditUnicast' : 'auditMulticast';
      return { state: 'degraded', source, reason: wasOff.reason };
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

  /** @throws AgentError AUDIT_UNAVAILABLE or SOCKET_UNAVAILABLE, audit then being as it was */
  async open(): Promise<void> {
    if (this.#open !== undefined) return;
    const opened = await this.#connect().catch((error: unknown) => {
      throw unavailable(error);
    });
    this.#open = opened;
    opened.reading = this.#read(opened);
  }

  /** Makes the kernel's rules just what `rules()` says now. @throws AgentError AUDIT_UNAVAILABLE */
  async refreshRules(): Promise<void> {
    const opened = this.#open;
    if (opened === undefined) return;
    await this.#inTurn(() => this.#syncRules(opened)).catch((error: unknown) => {
      throw unavailable(error);
    });
  }

  /** Reads what is left, and puts audit back as it was found. Safe to call twice; never rejects. */
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
    const control = new AuditControl(openNetlink(NETLINK_AUDIT), this.#parts.clock);
    let opened: Opened | undefined;
    try {
      const status = await control.status();
      opened = this.#opened(control, status, previousSettings(await control.rules()));
      if (!(await this.#becomeDaemon(opened))) await this.#joinAsListener(opened);
      await this.#syncRules(opened);
      opened.stream.kernelSays(status.lost);
      return opened;
    } catch (error) {
      if (opened === undefined) control.close();
      else await this.#release(opened).catch(() => {}); // the first error says more
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
        changedAt: () => control.changedAt,
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
      warnedAt: new Map(),
      checkNow: false,
      rulesCheckedAt: NEVER,
      contender: 0,
      reading: Promise.resolve(),
    };
  }

  /**
   * Takes the slot, or finds it taken: the kernel asks the daemon it knows whether it still lives (AUDIT_REPLACE), and
   * refuses with EEXIST if so. A pid in the status proves nothing: that of a killed daemon stays until the next record.
   *
   * @returns whether this is the daemon now
   */
  async #becomeDaemon(opened: Opened): Promise<boolean> {
    const { control } = opened;
    if (opened.noDaemon !== undefined || !this.#watch.mayTake()) return false;
    let socket: NetlinkSocket;
    try {
      socket = openNetlink(NETLINK_AUDIT, { receiveBufferBytes: RECEIVE_BUFFER_BYTES, own: true });
    } catch (error) {
      opened.noDaemon = toAgentError(error); // no native code: an inherited socket can still listen
      return false;
    }
    opened.sockets.push(socket);
    if (!this.#registered(opened, socket)) {
      opened.sockets.pop();
      socket.close();
      opened.daemon = (await control.status()).pid;
      this.#watch.sawAnother();
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
    // The acknowledgement is there when the request returns; records may be, too.
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

  /** Sets audit up as the agent needs it, and leaves a note of how it was. */
  async #claimSettings(opened: Opened): Promise<void> {
    if (opened.locked) return;
    opened.settingsAreOurs = true;
    await opened.control.addRule(memoOf(opened));
    await this.#assertSettings(opened, await opened.control.status(), RUNNING);
  }

  /**
   * Joins the readers of the log. What audit does is up to its daemon then; unless there is none just now, and the agent
   * waits for one that has asked for the slot.
   */
  async #joinAsListener(opened: Opened): Promise<void> {
    const { clock } = this.#parts;
    const { pid } = await opened.control.status();
    const daemon = pid !== process.pid && pid !== 0 && isAlive(pid) ? pid : 0;
    // One that is just starting takes the slot first, and switches audit on then.
    const patience = clock.monotonic() + SWITCHED_ON_WITHIN;
    while (daemon !== 0 && (await opened.control.status()).enabled === 0) {
      if (clock.monotonic() >= patience) throw switchedOff(daemon);
      await clock.sleep(SHORTEST_PAUSE);
    }
    opened.sockets.push(openNetlink(NETLINK_AUDIT, { groups: READLOG, receiveBufferBytes: RECEIVE_BUFFER_BYTES }));
    opened.role = 'listener';
    opened.daemon = daemon;
    if (daemon === 0) await this.#claimSettings(opened);
  }

  /** Another daemon wants the slot. */
  async #yield(opened: Opened): Promise<void> {
    const { control, contender } = opened;
    this.#parts.log.info(
      { pid: contender },
      'Another audit daemon requests the slot; reading alongside it from now on.',
    );
    this.#watch.sawAnother();
    await this.#joinAsListener(opened);
    await control.set({ pid: 0 });
    await this.#leaveOldSocket(opened);
    await this.#syncRules(opened);
    opened.contender = 0;
    this.#parts.changed?.();
  }

  /** Somebody took the slot away by force. */
  async #regain(opened: Opened): Promise<void> {
    if (!(await this.#becomeDaemon(opened))) await this.#joinAsListener(opened);
    this.#parts.log.warn(
      { role: opened.role },
      'The kernel no longer has this process registered as its audit daemon.',
    );
    await this.#leaveOldSocket(opened);
    opened.rulesCheckedAt = NEVER;
    this.#parts.changed?.();
  }

  /** Takes the slot when it has been free for long enough. */
  async #reclaim(opened: Opened): Promise<void> {
    if (!(await this.#becomeDaemon(opened))) return;
    this.#parts.log.info('The audit daemon has exited; took over its slot.');
    await this.#leaveOldSocket(opened);
    await this.#syncRules(opened);
    this.#parts.changed?.();
  }

  /** The new socket has what comes from now on; the old one may hold what came before. */
  async #leaveOldSocket(opened: Opened): Promise<void> {
    await this.#drain(opened);
    opened.sockets.shift()?.close();
  }

  /** Sets what isn't as it must be. A locked audit stays as it is. */
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

  /** @returns how many rules had to be added */
  async #syncRules(opened: Opened): Promise<number> {
    const { rules, locked, role, settingsAreOurs } = opened;
    opened.rulesCheckedAt = this.#parts.clock.monotonic();
    const wanted = this.#parts.rules();
    if (locked) {
      if (!(await rules.has(wanted))) throw lockedOut();
      return 0;
    }
    const memo = settingsAreOurs ? { memo: memoOf(opened) } : {};
    return rules.sync({ rules: wanted, exclude: role === 'daemon', ...memo });
  }

  /** Undoes what open did, as far as it got, in an order that leaves the memo until all else is done. */
  async #release(opened: Opened): Promise<void> {
    const { control, role, sockets } = opened;
    try {
      // Without a role nothing was changed, and rules with our key are those of an agent that lives.
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

  /** The last events, and the last losses. */
  async #finish(opened: Opened): Promise<void> {
    const { clock, sink } = this.#parts;
    const { control, stream } = opened;
    for (let round = 0, records = FEW_RECORDS; round < MOST_ROUNDS && records > RECORDS_PER_ROUND; round += 1) {
      await this.#makeRecord(opened);
      await clock.sleep(SHORTEST_PAUSE);
      records = (await this.#drain(opened)).records;
    }
    stream.flush();
    opened.notices.settle(true);
    await this.#parts.drained?.({ until: clock.monotonic() });
    stream.kernelSays((await control.status()).lost);
    const lost = stream.takeLost(clock.monotonic(), true);
    if (lost > 0) sink.lost(lost);
  }

  /**
   * Makes the kernel write a record, by setting what is set already. What it couldn't deliver to its daemon waits in its
   * retry queue until there is another record, and what it dropped shows only by that one's serial.
   */
  async #makeRecord({ control, locked, role }: Opened): Promise<void> {
    if (!locked && role === 'daemon') await control.set({ failure: RUNNING.failure });
  }

  async #read(opened: Opened): Promise<void> {
    const { clock, sink, onLost, drained } = this.#parts;
    const { stream } = opened;
    const { signal } = opened.stopping;
    let pause: Duration = SHORTEST_PAUSE;
    let checkAt = clock.monotonic() + CHECK_EVERY;
    try {
      while (!signal.aborted) {
        const { records, until } = await this.#drain(opened);
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
        this.#tellSettled(opened);
        if (records > MANY_RECORDS) pause = milliseconds(Math.max(SHORTEST_PAUSE, pause / 2));
        else if (records < FEW_RECORDS) pause = milliseconds(Math.min(LONGEST_PAUSE, pause * 2));
        await clock.sleep(untilBeat(clock, pause), signal);
      }
    } catch (error) {
      if (!signal.aborted) onLost?.(error instanceof AgentError ? error : unavailable(error));
    }
  }

  /**
   * The kernel hands records over in the order in which they were made. So those from before one that has come have come, or
   * are lost; and all have come by the time that its backlog was empty.
   */
  #tellSettled({ stream, emptyAt }: Opened): void {
    const { clock, settled } = this.#parts;
    const { settledAt, newestTime } = stream;
    if (settledAt === undefined) return;
    const newest = clock.monotonic() - Math.max(0, clock.now().getTime() - newestTime);
    settled?.(milliseconds(Math.min(settledAt, Math.max(newest, emptyAt))));
  }

  /** Whether audit is still as the agent needs it; puts right what others undid, and follows them where it must. */
  async #check(opened: Opened): Promise<void> {
    const { log, clock } = this.#parts;
    const askedAt = clock.monotonic();
    const found = await opened.control.status();
    opened.stream.kernelSays(found.lost);
    if (found.backlog === undefined) opened.emptyAt = askedAt;
    const hasChanged = await this.#checkSlot(opened, found);
    const status = hasChanged ? await opened.control.status() : found;
    if (opened.settingsAreOurs) {
      const { enabled, backlogWaitTime } = RUNNING;
      const change = await this.#assertSettings(opened, status, { enabled, backlogWaitTime });
      if (Object.keys(change).length > 0) {
        this.#warn(opened, 'settings', change, 'Another process changed audit settings; restored them.');
        opened.rulesCheckedAt = NEVER; // while audit is switched off, the kernel doesn't say what becomes of its rules
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

  /** What happened meanwhile is missing, and nobody knows how much it was. */
  #wasSwitchedOff(opened: Opened): void {
    const { clock, changed, interrupted } = this.#parts;
    interrupted?.();
    const at = clock.now().toISOString();
    opened.wasOff = {
      until: milliseconds(clock.monotonic() + TELLS_THAT_IT_WAS_OFF),
      reason: `Another process switched audit off; the agent switched it on again at ${at}. Events in between are missing.`,
    };
    changed?.();
  }

  /** Of each kind once a minute: who changes things in a loop must not push out other lines. */
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
    if (another) this.#watch.sawAnother();
    if (opened.role === 'daemon') {
      if (pid === process.pid) return false;
      await this.#regain(opened);
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
      opened.rulesCheckedAt = NEVER; // with the next sync, our note of the old settings goes
    }
    return false;
  }

  /**
   * Reads until nothing is left, in turns that each end with a delivery.
   *
   * @returns the number of records, and up to when everything that had come has been read
   */
  async #drain(opened: Opened): Promise<{ records: number; until: Duration }> {
    let records = 0;
    let until = this.#parts.clock.monotonic();
    for (const [index, socket] of [...opened.sockets].entries()) {
      for (let more = true; more; ) {
        const turn = this.#drainTurn(opened, socket);
        records += turn.read;
        more = turn.more;
        if (index === 0) until = turn.lookedAt;
        opened.stream.deliver();
        if (more) await new Promise((resolve) => setImmediate(resolve));
      }
    }
    return { records, until };
  }

  /** @returns `lookedAt`: a moment before it found nothing more, as long as there isn't more */
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
   * Takes one datagram, which is one record. Its length is the datagram's: in those for the daemon, unlike anywhere else in
   * netlink, nlmsg_len leaves the header out, since auditd has always expected it so. See audit_log_end() in
   * kernel/audit.c.
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

/** What belongs to one time of being open. */
interface Opened {
  readonly control: AuditControl;
  readonly rules: KernelRules;
  /** What is read, in this order; two of them for as long as the role changes. */
  readonly sockets: NetlinkSocket[];
  /** Absent until it has one. */
  role: 'daemon' | 'listener' | undefined;
  /** The audit daemon's process, as of the last check; 0 when there is none. */
  daemon: number;
  /** Audit's settings before any agent changed them. */
  readonly found: Settings;
  /** Whether they are as the agent set them, and the kernel holds a note of `found`. */
  settingsAreOurs: boolean;
  /** Neither rules nor settings can change until the next boot. */
  readonly locked: boolean;
  readonly stopping: AbortController;
  readonly stream: RecordStream;
  readonly notices: NoticeBoard;
  /** Set for a while after audit was switched off by another. */
  wasOff?: { readonly until: Duration; readonly reason: string };
  readonly warnedAt: Map<'settings' | 'rules', Duration>;
  /** When the kernel had no record left to be sent, as of the last check. */
  emptyAt: Duration;
  /** Why it can't be the daemon, when that isn't because of another one. */
  noDaemon?: AgentError;
  /** Somebody changed rules or settings: not to wait for the next check. */
  checkNow: boolean;
  /** When they were last made what they must be. */
  rulesCheckedAt: Duration;
  /** The process that wants the slot; 0 when none does. */
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

const lockedOut = () =>
  new AgentError(
    'AUDIT_UNAVAILABLE',
    "Audit's rules are locked until the next boot (enabled is 2), and the agent's are not among them.",
    'Add rules for execve and execveat, for both ABIs and with the key vakt, to those loaded at boot, then reboot.',
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
