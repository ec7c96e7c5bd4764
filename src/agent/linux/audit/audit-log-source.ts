import { randomUUID } from 'node:crypto';
import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../../../core/base/duration.ts';
import { AgentError, errnoOf, messageOf, toAgentError } from '../../../core/base/errors.ts';
import type { Logger } from '../../../core/base/log.ts';
import { nextTurn } from '../../../core/base/waiting.ts';
import { findTool, runTool } from '../../host/run-tool.ts';
import { NETLINK_AUDIT, openNetlink } from '../native/netlink/socket.ts';
import { AnswerLimit, AuditControl } from './control.ts';
import type { AuditEvent, AuditSink } from './event.ts';
import { KernelRules } from './kernel-rules.ts';
import { findRecord } from './log-line.ts';
import { type LogPosition, LogTail, type ResumePoint } from './log-tail.ts';
import { RecordStream } from './record-stream.ts';
import type { AuditRule } from './rules.ts';
import { abisOf } from './syscalls.ts';

/** log_file of auditd.conf(5), the default of all distributions. */
export const AUDIT_LOG = 'var/log/audit/audit.log';

const PAUSE = milliseconds(500);
/** How long auditd may take to write a record: it syncs after every 50 records, but writes each at once. */
const PROBE_LIMIT = seconds(3);
/** After this long without a record, the agent probes whether auditd still writes. */
const SILENCE = minutes(1);
/** How long it may take until a program start is in the log, or known to be lost. */
const SETTLED_AFTER = seconds(8);
/** Reads of 64 KiB before yielding to the event loop. */
const READS_PER_TURN = 4;

/** Where reading ended the last time; see LogTail.open. */
export interface Beginning {
  readonly position?: ResumePoint | undefined;
  readonly since?: number | undefined;
  /** The newest serial read in this boot: older ones may follow, since serials arrive out of order. */
  readonly serial?: number | undefined;
  /** Called with whether the log continues exactly where it was left, so that everything read is new. */
  readonly opened?: (isThere: boolean) => void;
  /** Called once all records present at opening were passed on; later records are written in this boot. */
  readonly reachedEnd?: () => void;
}

interface Parts {
  readonly rules: () => readonly AuditRule[];
  /** Whether it must leave audit to another agent that runs. */
  readonly yieldsToAgent?: boolean;
  readonly sink: AuditSink;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hostRoot: string;
  readonly from?: () => Beginning;
  /** Called after every read, when everything it yielded was passed on. */
  readonly drained?: (progress: { readonly until: Duration; readonly position: ResumePoint }) => Promise<void> | void;
  /** Called after that: everything that happened up to then was passed on or counted as lost. */
  readonly settled?: (until: Duration) => void;
  readonly onLost?: (reason: AgentError) => void;
}

/**
 * Audit records from auditd's log, for an agent without access to the kernel's socket. The log has the same records
 * several hundred milliseconds later, as long as auditd can write.
 *
 * To find out whether auditd writes, the agent starts a program and looks for its record.
 */
export class AuditLogSource {
  readonly #parts: Parts;
  readonly #openSocket: typeof openNetlink;
  #stopping: AbortController | undefined;
  #reading: Promise<void> = Promise.resolve();
  #willResume = false;
  #rules: { readonly control: AuditControl; readonly kernel: KernelRules } | undefined;

  /** @param kernel replaced in tests */
  constructor(parts: Parts, { openSocket = openNetlink } = {}) {
    this.#parts = parts;
    this.#openSocket = openSocket;
  }

  /** @throws AgentError AUDIT_UNAVAILABLE when there is no log, or it does not record program starts */
  async open(): Promise<void> {
    if (this.#stopping !== undefined) return;
    const { hostRoot, from, sink, rules } = this.#parts;
    const path = `${hostRoot.replace(/\/$/, '')}/${AUDIT_LOG}`;
    const stopping = new AbortController();
    const tail = new LogTail(path);
    const { opened, reachedEnd, ...beginning } = from?.() ?? {};
    let isThere: boolean;
    try {
      isThere = tail.open(beginning);
      opened?.(isThere);
    } catch (cause) {
      throw unreadable(path, cause);
    }
    try {
      await this.#setRules();
      const reader = new LogReader(tail, (events) => sink.accept(events), this.#parts.clock, {
        told: isThere ? beginning.position?.told : undefined,
        before: isThere ? beginning.serial : undefined,
        reachedEnd,
      });
      if (rules().length > 0) await this.#probe(reader, stopping.signal);
      this.#stopping = stopping;
      this.#reading = this.#read(reader, stopping.signal);
    } catch (error) {
      tail.close();
      await this.#removeRules();
      throw error;
    }
  }

  async refreshRules(): Promise<void> {
    await this.#sync(this.#parts.rules());
  }

  /**
   * Safe to call twice; never rejects.
   *
   * @param willResume leave incomplete events to the next reader of the log
   * @param keepsRules leave the rules to another source, which has set the same
   */
  async close({ willResume = false, keepsRules = false } = {}): Promise<void> {
    if (this.#stopping === undefined) return;
    this.#willResume = willResume && this.#parts.from !== undefined;
    this.#stopping.abort();
    this.#stopping = undefined;
    await this.#reading;
    if (keepsRules) this.#rules?.control.close();
    else await this.#removeRules();
    this.#rules = undefined;
  }

  /** Sets rules if the agent may (CAP_AUDIT_CONTROL), although it has no access to the socket (CAP_AUDIT_READ). */
  async #setRules(): Promise<void> {
    let control: AuditControl | undefined;
    try {
      control = new AuditControl(this.#openSocket(NETLINK_AUDIT), this.#parts.clock);
      const kernel = new KernelRules(control, this.#parts);
      if (this.#parts.yieldsToAgent === true && (await kernel.ours()).length > 0) return control.close();
      this.#rules = { control, kernel };
      await this.refreshRules();
    } catch (err) {
      this.#parts.log.debug({ err }, 'Could not set audit rules; relying on those of the administrator.');
      control?.close();
      this.#rules = undefined;
    }
  }

  async #removeRules(): Promise<void> {
    try {
      await this.#sync([]);
    } catch (err) {
      this.#parts.log.warn({ err }, "Could not remove the agent's audit rules.");
    }
    this.#rules?.control.close();
    this.#rules = undefined;
  }

  /** Sets these rules; if it must leave audit to another agent that has set its own, they stay as they are. */
  async #sync(rules: readonly AuditRule[]): Promise<void> {
    const kernel = this.#rules?.kernel;
    if (kernel === undefined || (this.#parts.yieldsToAgent === true && (await kernel.areOfAnother()))) return;
    await kernel.sync({ rules, exclude: false });
  }

  /** @throws AgentError AUDIT_UNAVAILABLE when a program that was started does not appear */
  async #probe(reader: LogReader, signal: AbortSignal): Promise<void> {
    abisOf(); // without their numbers, the system calls of the records have no names
    const { clock } = this.#parts;
    const mark = `vakt-probe-${randomUUID()}`;
    const tool = findTool('true');
    if (tool === undefined) return;
    await runTool(tool, [mark], { signal, maxBytes: 1_024 });
    const limit = new AnswerLimit(clock, PROBE_LIMIT);
    const isProbe = ({ argv }: AuditEvent) => argv?.includes(mark) === true;
    do {
      if (await reader.read(isProbe)) return;
      await clock.sleep(milliseconds(50), signal);
    } while (!limit.isOver() && !signal.aborted);
    throw new AgentError(
      'AUDIT_UNAVAILABLE',
      "auditd's log does not record program starts.",
      'Load audit rules for execve and execveat, or grant the agent CAP_AUDIT_CONTROL and CAP_AUDIT_READ.',
    );
  }

  async #read(reader: LogReader, signal: AbortSignal): Promise<void> {
    const { clock, sink, drained, settled, onLost, rules } = this.#parts;
    let lastRead = clock.monotonic();
    try {
      while (!signal.aborted) {
        const now = clock.monotonic();
        if (await reader.read()) lastRead = now;
        else if (now - lastRead >= SILENCE) {
          if (rules().length > 0) await this.#probe(reader, signal);
          lastRead = now;
        }
        await drained?.({ until: now, position: reader.position });
        const lost = reader.takeLost();
        if (lost > 0) sink.lost(lost);
        settled?.(milliseconds(now - SETTLED_AFTER));
        await clock.sleep(PAUSE, signal);
      }
    } catch (error) {
      if (!signal.aborted) onLost?.(toAgentError(error));
    } finally {
      reader.close();
      if (!this.#willResume) reader.flush();
      await drained?.({ until: clock.monotonic(), position: reader.position });
    }
  }
}

/** Turns the lines of a log into events. */
export class LogReader {
  readonly #tail: LogTail;
  readonly #clock: Clock;
  readonly #stream: RecordStream;
  /** Start positions of reads, from the oldest whose records may belong to an incomplete event. */
  #begun: { readonly at: Duration; readonly position: LogPosition }[] = [];
  /** Events complete at this position were reported by an earlier run and are not passed on. */
  #reportedUpTo: LogPosition | undefined;
  readonly #firstFile: number;
  #reachedEnd: (() => void) | undefined;
  /** When everything had been read that was in the log when it was opened. */
  #endAt: Duration | undefined;
  #found = false;
  #isWanted: (event: AuditEvent) => boolean = () => false;

  /**
   * @param tail an open log; closed by close()
   * @param options `told`: see ResumePoint; `before`: see LossMeter; `reachedEnd`: see Beginning
   */
  constructor(
    tail: LogTail,
    deliver: (events: readonly AuditEvent[]) => void,
    clock: Clock,
    {
      told,
      before,
      reachedEnd,
    }: { told?: LogPosition | undefined; before?: number | undefined; reachedEnd?: (() => void) | undefined } = {},
  ) {
    this.#tail = tail;
    this.#clock = clock;
    this.#reportedUpTo = told;
    this.#reachedEnd = reachedEnd;
    this.#firstFile = tail.position.inode;
    this.#stream = new RecordStream(
      (events) => {
        if (this.#reportedUpTo !== undefined) return;
        this.#found ||= events.some((event) => this.#isWanted(event));
        deliver(events);
      },
      { endRecords: false, before },
    );
  }

  /** Where to resume later without missing an event that is partly read. */
  get position(): ResumePoint {
    const { position: told } = this.#tail;
    const [oldest] = this.#begun;
    return oldest === undefined ? told : { ...oldest.position, told };
  }

  /**
   * Reads to the end of the log.
   *
   * @param isWanted if given, the result is whether an event matched it, else whether anything was read
   * @param until where to stop
   */
  async read(isWanted?: (event: AuditEvent) => boolean, until?: LogPosition): Promise<boolean> {
    this.#found = false;
    this.#isWanted = isWanted ?? (() => false);
    let lines = 0;
    let now: Duration;
    for (let reads = 1; ; reads += 1) {
      now = this.#clock.monotonic();
      this.#begun.push({ at: now, position: this.#tail.position });
      const more = this.#tail.read((buffer, start, end) => {
        lines += 1;
        if (this.#reportedUpTo !== undefined) this.#skipReported(start);
        const record = findRecord(buffer, start, end);
        if (record !== undefined) this.#stream.take(record.type, buffer, record.from, record.to, now);
      }, until);
      this.#stream.deliver();
      this.#forgetBegun();
      if (!more) break;
      if (reads % READS_PER_TURN === 0) await nextTurn();
    }
    this.#endReported();
    this.#stream.expire(now);
    this.#forgetBegun();
    this.#tellEnd(now);
    return isWanted === undefined ? lines > 0 : this.#found;
  }

  takeLost(): number {
    return this.#stream.takeLost(this.#clock.monotonic());
  }

  close(): void {
    this.#tail.close();
  }

  /** Passes on incomplete events: nothing more will be read. */
  flush(): void {
    this.#stream.flush();
    this.#forgetBegun();
  }

  /** @param start position of the next line, where the last read ended */
  #skipReported(start: number): void {
    const { inode, offset } = this.#tail.position;
    // The file at that position exists, or was deleted: then the first remaining file is new.
    const isReported =
      inode === this.#reportedUpTo?.inode ? offset + start < this.#reportedUpTo.offset : inode === this.#firstFile;
    if (!isReported) this.#endReported();
  }

  /** At the start position, events had begun that were already reported. */
  #endReported(): void {
    if (this.#reportedUpTo === undefined) return;
    this.#stream.deliver();
    this.#stream.forgetRemains();
    this.#reportedUpTo = undefined;
  }

  /** Events that began before the end may wait for records that others exclude. */
  #tellEnd(now: Duration): void {
    this.#endAt ??= now;
    const { waitingSince } = this.#stream;
    if (waitingSince !== undefined && waitingSince <= this.#endAt) return;
    this.#reachedEnd?.();
    this.#reachedEnd = undefined;
  }

  #forgetBegun(): void {
    const { waitingSince } = this.#stream;
    if (waitingSince === undefined) this.#begun = [];
    else this.#begun = this.#begun.filter(({ at }) => at >= waitingSince);
  }
}

const unreadable = (path: string, cause: unknown) =>
  new AgentError(
    'AUDIT_UNAVAILABLE',
    `auditd's log can't be read: ${errnoOf(cause) ?? messageOf(cause)}, ${path}.`,
    'Run auditd and let the agent read its log (log_group in auditd.conf, or CAP_DAC_READ_SEARCH).',
    { cause },
  );
