import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../../base/duration.ts';
import type { Logger } from '../../base/log.ts';
import { isOwnProcess } from '../../base/own-processes.ts';
import { TaskChain } from '../../base/task-chain.ts';
import type { StreamSink } from '../../contract/sources.ts';
import { ProcFolder } from '../../host/proc-folder.ts';
import type { HeldCount } from '../streams/held-count.ts';
import type { CommandLineSource } from './memory/command-lines.ts';
import { askedOf, type NewProcess, withArguments } from './new-process.ts';
import type { ProcessTable } from './process-table.ts';

const SHORTEST_PAUSE = seconds(1);
const LONGEST_PAUSE = minutes(1);
/** A look may take one hundredth of the time from one to the next. */
const SHARE = 100;
/** Processes that are told at a time: of each, up to 128 KiB of arguments are in memory. */
const TOLD_AT_ONCE = 16;
/** Processes whose arguments may be waited for when the next look begins. */
const MOST_PENDING = 4_096;
/** What it costs the reader to read one process's arguments, and the agent to take the answer. */
const COST_OF_ARGUMENTS_MS = 0.1;

interface Parts {
  readonly sink: StreamSink;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hostRoot: string;
  readonly commandLines: CommandLineSource;
  /** Told how many starts wait for arguments. */
  readonly heldStarts?: HeldCount | undefined;
  /** Is told of every process that is seen. */
  readonly table?: ProcessTable;
  /** Called after each look: all that had started by then and still lived has been handed over. */
  readonly drained?: (progress: { readonly until: Duration }) => Promise<void> | void;
}

/**
 * Processes by looking at /proc again and again: needs no privilege, and misses what lives shorter than the pause. Those
 * that were there at the first look aren't reported. A process is reported once, as it is at that look: one that has
 * just forked shows its parent's program.
 */
export class ProcessPolling {
  readonly #parts: Parts;
  #stopping: AbortController | undefined;
  #looking: Promise<void> = Promise.resolve();
  /** The next look doesn't wait for the arguments of what the last one found. */
  readonly #telling: TaskChain;
  #pending = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#telling = new TaskChain(parts.log);
  }

  /** Takes the first look. @throws what the file system says when there is no /proc */
  open(): void {
    if (this.#stopping !== undefined) return;
    const scanner = new ProcessScanner(new ProcFolder(join(this.#parts.hostRoot, 'proc')), this.#parts.clock);
    const cost = this.#measure(() => scanner.scan());
    this.#stopping = new AbortController();
    this.#looking = this.#look(scanner, cost, this.#stopping.signal);
  }

  /** Safe to call twice; never rejects. */
  async close(): Promise<void> {
    this.#stopping?.abort();
    this.#stopping = undefined;
    await this.#looking;
    await this.#telling.settled();
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
      if (this.#pending > MOST_PENDING) await this.#telling.settled();
      this.#tell(others, began);
    }
  }

  /** Goes on when the source is closed: what was seen is told, without arguments if the reader is closed too. */
  #tell(seen: readonly NewProcess[], lookedAt: Duration): void {
    const { table, drained } = this.#parts;
    this.#hold(seen.length);
    this.#telling.run(() => {
      for (const { pid, executable } of seen) table?.started({ pid, executable });
    });
    for (let from = 0; from < seen.length; from += TOLD_AT_ONCE) {
      const batch = seen.slice(from, from + TOLD_AT_ONCE);
      this.#telling.run(() => this.#tellBatch(batch).finally(() => this.#hold(-batch.length)));
    }
    this.#telling.run(() => drained?.({ until: lookedAt }));
  }

  async #tellBatch(batch: readonly NewProcess[]): Promise<void> {
    const { sink, commandLines, table } = this.#parts;
    const answers = await commandLines.read(batch.map(askedOf));
    const told = batch.map((process, index) => withArguments(process, answers[index]));
    for (const { pid, executable, argv } of told) if (argv !== undefined) table?.learn(pid, executable, argv);
    sink.accept('starts', told);
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
  /** Of the folder in /proc: as long as it stays the same, so does the process. Costs a fifth of reading `stat`. */
  readonly inode: number;
  readonly startTicks: number;
}

/** Tells new processes from those that were there before. */
export class ProcessScanner {
  readonly #proc: ProcFolder;
  readonly #clock: Clock;
  readonly #known = new Map<number, Known>();
  #first = true;

  constructor(proc: ProcFolder, clock: Clock) {
    this.#proc = proc;
    this.#clock = clock;
  }

  /** @returns the processes that weren't there at the last look; none at the first. @throws when /proc can't be listed */
  scan(): NewProcess[] {
    const seen: NewProcess[] = [];
    const pids = this.#proc.pids();
    const bootedAt = this.#clock.now().getTime() - this.#proc.uptime();
    for (const pid of pids) {
      const inode = this.#proc.inode(pid);
      const known = this.#known.get(pid);
      if (inode === undefined || known?.inode === inode) continue;
      // The kernel may have forgotten the inode of a living process and made another: only the start time decides.
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
