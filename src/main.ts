#!/usr/bin/env -S node --max-semi-space-size=1 --single-threaded --heap-growing-percent=50 --disable-warning=DEP0169 --inspect-port=192.0.2.1:1024
import './core/base/no-inspector.ts'; // must be first, see there
import './agent/hub/memory.ts'; // must precede modules that load the SDK, see there
import { isatty } from 'node:tty';
import { exitAtOnce } from './agent/linux/native/exit-at-once.ts';
import { systemClock } from './core/base/clock.ts';
import { counted } from './core/base/counted.ts';
import { type Duration, seconds } from './core/base/duration.ts';
import { AgentError, messageOf, toAgentError } from './core/base/errors.ts';
import { isJournal, journalError } from './core/base/journal.ts';
import { printable } from './core/base/printable.ts';
import { VERSION } from './core/base/version.ts';
import { type Command, table, UsageError, type World } from './core/command-line/command.ts';
import { confirm } from './core/command-line/confirm.ts';
import { didYouMean } from './core/command-line/did-you-mean.ts';
import { Output } from './core/command-line/output.ts';

/** Modules are loaded on demand: `vakt status` does not need the hub's SDK. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  run: () => import('./agent/commands/run.ts'),
  demo: () => import('./emulator/commands/demo.ts'),
  emulator: () => import('./emulator/commands/emulator.ts'),
  fleet: () => import('./fleet/commands/fleet.ts'),
  check: () => import('./agent/commands/check.ts'),
  collect: () => import('./agent/commands/collect.ts'),
  events: () => import('./agent/commands/events.ts'),
  status: () => import('./agent/commands/status.ts'),
  'support-bundle': () => import('./agent/commands/support-bundle.ts'),
  baseline: () => import('./agent/commands/baseline.ts'),
  alerts: () => import('./agent/commands/alerts.ts'),
  rules: () => import('./agent/commands/rules.ts'),
  posture: () => import('./agent/commands/posture.ts'),
  report: () => import('./agent/commands/report.ts'),
  'verify-chain': () => import('./agent/commands/verify-chain.ts'),
  'remove-rules': () => import('./agent/commands/remove-rules.ts'),
  'make-code-cache': () => import('./agent/commands/make-code-cache.ts'),
};

async function main([name = '--help', ...args]: readonly string[], world: World): Promise<number> {
  if (name === 'version' || name === '--version') {
    world.stdout(`vakt ${VERSION}`);
    return 0;
  }
  try {
    if (name === 'help' || name === '--help' || name === '-h') {
      for (const line of await overview()) world.stdout(line);
      return 0;
    }
    if (!Object.hasOwn(COMMANDS, name)) {
      const known = [...Object.keys(COMMANDS), 'version', '--help', '--version'];
      printError(
        `vakt: "${printable(name)}" is not a command${didYouMean(name, known) || ';'} "vakt --help" lists them.`,
        world,
      );
      return 2;
    }
    return await call(name, args, world);
  } catch (thrown) {
    if (world.signal.aborted && thrown === world.signal.reason) return 1; // Ctrl-C needs no explanation
    const error = toAgentError(thrown);
    for (const line of [error.line, `${error.remedy} (${error.id})`]) printError(printable(line), world);
    if (thrown !== error) for (const line of stackOf(thrown)) printError(printable(line), world);
    return name === 'run' ? error.exitStatus : 1;
  }
}

async function call(name: string, args: readonly string[], world: World): Promise<number> {
  const command = await load(name);
  if (args.includes('--help') || args.includes('-h')) {
    world.stdout(`${command.summary}\n\nusage: ${command.usage}`);
    return 0;
  }
  const ignoresHangUp = command.ignoresHangUp?.(args) === true;
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

/** The first paragraph of the usage: below a whole page of options, an error is overlooked. */
function synopsis(name: string, usage: string): string[] {
  const [first = ''] = usage.split('\n\n', 1);
  return [`usage: ${first}`, ...(first === usage ? [] : [`"vakt ${name} --help" explains the options.`])];
}

/** @throws {AgentError} INTERNAL */
async function load(name: string): Promise<Command> {
  try {
    const command = await COMMANDS[name]?.();
    if (command !== undefined) return command;
    throw new Error('there is no such command');
  } catch (cause) {
    const remedy = 'Install Vakt again: a part of it is missing or does not fit this system.';
    throw new AgentError('INTERNAL', `cannot load "vakt ${name}": ${messageOf(cause)}`, remedy, { cause });
  }
}

async function overview(): Promise<string[]> {
  const rows: string[][] = [];
  for (const name of Object.keys(COMMANDS)) rows.push([`  vakt ${name}`, (await load(name)).summary]);
  rows.push(['  vakt version', 'Print the version.']);
  return ['Vakt, the security agent of an IoT device.', '', ...table(rows), '', '"vakt COMMAND --help" says more.'];
}

/** In the journal, lines without a priority would count as information. */
const printError = (text: string, { stderr }: World): void => stderr(isJournal(2) ? journalError(text) : text);

const stackOf = (thrown: unknown): string[] => (thrown instanceof Error ? (thrown.stack ?? '').split('\n') : []);

/** A terminal sends Ctrl-C to all its processes, and npm or the demo forward it: signals within this time count as one. */
const REPEAT_WINDOW = seconds(1);

const stop = new AbortController();
let requestedAt: Duration | undefined;
for (const [signal, number] of Object.entries({ SIGINT: 2, SIGTERM: 15 })) {
  process.on(signal, () => {
    const now = systemClock.monotonic();
    requestedAt ??= now;
    if (now - requestedAt > REPEAT_WINDOW) exitUnclean(128 + number); // a second request
    stop.abort();
  });
}

/** Exits without a clean stop, and, after the listeners of `exit`, without waiting for threads, as Node would. */
function exitUnclean(status: number): void {
  process.on('exit', exitAtOnce);
  process.exit(status);
}

/**
 * SIGHUP never forces the exit: when a terminal is closed, the shell and the kernel both send it. It waits until the command is
 * loaded, which may ignore it.
 */
let isHungUp = false;
let hangUp = (): void => {
  isHungUp = true;
};
process.on('SIGHUP', () => hangUp());
const onHangUp = (listener: () => void): void => {
  hangUp = listener;
  if (isHungUp) listener();
};

const terminal = isatty(1);
const errors = new Output(
  () => process.stderr,
  () => {},
);
const out = new Output(
  () => process.stdout,
  (why) => {
    if (why !== undefined) errors.line(printable(`vakt: standard output cannot be written: ${why}`));
    stop.abort();
  },
  (lines) =>
    errors.line(`vakt: ${counted(lines, 'line was', 'lines were')} left out because nobody read standard output.`),
);
async function runProgram(): Promise<never> {
  const status = await main(process.argv.slice(2), {
    stdout: out.line,
    stderr: errors.line,
    written: () => out.flush(),
    environment: process.env,
    signal: stop.signal,
    terminal,
    ...(isatty(0) && isatty(2) ? { confirm: (question: string) => confirm(question, stop.signal) } : {}),
    ...(terminal && process.stdout.columns > 0 ? { columns: process.stdout.columns } : {}),
  });
  const failed = await out.flush();
  await errors.flush();
  process.exit(failed ?? status);
}

// Not awaited: the bundle is no ES module.
void runProgram();
