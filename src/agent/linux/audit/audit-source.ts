import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, LONG_AGO, milliseconds, seconds } from '../../../core/base/duration.ts';
import { AgentError } from '../../../core/base/errors.ts';
import { Lane } from '../../../core/base/lane.ts';
import type { Logger } from '../../../core/base/log.ts';
import { exists } from '../../../core/base/paths.ts';
import { nextTurn } from '../../../core/base/waiting.ts';
import type { SourceStatus } from '../../../core/contract/sources.ts';
import type { AuditFlood } from '../../../core/contract/streams.ts';
import { SHORTEST_PAUSE } from '../native/netlink/drain-pause.ts';
import { NETLINK_AUDIT, openNetlink } from '../native/netlink/socket.ts';
import { runsOwnProgram } from '../self/service-unit.ts';
import { AuditDrain } from './audit-drain.ts';
import { switchedOff, unavailable } from './audit-errors.ts';
import { AuditPrograms } from './audit-programs.ts';
import { AuditRole } from './audit-role.ts';
import { AuditSetup } from './audit-setup.ts';
import { AuditControl } from './control.ts';
import type { AuditEvent, AuditSink } from './event.ts';
import { FloodWatch, type StartCounter } from './flood-watch.ts';
import type { ResumePoint } from './log-tail.ts';
import { NoticeBoard } from './notice-board.ts';
import { RecordStream } from './record-stream.ts';
import type { AuditRule, KernelRule } from './rules.ts';
import { SlotWatch } from './slot-watch.ts';
import { type AuditStatus, RUNNING } from './status.ts';

/**
 * Whether this process is in the kernel's first network namespace. The kernel shows each process the settings of its own
 * namespace, and those that all namespaces share in the first one only. Unlike a comparison with /proc/1/ns/net, this takes no
 * capability.
 *
 * @param folder settings of which every namespace has some; where they can't be seen, the answer is yes
 */
export const isInFirstNetwork = (folder = '/proc/sys/net/core'): boolean =>
  exists(`${folder}/netdev_max_backlog`) || !exists(`${folder}/somaxconn`);

/**
 * About the capacity of the receive buffer: when one drain reads this many records, it may have been full and records may be
 * lost.
 */
const A_BUFFERFUL = 12_000;

const CHECK_EVERY = seconds(5);

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
  /** Default: `/`. */
  readonly hostRoot?: string;
  /** The rules to set in the kernel; evaluated at every refreshRules. */
  readonly rules: () => readonly AuditRule[];
  /** Whether it must leave audit to another agent that runs, as a command of an operator must. */
  readonly yieldsToAgent?: boolean;
  readonly sink: AuditSink;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called after every drain, when everything read was passed on. */
  readonly drained?: (progress: Progress) => Promise<void> | void;
  /** Called after that: everything that the kernel recorded up to then was passed on or counted as lost. */
  readonly settled?: (until: Duration) => void;
  /** Called when there was no listener for a while: starts may be missing, in unknown number. */
  readonly interrupted?: () => void;
  /** Called when the rules were read, with whether other programs' rules hide all or some processes that start now. */
  readonly foundTaskRule?: (isThere: boolean) => void;
  /** See FloodWatch. */
  readonly flooded?: ((flood: AuditFlood) => void) | undefined;
  readonly excluded?: (count: number) => void;
  /** See FloodWatch. Without it, nothing is excluded. */
  readonly countStarts?: ((clock: Clock) => StartCounter) | undefined;
  /** Whether programs wait for space in the kernel's backlog (`audit.backlogWait`). */
  readonly backlogWait?: boolean | undefined;
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
  readonly #watch: SlotWatch;
  readonly #openSocket: typeof openNetlink;
  /** Whether the kernel sends records to the multicast group of this network namespace. */
  readonly #mayListen: () => boolean;
  readonly #isAgent: (pid: number) => boolean;
  #open: Opened | undefined;
  /** Changes of audit's rules and settings. */
  readonly #changes = new Lane();

  /** @param kernel replaced in tests */
  constructor(
    parts: Parts,
    { openSocket = openNetlink, mayListen = () => isInFirstNetwork(), isAgent = runsOwnProgram } = {},
  ) {
    this.#isAgent = isAgent;
    this.#parts = parts;
    this.#openSocket = openSocket;
    this.#mayListen = mayListen;
    this.#watch = new SlotWatch(parts.clock);
  }

  /** The present role; `off` while the source is closed. */
  status(): SourceStatus {
    const opened = this.#open;
    if (opened === undefined) return { state: 'off' };
    const { role, setup, floods } = opened;
    return role.status(setup.missing ?? floods.problem);
  }

  /** Connects, and begins to read. @throws as `connect` */
  async open(): Promise<void> {
    await this.connect();
    this.begin();
  }

  /**
   * Makes the kernel send its records, which wait in the socket's receive buffer until `begin`. If it is open, sets the
   * present rules.
   *
   * @throws AgentError AUDIT_UNAVAILABLE or SOCKET_UNAVAILABLE; audit is then unchanged
   */
  async connect(): Promise<void> {
    if (this.#open !== undefined) return this.refreshRules();
    this.#open = await this.#connect().catch((error: unknown) => {
      throw unavailable(error);
    });
  }

  /** Begins to read and to deliver, from the first record since `connect`. Does nothing if it reads already. */
  begin(): void {
    const opened = this.#open;
    if (opened === undefined || opened.reading !== undefined) return;
    opened.stream.release();
    opened.reading = this.#read(opened);
  }

  /** Sets the kernel's rules to the present result of `rules()`. @throws AgentError AUDIT_UNAVAILABLE */
  async refreshRules(): Promise<void> {
    const opened = this.#open;
    if (opened === undefined) return;
    await this.#changes
      .run(() => opened.setup.syncRules(opened.role.isDaemon))
      .catch((error: unknown) => {
        throw unavailable(error);
      });
  }

  /** Reads the remaining records, if it has begun to read, and restores audit. Safe to call twice; never rejects. */
  async close(): Promise<void> {
    const opened = this.#open;
    if (opened === undefined) return;
    this.#open = undefined;
    opened.stopping.abort();
    await opened.reading;
    await this.#changes
      .run(() => this.#release(opened))
      .catch((err: unknown) => this.#parts.log.warn({ err }, 'Could not restore the audit settings.'));
  }

  async #connect(): Promise<Opened> {
    const control = new AuditControl(this.#openSocket(NETLINK_AUDIT), this.#parts.clock);
    let opened: Opened | undefined;
    try {
      const status = await control.status();
      opened = this.#opened(control, status, await control.rules());
      await opened.role.assume();
      await opened.setup.syncRules(opened.role.isDaemon);
      opened.stream.setKernelLost(status.lost);
      return opened;
    } catch (error) {
      if (opened === undefined) control.close();
      else await this.#release(opened).catch(() => {}); // the first error is the cause
      throw error;
    }
  }

  #opened(control: AuditControl, status: AuditStatus, rules: readonly KernelRule[]): Opened {
    const { hostRoot = '/', sink, clock, log } = this.#parts;
    const floods = new FloodWatch(this.#parts);
    const deliver = (events: readonly AuditEvent[]) => {
      floods.see(events);
      sink.accept(events);
    };
    const stream = new RecordStream(deliver, { beganLive: true });
    stream.hold();
    const notices = new NoticeBoard({
      clock,
      log,
      hasChanged: (from, until) => control.hasChanged(from, until),
      programs: new AuditPrograms({ hostRoot, clock }),
    });
    const excludedOwners = () => floods.excludedOwners;
    const setup = new AuditSetup({ ...this.#parts, control, stream, excludedOwners }, status, rules);
    const drain = new AuditDrain({
      clock,
      stream,
      notices,
      onRequest: (pid) => role.contend(pid),
      onConfigChange: () => {
        setup.checkRulesSoon();
        opened.checkNow = true;
      },
    });
    const role = new AuditRole({
      ...this.#parts,
      control,
      setup,
      drain,
      watch: this.#watch,
      openSocket: this.#openSocket,
      mayListen: this.#mayListen,
      isAgent: this.#isAgent,
    });
    const opened: Opened = {
      control,
      stream,
      notices,
      floods,
      setup,
      drain,
      role,
      stopping: new AbortController(),
      emptyAt: LONG_AGO,
      checkNow: false,
      reading: undefined,
    };
    return opened;
  }

  /** Undoes what `open` did so far; removes the stored settings last. */
  async #release(opened: Opened): Promise<void> {
    const { control, role, drain, floods } = opened;
    try {
      // Without a role nothing was changed, and rules with the agent's key belong to another running agent.
      if (role.current !== undefined) await this.#restore(opened);
    } finally {
      floods.close();
      drain.close();
      control.close();
    }
  }

  async #restore(opened: Opened): Promise<void> {
    const { log } = this.#parts;
    const { control, setup } = opened;
    const stored = await setup.removeRules();
    if (opened.reading !== undefined)
      await this.#finish(opened).catch((err: unknown) => log.warn({ err }, 'Could not read the last events.'));
    const status = await control.status();
    await setup.restoreSettings(status, stored);
    if (status.pid === process.pid) await control.set({ pid: 0 });
  }

  /** Reads the last events and losses. */
  async #finish(opened: Opened): Promise<void> {
    const { clock, sink } = this.#parts;
    const { control, drain, stream } = opened;
    for (let round = 0, isOver = false; round < MAX_ROUNDS && !isOver; round += 1) {
      await this.#makeRecord(opened);
      await clock.sleep(SHORTEST_PAUSE);
      isOver = (await drain.drain()).records <= RECORDS_PER_ROUND;
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
  async #makeRecord({ control, setup, role }: Opened): Promise<void> {
    if (!setup.isLocked && role.isDaemon) await control.set({ failure: RUNNING.failure });
  }

  async #read(opened: Opened): Promise<void> {
    const { clock, sink, onLost, drained } = this.#parts;
    const { stream, notices, floods, drain, role } = opened;
    const { signal } = opened.stopping;
    let checkAt = clock.monotonic() + CHECK_EVERY;
    try {
      while (!signal.aborted) {
        const { records, until, isEmpty } = await drain.drain();
        const now = clock.monotonic();
        stream.expire(now);
        notices.settle();
        await drained?.({ until });
        if (records >= A_BUFFERFUL) await this.#changes.run(() => this.#makeRecord(opened));
        if (role.isContended) await this.#changes.run(() => role.yieldSlot());
        if (now >= checkAt || opened.checkNow) {
          checkAt = now + CHECK_EVERY;
          opened.checkNow = false;
          await this.#changes.run(() => this.#check(opened));
        } else if (floods.isDue(records)) await this.#changes.run(() => this.#lookForFloods(opened));
        const lost = stream.takeLost(until);
        if (lost > 0) {
          floods.lose(lost);
          sink.lost(lost);
        }
        this.#reportSettled(opened);
        if (!isEmpty) {
          await nextTurn();
          continue;
        }
        await drain.pause(records, signal);
      }
    } catch (error) {
      if (!signal.aborted) onLost?.(error instanceof AgentError ? error : unavailable(error));
    }
  }

  /**
   * The kernel delivers records in the order in which they were made. So when one has arrived, all earlier ones have arrived
   * or are lost; and all have arrived by the time that the kernel's backlog was empty.
   */
  #reportSettled({ stream, floods, emptyAt }: Opened): void {
    const { clock, settled } = this.#parts;
    const { settledAt, newestTime } = stream;
    if (settledAt === undefined) return;
    const newest = clock.monotonic() - Math.max(0, clock.now().getTime() - newestTime);
    const until = milliseconds(Math.min(settledAt, Math.max(newest, emptyAt)));
    settled?.(until);
    floods.settle(new Date(clock.now().getTime() - clock.monotonic() + until));
  }

  /** Checks whether audit is still as the agent needs it; restores what other processes changed, or adapts to it. */
  async #check(opened: Opened): Promise<void> {
    const { log, clock } = this.#parts;
    const { control, stream, setup, role } = opened;
    const askedAt = clock.monotonic();
    const found = await control.status();
    stream.setKernelLost(found.lost);
    if (found.backlog === undefined) opened.emptyAt = askedAt;
    const hasChanged = await role.check(found);
    const status = hasChanged ? await control.status() : found;
    if (setup.settingsAreOurs) await setup.checkSettings(status, askedAt);
    else if (status.enabled === 0) throw switchedOff(role.daemon);
    await setup.checkRules(role.isDaemon);
    await this.#lookForFloods(opened, status);
    log.trace({ ...stream.counts, role: role.current }, 'Checked audit.');
  }

  /** Excludes the starts of users who flood audit, or ends that. Beside another daemon, rules of the agent must not hide them. */
  async #lookForFloods({ control, stream, floods, setup, role }: Opened, known?: AuditStatus): Promise<void> {
    const status = known ?? (await control.status());
    stream.setKernelLost(status.lost);
    const mayExclude = role.isDaemon && !setup.isLocked && !setup.isGuest;
    if (floods.look(status, mayExclude)) await setup.syncRules(role.isDaemon);
  }
}

/** The parts and the state of one period between open and close. */
interface Opened {
  readonly control: AuditControl;
  readonly stream: RecordStream;
  readonly notices: NoticeBoard;
  readonly floods: FloodWatch;
  readonly setup: AuditSetup;
  readonly drain: AuditDrain;
  readonly role: AuditRole;
  readonly stopping: AbortController;
  /** When the kernel's backlog was empty, as of the last check. */
  emptyAt: Duration;
  /** Rules or settings were changed: check at once. */
  checkNow: boolean;
  /** Absent until `begin`: nothing was delivered. */
  reading: Promise<void> | undefined;
}
