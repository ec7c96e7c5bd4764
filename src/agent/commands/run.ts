import { readFileSync } from 'node:fs';
import { systemClock } from '../../core/base/clock.ts';
import { usedCopies } from '../../core/base/credential-copies.ts';
import { toAgentError } from '../../core/base/errors.ts';
import {
  AdjustableLevel,
  createLog,
  type LogDestination,
  logError,
  standardError,
  standardOutput,
} from '../../core/base/log.ts';
import { LogTap, RecentLines } from '../../core/base/log-tap.ts';
import { runServices } from '../../core/base/service.ts';
import { describeStall, StallClock } from '../../core/base/stall-clock.ts';
import { printable } from '../../core/base/text.ts';
import { VERSION } from '../../core/base/version.ts';
import { LookNow } from '../../core/base/waiting.ts';
import { readArguments, type World } from '../../core/command-line/command.ts';
import { agent } from '../agent.ts';
import { filesOf, type LocalSettings, readLocalConfiguration, refuseExampleHub } from '../config/local.ts';
import { exitAtOnce, sinceBoot } from '../linux/native/system-calls.ts';
import { type ServiceManager, takeServiceManager } from '../linux/self/service-manager.ts';
import { Defects } from './defects.ts';
import { type DryHub, type DryRun, prepareDryRun } from './dry-run.ts';
import { refuseForeignState } from './foreign-state.ts';

export const summary = 'Run the agent until SIGTERM; it logs to standard output.';
export const usage = `vakt run [--config FILE] [--dry-run]

  --config FILE   local configuration; default /etc/vakt/agent.json
  --dry-run       collect events and make messages, but print the messages to standard output instead of sending them: as
                  text on a terminal, otherwise one JSON object each. Needs no identity and no hub, does not touch an
                  installed agent's state, logs to standard error

SIGTERM and Ctrl-C end it; so does SIGHUP when its terminal is closed. As a service, SIGHUP makes it look at once for changed
keys, certificates, passwords and detection rules. Local settings are read only at the start.

Exit status: 0 after SIGTERM, 2 wrong usage, 70 other errors, 76 desired configuration (with strictStart), 77 secret
files, 78 local configuration.`;

/** Without a terminal that can be closed, SIGHUP is meant as a request to read changed files. */
export const ignoresHangUp = (args: readonly string[]): boolean => !args.includes('--dry-run') && !hasTerminal();

const LOOKS_NOW =
  'Got SIGHUP: looking for changed keys, certificates, passwords and detection rules, and for exposed files.';

/** @returns the exit status of contract §7 */
export async function run(args: readonly string[], world: World): Promise<number> {
  const { values } = readArguments(args, { config: { type: 'string' }, 'dry-run': { type: 'boolean' } });
  const isDry = values['dry-run'] === true;
  const destination = isDry ? standardError() : standardOutput();
  const manager = takeServiceManager(world.environment);
  let dryRun: DryRun | undefined;
  let isAbandoned = false;
  const abandoned = () => {
    isAbandoned = true;
  };
  let status: number;
  try {
    dryRun = isDry ? await prepareDryRun(values.config, world) : undefined;
    const { settings: local, warnings } = dryRun ?? readLocalConfiguration(values.config, world.environment);
    if (!isDry) refuseExampleHub(local, values.config);
    if (!isDry) await refuseForeignState(local, { configFile: values.config, signal: world.signal });
    const files = filesOf(local, values.config);
    const parts = { files, destination, manager, world, dryHub: dryRun?.hub, abandoned };
    status = await runAgent(local, { ...parts, settingWarnings: warnings });
  } catch (error) {
    status = fail(error, destination, manager);
  } finally {
    dryRun?.remove();
    await destination.flush?.();
  }
  if (isAbandoned) exitAtOnce(status);
  return status;
}

async function runAgent(
  local: LocalSettings,
  {
    files,
    destination,
    manager,
    world: { signal, onHangUp, environment },
    dryHub,
    abandoned,
    settingWarnings,
  }: {
    files: ReturnType<typeof filesOf>;
    destination: LogDestination;
    manager: ServiceManager;
    world: World;
    dryHub: DryHub | undefined;
    abandoned: () => void;
    settingWarnings: readonly string[];
  },
): Promise<number> {
  const tap = new LogTap(local.logging.diagnosticEventLevel);
  const level = new AdjustableLevel(local.logging.level);
  const recent = new RecentLines();
  const log = createLog({ level, destination, tap: [tap, recent] });
  const defects = new Defects(log);
  process.on('uncaughtException', defects.take);
  process.on('unhandledRejection', defects.take);
  const clock = new StallClock({ ...systemClock, sinceBoot });
  clock.onStall((stall) => {
    const { length, computed, during } = stall;
    log.warn(
      { heldUpMs: Math.round(length), computed, during: during?.replace(/^during /, ''), reason: describeStall(stall) },
      'The event loop was blocked; running again.',
    );
  });
  const lookNow = new LookNow(clock);
  const parts = { clock, files, log, tap, level, recent, manager, signal, lookNow, abandoned, settingWarnings };
  const services = defects.guard(agent(local, { ...parts, ...(dryHub === undefined ? {} : { dryHub }) }));
  log.info({ version: VERSION, pid: process.pid }, 'Vakt starts.');
  for (const warning of settingWarnings)
    log.warn({ file: files.configuration }, `Ignored an unknown setting: ${warning}`);
  const how = environment.INVOCATION_ID === undefined ? '' : ': systemctl restart vakt';
  const copied =
    Object.keys(usedCopies()).length === 0 ? '' : ", or changed files that systemd copies at the agent's start";
  const remedy = `To use changed settings${copied}, restart the agent${how}`;
  lookNow.on(() => log.info({ remedy }, LOOKS_NOW));
  onHangUp?.(lookNow.ask);
  await runServices(services, aborted(signal), log);
  log.info('Vakt has stopped.');
  return 0;
}

/**
 * Logs why the agent exits, whatever `logging.level` is: runbooks search for that line (contract §7). `systemctl
 * status` shows it, too, with the remedy.
 */
function fail(thrown: unknown, destination: LogDestination, manager: ServiceManager): number {
  const log = createLog({ level: 'error', destination });
  const error = toAgentError(thrown);
  logError(log, error);
  const { code, reason, message, remedy, id } = error;
  manager.notify(`STATUS=${printable(`${code}, ${reason}: ${message.replace(/\.$/, '')}. ${remedy} (${id})`)}`);
  if (error.id === 'INTERNAL') log.error({ err: thrown }, 'Details of the internal error.');
  return error.exitStatus;
}

/** Whether this process has a controlling terminal, even if its output is redirected: tty_nr of proc_pid_stat(5). */
function hasTerminal(): boolean {
  try {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[4] !== '0';
  } catch {
    return false;
  }
}

const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
