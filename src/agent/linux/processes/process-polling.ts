import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../../../core/base/duration.ts';
import { Lane } from '../../../core/base/lane.ts';
import type { Logger } from '../../../core/base/log.ts';
import type { StreamSink } from '../../../core/contract/streams.ts';
import { hostProc } from '../../host/in-root.ts';
import { isOwnProcess } from '../../host/own-processes.ts';
import { ProcFolder } from '../../host/proc-folder.ts';
import type { HeldCount } from '../source-state/held-count.ts';
import type { CommandLineSource } from './memory/command-lines.ts';
import { askedOf, type NewProcess, withArguments } from './new-process.ts';
import type { ProcessTable } from './process-table.ts';

const SHORTEST_PAUSE = seconds(1);
const LONGEST_PAUSE = minutes(1);
/** A scan may take one hundredth of the interval. */
const SHARE = 100;
/** Processes reported at a time: each may have 128 KiB of arguments in memory. */
const BATCH_SIZE = 16;
/** Processes whose arguments may still be awaited when the next scan begins. */
const MAX_PENDING = 4_096;
/** Cost of reading one process's arguments, for the reader and the agent. */
const COST_OF_ARGUMENTS_MS = 0.1;

interface Parts {
  readonly sink: StreamSink;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hostRoot: string;
  readonly commandLines: CommandLineSource;
  /** Receives the number of starts that wait for arguments. */
  readonly heldStarts?: HeldCount | undefined;
  /** Called for every process that is seen. */
  readonly table?: ProcessTable;
  /** Called after each scan: everything that had started by then and was still running was passed on. */
  readonly drained?: (progress: { readonly until: Duration }) => Promise<void> | void;
}

/**
 * Starts of processes by scanning /proc at intervals: needs no privilege, and misses processes that live shorter than the
 * interval. Processes present at the first scan are not reported. A process is reported once, in its state at that scan: one
 * that has just forked shows its parent's program.
 */
export class ProcessPolling {
  readonly #parts: Parts;
  #stopping: AbortController | undefined;
  #looking: Promise<void> = Promise.resolve();
  /** The next scan does not wait for the arguments of the last one. */
  readonly #emissions = new Lane();
  #pending = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Makes the first scan. @throws the error of the file system when /proc is missing */
  open(): void {
    if (this.#stopping !== undefined) return;
    const scanner = new ProcessScanner(new ProcFolder(hostProc(this.#parts.hostRoot)), this.#parts.clock);
    const cost = this.#measure(() => scanner.scan());
    this.#stopping = new AbortController();
    this.#looking = this.#look(scanner, cost, this.#stopping.signal);
  }

  /** Safe to call twice; never rejects. */
  async close(): Promise<void> {
    this.#stopping?.abort();
    this.#stopping = undefined;
    await this.#looking;
    await this.#emissions.idle();
  }

  async #look(scanner: ProcessScanner, first: Duration, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#parts;
    for (let cost = first; ; ) {
      await clock.sleep(milliseconds(Math.min(LONGEST_PAUSE, Math.max(SHORTEST_PAUSE, cost * SHARE))), signal);
      if (signal.aborted) return;
      const began = clock.monotonic();
      let seen: NewProcess[] = [];
      try {
        cost = this.#measure(() => {
          seen = scanner.scan();
        });
      } catch (err) {
        log.warn({ err }, 'Could not list the processes; will retry.');
      }
      cost = milliseconds(cost + seen.length * COST_OF_ARGUMENTS_MS);
      const others = seen.filter(({ pid, parentPid }) => !isOwnProcess(pid, parentPid));
      if (others.length === 0) continue;
      if (this.#pending > MAX_PENDING) await this.#emissions.idle();
      this.#emit(others, began);
    }
  }

  /** Continues after the source is closed: what was seen is reported, without arguments if the reader is closed too. */
  #emit(seen: readonly NewProcess[], lookedAt: Duration): void {
    const { table, drained, log } = this.#parts;
    this.#hold(seen.length);
    this.#emissions.post(() => {
      for (const { pid, executable, parentPid, userId } of seen) table?.started({ pid, executable, parentPid, userId });
    }, log);
    for (let from = 0; from < seen.length; from += BATCH_SIZE) {
      const batch = seen.slice(from, from + BATCH_SIZE);
      this.#emissions.post(() => this.#emitBatch(batch).finally(() => this.#hold(-batch.length)), log);
    }
    this.#emissions.post(() => drained?.({ until: lookedAt }), log);
  }

  async #emitBatch(batch: readonly NewProcess[]): Promise<void> {
    const { sink, commandLines, table } = this.#parts;
    const answers = await commandLines.read(batch.map(askedOf));
    const started = batch.map((process, index) => withArguments(process, answers[index]));
    for (const { pid, executable, argv } of started) if (argv !== undefined) table?.learn(pid, executable, argv);
    sink.accept('starts', started);
  }

  #hold(change: number): void {
    this.#pending += change;
    this.#parts.heldStarts?.set(this.#pending);
  }

  #measure(work: () => void): Duration {
    const start = this.#parts.clock.monotonic();
    work();
    return milliseconds(this.#parts.clock.monotonic() - start);
  }
}

interface Known {
  /** Inode of the folder in /proc: as long as it is the same, so is the process. Costs a fifth of reading `stat`. */
  readonly inode: number;
  readonly startTicks: number;
}

/** Distinguishes new processes from those of the last scan. */
export class ProcessScanner {
  readonly #proc: ProcFolder;
  readonly #clock: Clock;
  readonly #known = new Map<number, Known>();
  #first = true;

  constructor(proc: ProcFolder, clock: Clock) {
    this.#proc = proc;
    this.#clock = clock;
  }

  /** @returns the processes that are new since the last scan; none at the first. @throws when /proc cannot be listed */
  scan(): NewProcess[] {
    const seen: NewProcess[] = [];
    const pids = this.#proc.pids();
    const bootedAt = this.#clock.now().getTime() - this.#proc.uptime();
    for (const pid of pids) {
      const inode = this.#proc.inode(pid);
      const known = this.#known.get(pid);
      if (inode === undefined || known?.inode === inode) continue;
      // The kernel may have dropped a living process's inode and made a new one: only the start time decides.
      const stat = this.#proc.stat(pid);
      if (stat === undefined) continue;
      this.#known.set(pid, { inode, startTicks: stat.startTicks });
      if (this.#first || known?.startTicks === stat.startTicks || stat.isKernelThread || stat.isDead) continue;
      const details = this.#proc.details(pid);
      if (details === undefined) continue;
      seen.push({
        time: new Date(bootedAt + stat.startTicks * ProcFolder.TICK_MS),
        pid,
        parentPid: stat.parentPid,
        startTicks: stat.startTicks,
        ...details,
      });
    }
    const present = new Set(pids);
    for (const pid of this.#known.keys()) if (!present.has(pid)) this.#known.delete(pid);
    this.#first = false;
    return seen;
  }
}
