import { isatty } from 'node:tty';
import { systemClock } from '../base/clock.ts';
import { type Duration, seconds } from '../base/duration.ts';
import { AgentError, messageOf, toAgentError } from '../base/errors.ts';
import { isJournal, journalError } from '../base/journal.ts';
import { counted, printable, shellWord } from '../base/text.ts';
import { VERSION } from '../base/version.ts';
import { type Command, table, UsageError, type World } from './command.ts';
import { didYouMean } from './did-you-mean.ts';
import { Output } from './output.ts';

/**
 * Asks on standard error, and reads the answer from standard input. Anything but yes, including a signal, counts as no.
 */
export async function confirm(question: string, signal: AbortSignal): Promise<boolean> {
  const { createInterface } = await import('node:readline/promises');
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const closed = new Promise<string>((resolve) => lines.once('close', () => resolve('')));
    const answer = await Promise.race([lines.question(`${printable(question)} [y/N] `, { signal }), closed]);
    return /^y(?:es)?$/i.test(answer.trim());
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  } finally {
    lines.close();
  }
}

/** Loads a command when it is called: `vakt status` does not need the hub's SDK. */
export type Commands = Readonly<Record<string, () => Promise<Command>>>;

/** A program that consists of commands. */
export interface Program {
  /** In the order of the help. */
  readonly commands: Commands;
  /** Commands of a clone that this program lacks: the error of each. */
  readonly elsewhere?: Readonly<Record<string, () => AgentError>>;
  /** Ends the process without waiting for its threads. Called in the event `exit`. */
  readonly exitAtOnce: (status: number) => void;
}

/** Runs the command that the arguments name, and ends the process with its exit status. */
export async function runProgram(program: Program): Promise<never> {
  const signals = new Signals(program.exitAtOnce);
  const terminal = isatty(1);
  const errors = new Output(
    () => process.stderr,
    () => {},
  );
  const out = new Output(
    () => process.stdout,
    (why) => {
      if (why !== undefined) errors.line(printable(`vakt: standard output cannot be written: ${why}`));
      signals.stop.abort();
    },
    (lines) =>
      errors.line(`vakt: ${counted(lines, 'line was', 'lines were')} left out because standard output was not read.`),
  );
  const { signal } = signals.stop;
  const status = await new CommandLine(program, signals).run(process.argv.slice(2), {
    stdout: out.line,
    stderr: errors.line,
    written: () => out.flush(),
    environment: process.env,
    signal,
    terminal,
    ...(isatty(0) && isatty(2) ? { confirm: (question: string) => confirm(question, signal) } : {}),
    ...(terminal && process.stdout.columns > 0 ? { columns: process.stdout.columns } : {}),
  });
  const failed = await out.flush();
  await errors.flush();
  process.exit(failed ?? status);
}

class CommandLine {
  readonly #program: Program;
  readonly #signals: Signals;

  constructor(program: Program, signals: Signals) {
    this.#program = program;
    this.#signals = signals;
  }

  /** @returns the exit status */
  async run([name = '--help', ...args]: readonly string[], world: World): Promise<number> {
    try {
      switch (name) {
        case 'version':
        case '--version':
          world.stdout(`vakt ${VERSION}`);
          return 0;
        case 'help':
        case '--help':
        case '-h':
          for (const line of await this.#overview()) world.stdout(line);
          return 0;
        default:
          return await this.#call(name, args, world);
      }
    } catch (thrown) {
      if (world.signal.aborted && thrown === world.signal.reason) return 1; // Ctrl-C needs no explanation
      const error = toAgentError(thrown);
      // The sentence of contract §7 is only for the log of the agent.
      const problem = name === 'run' ? error.line : `vakt ${name}: ${error.message}`;
      for (const line of [problem, `${remedyFor(error, [name, ...args])} (${error.id})`])
        printError(printable(line), world);
      if (thrown !== error) for (const line of stackOf(thrown)) printError(printable(line), world);
      return name === 'run' ? error.exitStatus : 1;
    }
  }

  async #call(name: string, args: readonly string[], world: World): Promise<number> {
    const { commands, elsewhere = {} } = this.#program;
    if (Object.hasOwn(elsewhere, name)) throw elsewhere[name]?.();
    if (!Object.hasOwn(commands, name)) {
      const known = [...Object.keys(commands), 'version', '--help', '--version'];
      printError(
        `vakt: "${printable(name)}" is not a command${didYouMean(name, known) || ';'} "vakt --help" lists them.`,
        world,
      );
      return 2;
    }
    const command = await this.#load(name);
    if (args.includes('--help') || args.includes('-h')) {
      world.stdout(`${command.summary}\n\nusage: ${command.usage}`);
      return 0;
    }
    const ignoresHangUp = command.ignoresHangUp?.(args) === true;
    const { onHangUp, stop } = this.#signals;
    if (!ignoresHangUp) onHangUp(() => stop.abort());
    try {
      return await command.run(args, ignoresHangUp ? { ...world, onHangUp } : world);
    } catch (thrown) {
      if (!(thrown instanceof UsageError)) throw thrown;
      printError(`vakt ${name}: ${printable(thrown.message)}`, world);
      for (const line of synopsis(name, command.usage)) world.stderr(line);
      return 2;
    }
  }

  /** @throws {AgentError} INTERNAL */
  async #load(name: string): Promise<Command> {
    try {
      const command = await this.#program.commands[name]?.();
      if (command !== undefined) return command;
      throw new Error('there is no such command');
    } catch (cause) {
      const remedy = 'Install Vakt again: a part of it is missing or does not fit this system.';
      throw new AgentError('INTERNAL', `cannot load "vakt ${name}": ${messageOf(cause)}`, remedy, { cause });
    }
  }

  async #overview(): Promise<string[]> {
    const rows: string[][] = [];
    for (const name of Object.keys(this.#program.commands))
      rows.push([`  vakt ${name}`, (await this.#load(name)).summary]);
    rows.push(['  vakt version', 'Print the version.']);
    return ['Vakt, the security agent of an IoT device.', '', ...table(rows), '', '"vakt COMMAND --help" says more.'];
  }
}

/** A terminal sends Ctrl-C to all its processes, and npm or the demo forward it: signals within this time count as one. */
const REPEAT_WINDOW = seconds(1);

/** SIGINT and SIGTERM stop the command, and end the process if they are repeated. */
class Signals {
  readonly stop = new AbortController();
  readonly #exitAtOnce: Program['exitAtOnce'];
  #requestedAt: Duration | undefined;
  /**
   * SIGHUP never forces the exit: when a terminal is closed, the shell and the kernel both send it. It waits until the command
   * is loaded, which may ignore it.
   */
  #isHungUp = false;
  #hangUp = (): void => {
    this.#isHungUp = true;
  };

  constructor(exitAtOnce: Program['exitAtOnce']) {
    this.#exitAtOnce = exitAtOnce;
    for (const [signal, number] of Object.entries({ SIGINT: 2, SIGTERM: 15 })) {
      process.on(signal, () => {
        const now = systemClock.monotonic();
        this.#requestedAt ??= now;
        if (now - this.#requestedAt > REPEAT_WINDOW) this.#exitUnclean(128 + number); // a second request
        this.stop.abort();
      });
    }
    process.on('SIGHUP', () => this.#hangUp());
  }

  readonly onHangUp = (listener: () => void): void => {
    this.#hangUp = listener;
    if (this.#isHungUp) listener();
  };

  /** Exits without a clean stop, and, after the listeners of `exit`, without waiting for threads, as Node would. */
  #exitUnclean(status: number): void {
    process.on('exit', this.#exitAtOnce);
    process.exit(status);
  }
}

/** The first paragraph of the usage: an error below a whole page of options would be overlooked. */
function synopsis(name: string, usage: string): string[] {
  const [first = ''] = usage.split('\n\n', 1);
  return [`usage: ${first}`, ...(first === usage ? [] : [`"vakt ${name} --help" explains the options.`])];
}

/** In the journal, lines without a priority would count as information. */
const printError = (text: string, { stderr }: World): void => stderr(isJournal(2) ? journalError(text) : text);

/** If the user lacks the permission, the remedy is the same command with sudo. */
function remedyFor({ id, remedy }: AgentError, args: readonly string[]): string {
  if (id !== 'AGENT_ACCESS_DENIED' || process.geteuid?.() === 0) return remedy;
  return `Use: sudo vakt ${args.map((arg) => (/^[\w./=-]+$/.test(arg) ? arg : shellWord(arg))).join(' ')}`;
}

const stackOf = (thrown: unknown): string[] => (thrown instanceof Error ? (thrown.stack ?? '').split('\n') : []);
