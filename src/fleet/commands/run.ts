import { systemClock } from '../../core/base/clock.ts';
import { AgentError } from '../../core/base/errors.ts';
import { UsageError, type World } from '../../core/command-line/command.ts';
import { didYouMean } from '../../core/command-line/did-you-mean.ts';
import { Network } from '../../core/network/network.ts';
import type { SettingNames } from '../../core/network/setting-names.ts';
import { readCredential } from '../credential.ts';
import { HubService } from '../service.ts';
import { ServiceFailure } from '../service-failure.ts';
import { call } from './call.ts';
import { configure } from './configure.ts';
import { create } from './create.ts';
import { Report } from './report.ts';
import { ALL, status } from './status.ts';
import { choiceOf, type FleetValues, type Task } from './task.ts';

type Run = (task: Task, argument: string | undefined) => Promise<number>;

/** Each command with the options that not all commands have. */
const COMMANDS: Readonly<Record<string, { readonly run: Run; readonly options: readonly (keyof FleetValues)[] }>> = {
  create: {
    run: create,
    options: ['tag', 'configuration', 'overwrite', 'key-directory', 'twin-object-name', 'dry-run', 'yes'],
  },
  configure: { run: configure, options: ['wait', 'twin-object-name', 'dry-run', 'yes'] },
  status: { run: status, options: ['degraded', 'paused', 'silent', 'alerts', 'outdated', 'json', 'csv'] },
  call: { run: call, options: ['payload', 'timeout', 'json', 'dry-run', 'yes'] },
};

const TAKES_ARGUMENT = ['configure', 'call'];

/** @throws {UsageError} */
export async function runFleet(
  { name, argument, values }: { name: string; argument: string | undefined; values: FleetValues },
  world: World,
): Promise<number> {
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    const names = Object.keys(COMMANDS);
    throw new UsageError(`"${name}" is not one of ${names.join(', ')}${didYouMean(name, names)}`);
  }
  if (argument !== undefined && !TAKES_ARGUMENT.includes(name))
    throw new UsageError(`unexpected argument "${argument}"; devices are named by --device`);
  refuseOthers(name, command.options, values);
  const choice = choiceOf(values, name === 'status' ? ALL : undefined);
  const { 'connection-string-file': file, hub: hostName } = values;
  const hub = await HubService.open({
    credential: readCredential({ file, hostName }, world.environment),
    network: networkOf(values, world),
    clock: systemClock,
    signal: world.signal,
  });
  const report = new Report(world, systemClock);
  const isDryRun = values['dry-run'] === true;
  try {
    const moduleId = values.module ?? 'azureiotsecurity';
    return await command.run({ hub, choice, moduleId, isDryRun, values, world, report }, argument);
  } catch (error) {
    throw error instanceof ServiceFailure ? ofQuery(error) : error;
  } finally {
    hub.close();
  }
}

const NAMES: SettingNames = {
  trustedCaFile: '--trusted-ca-file',
  proxy: '--proxy',
  proxyPasswordFile: '--proxy-password-file',
  environment: 'the environment',
  retry: 'run the command again',
};

/** @throws {UsageError}; AgentError as of `Network` */
function networkOf(values: FleetValues, { environment }: World): Network {
  const { 'trusted-ca-file': trustedCaFile, proxy, 'proxy-password-file': proxyPasswordFile } = values;
  if (proxyPasswordFile !== undefined && proxy === undefined)
    throw new UsageError('--proxy-password-file needs --proxy http://USER@HOST:PORT');
  return new Network({ trustedCaFile, proxy, proxyPasswordFile, environment, names: NAMES, clock: systemClock });
}

/** Failures of single devices are reported per device; any other failure is that of a query. */
function ofQuery({ kind, message }: ServiceFailure): AgentError {
  if (kind === 'refused') {
    const remedy =
      'Correct the condition of --where; see https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-query-language';
    return new AgentError('QUERY_REFUSED', `the hub refuses the query: ${message}`, remedy);
  }
  const remedy = 'Run the command again later; finished devices are skipped.';
  return new AgentError('HUB_MISBEHAVES', `the hub cannot answer a query: ${message}`, remedy);
}

/** Rejects options of other commands, since ignoring one would mislead the user. */
function refuseOthers(name: string, own: readonly (keyof FleetValues)[], values: FleetValues): void {
  const allOptions = Object.values(COMMANDS).flatMap(({ options }) => options);
  const foreignOption = allOptions.find((option) => values[option] !== undefined && !own.includes(option));
  if (foreignOption !== undefined) throw new UsageError(`"vakt fleet ${name}" has no option --${foreignOption}`);
}
