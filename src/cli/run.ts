import { agent } from '../agent.ts';
import { systemClock } from '../base/clock.ts';
import { Defects } from '../base/defects.ts';
import { toAgentError } from '../base/errors.ts';
import {
  AdjustableLevel,
  createLog,
  type LogDestination,
  logError,
  standardError,
  standardOutput,
} from '../base/log.ts';
import { LogTap } from '../base/log-tap.ts';
import { printable } from '../base/printable.ts';
import { RecentLines } from '../base/recent-lines.ts';
import { runServices } from '../base/service.ts';
import { filesOf, type LocalSettings, readLocalSettings } from '../config/local.ts';
import { type ServiceManager, takeServiceManager } from '../linux/service-manager.ts';
import { VERSION } from '../version.ts';
import { readArguments, type World } from './command.ts';
import { type DryHub, type DryRun, prepareDryRun } from './dry-run.ts';

export const summary = 'Run the agent until SIGTERM; it logs to standard output.';
export const usage = `vakt run [--config FILE] [--dry-run]

  --config FILE   local configuration; /etc/vakt/agent.json when not given
  --dry-run       collect and pack for real, but print the messages to standard output instead of sending them: readable
                  on a terminal, else a JSON object each. Needs no identity and no hub, leaves an installed agent's
                  state alone, logs to standard error

Exit status: 0 after SIGTERM, 2 wrong usage, 70 other, 76 desired configuration (with strictStart), 77 secret files,
78 local configuration.`;

/** @returns the exit status of contract §7 */
export async function run(args: readonly string[], world: World): Promise<number> {
  const { values } = readArguments(args, { config: { type: 'string' }, 'dry-run': { type: 'boolean' } });
  const isDry = values['dry-run'] === true;
  const destination = isDry ? standardError() : standardOutput();
  const manager = takeServiceManager(world.environment);
  let dryRun: DryRun | undefined;
  try {
    dryRun = isDry ? await prepareDryRun(values.config, world) : undefined;
    const local = dryRun?.local ?? readLocalSettings(values.config, world.environment);
    const files = filesOf(values.config, world.environment, { identity: isDry ? 'optional' : 'required' });
    return await runAgent(local, { files, destination, manager, signal: world.signal, dryHub: dryRun?.hub });
  } catch (error) {
    return fail(error, destination, manager);
  } finally {
    dryRun?.remove();
  }
}

async function runAgent(
  local: LocalSettings,
  {
    files,
    destination,
    manager,
    signal,
    dryHub,
  }: {
    files: ReturnType<typeof filesOf>;
    destination: LogDestination;
    manager: ServiceManager;
    signal: AbortSignal;
    dryHub: DryHub | undefined;
  },
): Promise<number> {
  const tap = new LogTap(local.logging.diagnosticEventLevel);
  const level = new AdjustableLevel(local.logging.level);
  const recent = new RecentLines();
  const log = createLog({ level, destination, tap: [tap, recent] });
  const defects = new Defects(log);
  process.on('uncaughtException', defects.take);
  process.on('unhandledRejection', defects.take);
  const parts = { clock: systemClock, files, log, tap, level, recent, manager, signal };
  const services = defects.guard(agent(local, { ...parts, ...(dryHub === undefined ? {} : { dryHub }) }));
  log.info({ version: VERSION, pid: process.pid }, 'Vakt starts.');
  await runServices(services, aborted(signal), log);
  log.info('Vakt has stopped.');
  return 0;
}

/**
 * Says why the agent ends, whatever `logging.level` is: runbooks search for that line (contract §7). `systemctl status`
 * has it, too, with the remedy.
 */
function fail(thrown: unknown, destination: LogDestination, manager: ServiceManager): number {
  const log = createLog({ level: 'error', destination });
  const error = toAgentError(thrown);
  logError(log, error);
  const { code, reason, message, remedy, id } = error;
  manager.tell(`STATUS=${printable(`${code}, ${reason}: ${message.replace(/\.$/, '')}. ${remedy} (${id})`)}`);
  if (error.id === 'INTERNAL') log.error({ err: thrown }, 'This is the defect behind it.');
  return error.exitStatus;
}

const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
