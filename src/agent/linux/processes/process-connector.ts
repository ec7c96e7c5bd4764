import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, milliseconds } from '../../../core/base/duration.ts';
import { type AgentError, toAgentError } from '../../../core/base/errors.ts';
import { Lane } from '../../../core/base/lane.ts';
import type { Logger } from '../../../core/base/log.ts';
import { Turn } from '../../../core/base/waiting.ts';
import type { ProcessStarted, StreamSink } from '../../../core/contract/streams.ts';
import { hostProc } from '../../host/in-root.ts';
import { isOwnProcess } from '../../host/own-processes.ts';
import { ProcFolder } from '../../host/proc-folder.ts';
import type { HeldCount } from '../source-state/held-count.ts';
import { type FilterFor, ProcessConnector } from './connector/connector.ts';
import { EXEC, execsOnly, type ProcessEvent } from './connector/messages.ts';
import type { CommandLine, CommandLineSource } from './memory/command-lines.ts';
import { askedOf, type NewProcess, withArguments } from './new-process.ts';
import type { ProcessTable } from './process-table.ts';

/** A process that ends within this time is usually missed. */
const SHORTEST_PAUSE = milliseconds(10);
/** The pause when there are no events. Waking up costs about 0.2 ms. */
const LONGEST_PAUSE = milliseconds(50);
/** The pause after a round, as a multiple of its duration: at most a quarter of one core is used. */
const PAUSE_FACTOR = 3;

/** Starts read before their details are looked up, at about 80 µs each. More would block the event loop. */
const MAX_PER_ROUND = 64;
/** Rounds at the end: for more than the buffer holds. Who starts programs all the time must not keep the agent from ending. */
const LAST_ROUNDS = 512;
/** Starts held for their arguments. Beyond that, as when the reader hangs, they are reported without arguments. */
const MAX_PENDING = 1_024;

interface Parts {
  readonly sink: StreamSink;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hostRoot: string;
  readonly commandLines: CommandLineSource & { hold?(): () => void };
  /** Receives the number of starts that wait for arguments. */
  readonly heldStarts?: HeldCount | undefined;
  /** Called for every start at once, even if no details could be read. */
  readonly table?: ProcessTable;
  /** Called when the queue is empty: everything that had arrived by then was passed on. */
  readonly drained?: (progress: { readonly until: Duration }) => Promise<void> | void;
  /** Called once when the source cannot continue. It must still be closed. */
  readonly onLost?: (reason: AgentError) => void;
  /** For tests. */
  readonly connect?: (filter: FilterFor) => ProcessConnector;
}

interface Opened {
  readonly connector: ProcessConnector;
  readonly stopping: AbortController;
  readonly release: (() => void) | undefined;
}

type Start = ProcessEvent & { readonly what: typeof EXEC };

/**
 * Starts of programs from the kernel's process connector, with their details from /proc: the source without audit. Every
 * start is noticed, but the details of a process that ends within milliseconds cannot be read; such starts are counted.
 *
 * Arguments come from the reader a moment later, or not at all; further starts do not wait for them.
 *
 * The newest processes are looked up first, since they are most likely to be running. If one process executes several
 * programs in a short time, only the last is visible; the others are counted, too.
 */
export class ConnectorProcesses {
  readonly #parts: Parts;
  readonly #proc: ProcFolder;
  #open: Opened | undefined;
  #reading: Promise<void> = Promise.resolve();
  /** Starts are reported in order, when their arguments are known. */
  readonly #emissions = new Lane();
  #pending = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#proc = new ProcFolder(hostProc(parts.hostRoot));
  }

  /** @throws AgentError SOCKET_UNAVAILABLE */
  open(): void {
    if (this.#open !== undefined) return;
    const { connect = ProcessConnector.open, commandLines } = this.#parts;
    const connector = connect(execsOnly);
    const opened = { connector, stopping: new AbortController(), release: commandLines.hold?.() };
    this.#open = opened;
    this.#reading = this.#read(opened.connector, opened.stopping.signal);
  }

  /** Reads the remaining starts. Safe to call twice; never rejects. */
  async close(): Promise<void> {
    const opened = this.#open;
    if (opened === undefined) return;
    this.#open = undefined;
    opened.stopping.abort();
    await this.#reading;
    try {
      const turn = new Turn(this.#parts.clock);
      for (let left = LAST_ROUNDS; left > 0 && this.#round(opened.connector) >= MAX_PER_ROUND; left -= 1)
        if (turn.isOver()) await turn.next();
      this.#countDropped(opened.connector);
    } catch (err) {
      this.#parts.log.warn({ err }, 'Could not read the last starts of programs.');
    }
    opened.connector.close();
    await this.#emissions.idle();
    opened.release?.();
  }

  async #read(connector: ProcessConnector, signal: AbortSignal): Promise<void> {
    const { clock, drained, onLost } = this.#parts;
    let pause: Duration = SHORTEST_PAUSE;
    try {
      for (let overruns = 0; !signal.aborted; ) {
        const began = clock.monotonic();
        const read = this.#round(connector);
        const took = clock.monotonic() - began;
        if (connector.overruns !== overruns && read < MAX_PER_ROUND) {
          overruns = connector.overruns;
          this.#countDropped(connector);
        }
        if (read < MAX_PER_ROUND) await drained?.({ until: began });
        pause = read > 0 ? SHORTEST_PAUSE : milliseconds(Math.min(LONGEST_PAUSE, pause * 2));
        const rest = took * PAUSE_FACTOR;
        await clock.sleep(milliseconds(read < MAX_PER_ROUND ? Math.max(pause, rest) : rest), signal);
      }
    } catch (error) {
      if (!signal.aborted) onLost?.(toAgentError(error));
    }
  }

  /** Reads some starts, then their details. @returns how many datagrams were read */
  #round(connector: ProcessConnector): number {
    const { sink, table, clock } = this.#parts;
    const starts: Start[] = [];
    const take = (event: ProcessEvent) => {
      if (event.what === EXEC) starts.push(event);
    };
    let read = 0;
    while (read < MAX_PER_ROUND && connector.read(take)) read += 1;
    const since = ({ nanoseconds }: Start) =>
      milliseconds(clock.monotonic() - (clock.now().getTime() - clock.fromKernel(nanoseconds).getTime()));
    const seen: NewProcess[] = [];
    const done = new Set<number>();
    let unresolved = 0;
    for (const start of starts.reverse()) {
      const process = done.has(start.pid) ? undefined : this.#see(start);
      const isFirst = !done.has(start.pid);
      done.add(start.pid);
      if (process === undefined) unresolved += 1;
      else if (isOwnProcess(process.pid, process.parentPid)) continue;
      else seen.push(process);
      if (!isFirst) continue;
      table?.started({
        pid: start.pid,
        executable: process?.executable,
        since: since(start),
        at: clock.fromKernel(start.nanoseconds).getTime(),
        parentPid: process?.parentPid,
        userId: process?.userId,
      });
    }
    if (unresolved > 0) sink.drop('starts', 'unresolved', unresolved);
    if (seen.length > 0) this.#emit(seen);
    return read;
  }

  /** @param newestFirst in the order in which arguments are read: the newest are most likely to be running */
  #emit(newestFirst: readonly NewProcess[]): void {
    const { commandLines, sink, table } = this.#parts;
    const isAsked = this.#pending + newestFirst.length <= MAX_PENDING;
    const asked = isAsked ? commandLines.read(newestFirst.map(askedOf)) : Promise.resolve([]);
    this.#hold(newestFirst.length);
    const emit = async () => {
      const answers = await asked;
      const started: ProcessStarted[] = [];
      for (const [index, process] of newestFirst.entries()) {
        const answer = answers[index];
        if (answer !== undefined && 'argv' in answer) table?.learn(process.pid, process.executable, answer.argv);
        if (isVisible(process, answer)) started.push(withArguments(process, answer));
      }
      if (started.length > 0) sink.accept('starts', started.reverse());
      const unresolved = newestFirst.length - started.length;
      if (unresolved > 0) sink.drop('starts', 'unresolved', unresolved);
    };
    this.#emissions.post(() => emit().finally(() => this.#hold(-newestFirst.length)), this.#parts.log);
  }

  #hold(change: number): void {
    this.#pending += change;
    this.#parts.heldStarts?.set(this.#pending);
  }

  /** @returns `undefined` when the process has exited */
  #see({ pid, nanoseconds }: Start): NewProcess | undefined {
    if (this.#proc.inode(pid) === undefined) return undefined; // the cheapest check, and most short-lived processes end here
    const stat = this.#proc.stat(pid);
    if (stat === undefined || stat.isDead) return undefined;
    const details = this.#proc.details(pid);
    if (details === undefined) return undefined;
    const { parentPid, startTicks } = stat;
    return { time: this.#parts.clock.fromKernel(nanoseconds), pid, parentPid, startTicks, ...details };
  }

  #countDropped(connector: ProcessConnector): void {
    const dropped = connector.takeDropped();
    if (dropped > 0) this.#parts.sink.drop('starts', 'kernel', dropped);
  }
}

/** A process that ended between the two lookups has neither a program nor arguments. */
const isVisible = ({ executable }: NewProcess, answer: CommandLine | undefined): boolean =>
  executable !== undefined ||
  answer === undefined ||
  ('argv' in answer ? answer.argv.length > 0 : answer.unread !== 'ended');
