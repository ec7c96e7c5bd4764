import { randomUUID } from 'node:crypto';
import { AnswerLimit } from '../../base/answer-limit.ts';
import type { Clock } from '../../base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../../base/duration.ts';
import { AgentError, errnoOf, messageOf, toAgentError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { findTool, runTool } from '../../host/run-tool.ts';
import { NETLINK_AUDIT, openNetlink } from '../native/netlink/socket.ts';
import { AuditControl } from './control.ts';
import type { AuditEvent, AuditSink } from './event.ts';
import { KernelRules } from './kernel-rules.ts';
import { findRecord } from './log-line.ts';
import { type LogPosition, LogTail, type ResumePoint } from './log-tail.ts';
import { RecordStream } from './record-stream.ts';
import type { AuditRule } from './rules.ts';

/** log_file of auditd.conf(5), as every distribution has it. */
export const AUDIT_LOG = 'var/log/audit/audit.log';

const PAUSE = milliseconds(500);
/** How long auditd may take to write a record: it syncs after every 50 of them, but writes at once. */
const PROBE_LIMIT = seconds(3);
/** Silence that makes us ask whether the log is still written. */
const SILENCE = minutes(1);
/** How long it may take until a start is in the log, or known to be lost. */
const SETTLED_AFTER = seconds(8);
/** Reads of 64 KiB before others get their turn. */
const READS_PER_TURN = 4;

/** Where reading ended the last time; see LogTail.open. */
export interface Beginning {
  readonly position?: ResumePoint | undefined;
  readonly since?: number | undefined;
  /** The newest that was read, by the serials of this boot: where they are out of order, earlier ones come after it. */
  readonly serial?: number | undefined;
  /** Told whether the log goes on right where it was left, so that all that is read is new. */
  readonly opened?: (isThere: boolean) => void;
}

interface Parts {
  readonly rules: () => readonly AuditRule[];
  readonly sink: AuditSink;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hostRoot: string;
  readonly from?: () => Beginning;
  /** Called after every read, when all that it brought has been handed over. */
  readonly drained?: (progress: { readonly until: Duration; readonly position: ResumePoint }) => Promise<void> | void;
  /** Called after that: all that happened up to then has been handed over, or counted as lost. */
  readonly settled?: (until: Duration) => void;
  readonly onLost?: (reason: AgentError) => void;
}

/**
 * The audit records that auditd writes to its log: for an agent that may not have the kernel's socket. Whatever the
 * socket would tell is there, some hundred milliseconds later, and as long as auditd can write.
 *
 * Whether it is, the agent finds out by trying: it starts a program, and looks for its record.
 */
export class AuditLogSource {
  readonly #parts: Parts;
  #stopping: AbortController | undefined;
  #reading: Promise<void> = Promise.resolve();
  #willResume = false;
  #rules: { readonly control: AuditControl; readonly kernel: KernelRules } | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** @throws AgentError AUDIT_UNAVAILABLE when there is no log, or it says nothing of program starts */
  async open(): Promise<void> {
    if (this.#stopping !== undefined) return;
    const { hostRoot, from, sink, rules } = this.#parts;
    const path = `${hostRoot.replace(/\/$/, '')}/${AUDIT_LOG}`;
    const stopping = new AbortController();
    const tail = new LogTail(path);
    const { opened, ...beginning } = from?.() ?? {};
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
    await this.#rules?.kernel.sync({ rules: this.#parts.rules(), exclude: false });
  }

  /**
   * Safe to call twice; never rejects.
   *
   * @param willResume leave what isn't complete yet to who reads on from here
   */
  async close({ willResume = false } = {}): Promise<void> {
    if (this.#stopping === undefined) return;
    this.#willResume = willResume && this.#parts.from !== undefined;
    this.#stopping.abort();
    this.#stopping = undefined;
    await this.#reading;
    await this.#removeRules();
  }

  /** Who may set rules and can't have the socket (CAP_AUDIT_CONTROL without CAP_AUDIT_READ) sets them. */
  async #setRules(): Promise<void> {
    let control: AuditControl | undefined;
    try {
      control = new AuditControl(openNetlink(NETLINK_AUDIT), this.#parts.clock);
      this.#rules = { control, kernel: new KernelRules(control) };
      await this.refreshRules();
    } catch (err) {
      this.#parts.log.debug({ err }, 'Could not set audit rules; relying on those of the administrator.');
      control?.close();
      this.#rules = undefined;
    }
  }

  async #removeRules(): Promise<void> {
    const rules = this.#rules;
    if (rules === undefined) return;
    this.#rules = undefined;
    try {
      await rules.kernel.sync({ rules: [], exclude: false });
    } catch (err) {
      this.#parts.log.warn({ err }, "Could not remove the agent's audit rules.");
    }
    rules.control.close();
  }

  /** @throws AgentError AUDIT_UNAVAILABLE when a program that was started doesn't show */
  async #probe(reader: LogReader, signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    const mark = `vakt-probe-${randomUUID()}`;
    const tool = findTool('true');
    if (tool === undefined) return;
    await runTool(tool, [mark], { signal, mostBytes: 1_024 });
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
    let heard = clock.monotonic();
    try {
      while (!signal.aborted) {
        const now = clock.monotonic();
        if (await reader.read()) heard = now;
        else if (now - heard >= SILENCE) {
          if (rules().length > 0) await this.#probe(reader, signal);
          heard = now;
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

/** Makes events of the lines of a log. */
export class LogReader {
  readonly #tail: LogTail;
  readonly #clock: Clock;
  readonly #stream: RecordStream;
  /** Where reads began, since the oldest one whose records may belong to an event that isn't complete. */
  #begun: { readonly at: Duration; readonly position: LogPosition }[] = [];
  /** What is complete by here was told by an earlier run, and isn't handed over. */
  #told: LogPosition | undefined;
  readonly #firstFile: number;
  #found = false;
  #isWanted: (event: AuditEvent) => boolean = () => false;

  /**
   * @param tail opened; closed by close()
   * @param options `told`: see ResumePoint; `before`: see LossMeter
   */
  constructor(
    tail: LogTail,
    deliver: (events: readonly AuditEvent[]) => void,
    clock: Clock,
    { told, before }: { told?: LogPosition | undefined; before?: number | undefined } = {},
  ) {
    this.#tail = tail;
    this.#clock = clock;
    this.#told = told;
    this.#firstFile = tail.position.inode;
    this.#stream = new RecordStream(
      (events) => {
        if (this.#told !== undefined) return;
        this.#found ||= events.some((event) => this.#isWanted(event));
        deliver(events);
      },
      { endRecords: false, before },
    );
  }

  /** Where to go on another time, so that no event is missed of which some records have been read. */
  get position(): ResumePoint {
    const { position: told } = this.#tail;
    const [oldest] = this.#begun;
    return oldest === undefined ? told : { ...oldest.position, told };
  }

  /**
   * Reads until nothing is left.
   *
   * @param isWanted when given, the answer is whether such an event was among them, else whether there was anything
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
        if (this.#told !== undefined) this.#passTold(start);
        const record = findRecord(buffer, start, end);
        if (record !== undefined) this.#stream.take(record.type, buffer, record.from, record.to, now);
      }, until);
      this.#stream.deliver();
      this.#forgetBegun();
      if (!more) break;
      if (reads % READS_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    this.#endTold();
    this.#stream.expire(now);
    this.#forgetBegun();
    return isWanted === undefined ? lines > 0 : this.#found;
  }

  takeLost(): number {
    return this.#stream.takeLost(this.#clock.monotonic());
  }

  close(): void {
    this.#tail.close();
  }

  /** Hands over what isn't complete: nothing more will be read. */
  flush(): void {
    this.#stream.flush();
    this.#forgetBegun();
  }

  /** @param start of the line that comes next, from where the last read ended */
  #passTold(start: number): void {
    const { inode, offset } = this.#tail.position;
    // Its file is there, or is gone without a trace: then what follows on the first one is new.
    const isTold = inode === this.#told?.inode ? offset + start < this.#told.offset : inode === this.#firstFile;
    if (!isTold) this.#endTold();
  }

  /** Where the reading began, events had begun that were told before its end. */
  #endTold(): void {
    if (this.#told === undefined) return;
    this.#stream.deliver();
    this.#stream.forgetRemains();
    this.#told = undefined;
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
