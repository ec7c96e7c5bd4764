import { spawn } from 'node:child_process';
import { createServer, type Server } from 'node:net';
import { systemClock } from '../../../src/core/base/clock.ts';
import { type Duration, hours, milliseconds, seconds } from '../../../src/core/base/duration.ts';
import type { Random } from '../scenario/random.ts';
import type { RecordSession } from './sessions.ts';
import { MARK, type Tally } from './tally.ts';

/** The load of a gateway, as in docs/cost.md, with more logins. */
const PER_DAY = { starts: 24_000, connections: 7_200, logins: 24 };
const DAY = hours(24);
/** Upper limit of the rate: more would be a load of its own even for a short day. */
const MAX_STARTS_PER_SECOND = 12;
/** Distinct commands, and hosts that are connected to. */
const COMMANDS = 50;
const HOSTS = 8;
/** The share of starts that have a number of their own. */
const NUMBERED = 0.2;
/** Load that fills each bounded cache of the agent: of evaluated command lines, and of sockets. */
const FILLING = { starts: 4_096, connections: 12_288 };
/** How many of them run at once. */
const FILLING_AT_ONCE = 64;
/** How often due events are checked. */
const TURN = milliseconds(250);

export interface GatewayOptions {
  readonly tally: Tally;
  readonly random: Random;
  /** Factor by which a simulated day is faster than a real one. */
  readonly speed: number;
  /** Minimum run time of programs, so that a source without audit can see each. 0: they exit immediately. */
  readonly programsRun: Duration;
  readonly connections: boolean;
  /** If set, program starts are reported here instead of executed. */
  readonly startsLog?: StartsLog | undefined;
  /** How logins are recorded. If omitted, there are none. */
  readonly recordSession?: RecordSession | undefined;
}

/** A log that the agent reads. */
export interface StartsLog {
  /** A program has started, with this argument. Its end need not be written yet. */
  started(what: string): void;
  /** Writes all that is still to be written. */
  complete(): Promise<void>;
}

/** A gateway's activity on a working day: real programs start, connect and exit. Logins are only recorded. */
export class GatewayLoad {
  readonly #options: GatewayOptions;
  readonly #running = new Set<Promise<void>>();
  readonly #server: Server | undefined;
  /** Events that are overdue. */
  readonly #due = { starts: 0, connections: 0, logins: 0 };
  #numbers = 0;
  #logins = 0;

  constructor(options: GatewayOptions) {
    this.#options = options;
    if (options.connections) {
      this.#server = createServer((socket) => {
        socket.on('error', () => {});
        socket.end();
      });
      this.#server.listen(0, '127.0.0.1');
    }
  }

  /** An ordinary working day, until `signal` aborts. */
  async live(signal: AbortSignal): Promise<void> {
    const { speed } = this.#options;
    const perSecond = (ofDay: number) => (ofDay * speed) / (DAY / 1_000);
    const slower = Math.min(1, MAX_STARTS_PER_SECOND / perSecond(PER_DAY.starts));
    const due = this.#due;
    let before: number = systemClock.monotonic();
    while (!signal.aborted) {
      await systemClock.sleep(TURN, signal);
      const now = systemClock.monotonic();
      for (const what of ['starts', 'connections', 'logins'] as const)
        due[what] += (perSecond(PER_DAY[what]) * slower * (now - before)) / 1_000;
      before = now;
      for (; due.starts >= 1; due.starts -= 1) this.start();
      for (; due.connections >= 1; due.connections -= 1) this.connect();
      for (; due.logins >= 1; due.logins -= 1) this.logIn();
    }
  }

  /** Number of starts in a burst, as in a package installation. */
  burst(count: number): void {
    for (let started = 0; started < count; started += 1) this.start();
  }

  /** As many new items as the agent caches at most. */
  async fillMemories(signal: AbortSignal): Promise<void> {
    const fill = async (count: number, act: () => void) => {
      for (let done = 0; done < count && !signal.aborted; done += FILLING_AT_ONCE) {
        for (let now = 0; now < FILLING_AT_ONCE; now += 1) act();
        await this.settle();
      }
    };
    await fill(FILLING.starts, () => this.start({ isNumbered: true }));
    if (this.#server !== undefined) await fill(FILLING.connections, () => this.connect());
  }

  /** @param isNumbered whether it has a number of its own; by default some have */
  start({ isNumbered = this.#options.random.chance(NUMBERED) } = {}): void {
    const { tally, random, programsRun, startsLog } = this.#options;
    const what = `${MARK}${isNumbered ? `number-${this.#numbers++}` : `command-${random.between(1, COMMANDS)}`}`;
    if (startsLog !== undefined) {
      startsLog.started(what);
      tally.made('ProcessCreate', what);
      return;
    }
    // cat waits for the end of its input before it misses the file of this name.
    if (programsRun === 0) this.#run(what, '/bin/true', [what]);
    else this.#run(what, '/bin/cat', ['-', what]);
  }

  /** Has a program connect to one of some hosts, if connections are wanted. */
  connect(): void {
    const { tally, random } = this.#options;
    const address = this.#server?.address();
    if (address == null || typeof address === 'string') return;
    const what = `${MARK}host-${random.between(1, HOSTS)}`;
    tally.made('ConnectionCreate', what);
    // Its input is a socket, so that bash considers itself a remote shell and reads ~/.bashrc.
    this.#run(what, '/bin/bash', ['--norc', '-c', `exec 3<>/dev/tcp/127.0.0.1/${address.port}`, what]);
  }

  /** Simulates a login and a logout, if logins are enabled. */
  logIn(): void {
    const { tally, recordSession } = this.#options;
    if (recordSession === undefined) return;
    const number = this.#logins++;
    const user = `${MARK}login-${number}`;
    recordSession(user, `pts/${100 + (number % 50)}`);
    for (const operation of ['Login', 'Logout']) tally.made('Login', `${user} ${operation}`);
  }

  /** Resolves when every program has exited and was reported. */
  async settle(): Promise<void> {
    await Promise.all(this.#running);
    await this.#options.startsLog?.complete();
  }

  async end(): Promise<void> {
    await this.settle();
    this.#server?.close();
  }

  #run(what: string, program: string, args: readonly string[]): void {
    const { tally, programsRun } = this.#options;
    const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'ignore'] });
    const running = new Promise<void>((resolve) => {
      child.on('spawn', () => tally.made('ProcessCreate', what));
      child.stdin.on('error', () => {}); // it has ended
      child.on('error', () => resolve()); // it could not be started
      child.on('exit', () => resolve());
    }).finally(() => this.#running.delete(running));
    this.#running.add(running);
    void systemClock.sleep(programsRun).then(() => child.stdin.end());
  }
}

/** Long enough for the process connector, which is read 20 times per second, on a loaded machine. */
export const RUN_FOR_CONNECTOR = seconds(4);
/** Long enough for two polls of /proc, which happen every second, or less often with many processes. */
export const RUN_FOR_POLLING = seconds(10);
