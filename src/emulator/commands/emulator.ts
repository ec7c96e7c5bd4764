import { resolve } from 'node:path';
import { messageOf } from '../../core/base/errors.ts';
import { readArguments, UsageError, type World } from '../../core/command-line/command.ts';
import { didYouMean } from '../../core/command-line/did-you-mean.ts';
import { HUB_ID_PROBLEM, isHubId } from '../../core/contract/hub-names.ts';
import { socketPathProblem } from '../../core/network/unix-socket.ts';
import type { RunningPage } from '../command.ts';
import type { HubEmulator } from '../hub.ts';

export const summary = 'Run a local IoT Hub, for tests and experiments.';
export const usage = `vakt emulator [--print-config KIND] [--directory DIR] [--device ID] [--module ID] [--port N] [OPTION ...]

  --print-config KIND  write and print an agent.json for this kind of identity; default moduleKey, which is not printed
      moduleKey, connectionString, moduleCertificate    with the module's key or certificate
      deviceKey, deviceCertificate                      with the device's; the agent adds its module by the REST API
      provisioning       starts a Device Provisioning Service, too (HTTPS, MQTT, WebSocket)
      edge               starts the workload API of an IoT Edge, too (Unix socket; HTTP with --service-port)
      identityService    starts an IoT Identity Service, too (three Unix sockets)
  --directory DIR      where to write agent.json for "vakt run", ca.pem, keys and certificates; default ./vakt-emulator
  --port N             port of MQTT over TLS; default any free one, as for the other ports
  --rest-port N        port of the REST API (HTTPS): devices, modules, twins, queries and methods; for "vakt fleet"
  --simulate N         the hub has N further devices without modules, sim-000001 …, with tags.site from 1 to 10
  --websocket-port N   port of MQTT over WebSocket, and of the REST API beside it
  --page-port N        port of the page that shows what the agent does; default any free one
  --no-page            do not serve the page
  --control-port N     port of the control API (read messages, patch the twin, change devices, inject faults)
  --service-port N     port of the service beside the hub
  --proxy-port N       runs an HTTP proxy, too, which leads ports 8883 and 443 of the hub's name here; 0 selects a free one
  --proxy-user NAME    the proxy demands this user, with the password in proxy.password
  --record FILE        append each message to this file, a line of JSON with body and properties; see "vakt verify-chain"
  --address IP         where the hub listens, 127.0.0.1 or ::1; default 127.0.0.1
  --device ID          device id, also the registration id; default device1
  --module ID          module id; default azureiotsecurity`;

export async function run(args: readonly string[], { stdout, signal }: World): Promise<number> {
  const { values } = readArguments(args, {
    'print-config': { type: 'string' },
    directory: { type: 'string', default: 'vakt-emulator' },
    port: { type: 'string', default: '0' },
    'rest-port': { type: 'string', default: '0' },
    'websocket-port': { type: 'string', default: '0' },
    'control-port': { type: 'string', default: '0' },
    ...PAGE_OPTIONS,
    'proxy-port': { type: 'string' },
    'proxy-user': { type: 'string' },
    record: { type: 'string' },
    simulate: { type: 'string', default: '0' },
    address: { type: 'string', default: '127.0.0.1' },
    'service-port': { type: 'string', default: '0' },
    device: { type: 'string', default: 'device1' },
    module: { type: 'string', default: 'azureiotsecurity' },
  });
  const ports = {
    port: port('--port', values.port),
    restPort: port('--rest-port', values['rest-port']),
    webSocketPort: port('--websocket-port', values['websocket-port']),
    controlPort: port('--control-port', values['control-port']),
    servicePort: port('--service-port', values['service-port']),
  };
  const kind = kindOf(values['print-config'] ?? 'moduleKey');
  const address = ADDRESSES.find((known) => known === values.address);
  if (address === undefined) throw new UsageError(`--address takes 127.0.0.1 or ::1, not "${values.address}"`);
  const proxy = proxyOptions(values['proxy-port'], values['proxy-user']);
  const openPage = pageOpener(values);
  checkId('--device', values.device);
  checkId('--module', values.module);
  checkSocketPaths(values.directory);
  const { runEmulator, StartError } = await import('../command.ts');
  const options = {
    ...ports,
    ...proxy,
    address,
    kind,
    printConfig: values['print-config'] !== undefined,
    deviceId: values.device,
    moduleId: values.module,
    directory: values.directory,
    record: values.record,
    openPage,
    simulated: simulatedDevices(values.simulate),
  };
  try {
    await runEmulator(options, stdout, signal);
  } catch (error) {
    throw error instanceof StartError ? new UsageError(error.message) : error;
  }
  return 0;
}

function checkId(option: string, id: string): void {
  if (!isHubId(id)) throw new UsageError(`${option} ${HUB_ID_PROBLEM}; it is "${id}"`);
}

/** The longest path of a socket that the emulator, or an agent with its agent.json, creates in the directory. */
const LONGEST_SOCKET = 'aziot/identityd.sock';

function checkSocketPaths(directory: string): void {
  const problem = socketPathProblem(resolve(directory, LONGEST_SOCKET));
  if (problem !== undefined)
    throw new UsageError(`--directory is too long: ${LONGEST_SOCKET} in it ${problem}; give a shorter one`);
}

/** The kinds of identity (contract §1). Repeated here, so that the help does not load the emulator. */
const KINDS = [
  'moduleKey',
  'connectionString',
  'moduleCertificate',
  'deviceKey',
  'deviceCertificate',
  'provisioning',
  'edge',
  'identityService',
] as const;

function kindOf(text: string): (typeof KINDS)[number] {
  const kind = KINDS.find((known) => known === text);
  if (kind === undefined)
    throw new UsageError(`--print-config takes one of ${KINDS.join(', ')}, not "${text}"${didYouMean(text, KINDS)}`);
  return kind;
}

const ADDRESSES = ['127.0.0.1', '::1'] as const;

function proxyOptions(portText: string | undefined, proxyUser: string | undefined) {
  if (portText === undefined) {
    if (proxyUser !== undefined) throw new UsageError('--proxy-user needs --proxy-port');
    return {};
  }
  if (proxyUser?.includes(':')) throw new UsageError('--proxy-user takes a name without ":"');
  return { proxyPort: port('--proxy-port', portText), proxyUser };
}

/** Options of the page, for the commands that have one. */
export const PAGE_OPTIONS = { 'page-port': { type: 'string' }, 'no-page': { type: 'boolean' } } as const;

/**
 * A function that loads and opens the page; `undefined` if the page is disabled.
 *
 * @throws {UsageError} for an invalid port, or a port together with --no-page
 */
export function pageOpener(values: {
  readonly 'page-port'?: string | undefined;
  readonly 'no-page'?: boolean | undefined;
}): ((hub: HubEmulator) => Promise<RunningPage>) | undefined {
  const { 'page-port': text, 'no-page': isOff = false } = values;
  if (isOff && text !== undefined) throw new UsageError('--page-port and --no-page exclude each other');
  const number = port('--page-port', text ?? '0');
  if (isOff) return undefined;
  return async (hub) => {
    const { Page } = await import('../page/page.ts');
    return Page.open(hub, { port: number }).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).syscall !== 'listen') throw error;
      const problem = `--page-port: port ${number} can't be used: ${messageOf(error)}`;
      throw new UsageError(`${problem}; give another one, or 0 for any free one`);
    });
  };
}

/** As many as fit into the memory of a small workstation. */
const MAX_SIMULATED = 1_000_000;

function simulatedDevices(text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number > MAX_SIMULATED)
    throw new UsageError(`--simulate takes a number up to ${MAX_SIMULATED}, not "${text}"`);
  return number;
}

function port(option: string, text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number > 65_535) throw new UsageError(`${option} takes a port number, not "${text}"`);
  return number;
}
