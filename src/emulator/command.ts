import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { shellWord } from '../core/base/text.ts';
import { AGENT_KINDS, type AgentKind, type Prepare, type PreparedKind, type RunningService } from './agent-kinds.ts';
import type { ConnectionRecord } from './connection-log.ts';
import { HubEmulator, type ReportedChange } from './hub.ts';
import { KeptFiles } from './kept-files.ts';
import { eventsIn, type ReceivedMessage, recordOf } from './message-log.ts';
import { ProxyEmulator, type ProxyRequest } from './proxy.ts';
import type { RestRequest } from './rest-api.ts';
import { standardPolicies } from './rest-authorize.ts';
import type { RequestRecord } from './service/request-log.ts';
import { addSimulatedDevices } from './simulated-devices.ts';
import { StartError, startErrorOf } from './start-error.ts';

export { StartError };

export interface RunOptions {
  /** For every port, 0 selects a free one; so does omitting an optional one. */
  readonly port: number;
  readonly restPort?: number;
  readonly webSocketPort?: number;
  readonly controlPort: number;
  /** If omitted, no proxy is started. */
  readonly proxyPort?: number | undefined;
  /** If given, the proxy requires this user and the password in `proxy.password`. */
  readonly proxyUser?: string | undefined;
  readonly address?: '127.0.0.1' | '::1';
  readonly deviceId: string;
  readonly moduleId: string;
  /** The agent's kind of identity. */
  readonly kind: AgentKind;
  /** Port of the additional service that `kind` needs, if any. 0 selects a free one. */
  readonly servicePort: number;
  /** Whether to print the agent's configuration. */
  readonly printConfig: boolean;
  /** A file to which each message is appended, one JSON object per line. */
  readonly record?: string | undefined;
  /** Opens a page that shows the activity at the hub; its address is printed. If omitted, no page is opened. */
  readonly openPage?: ((hub: HubEmulator) => Promise<RunningPage>) | undefined;
  /** Number of additional devices without modules. */
  readonly simulated?: number;
  /** Directory for `ca.pem`, the `agent.json` for an agent of this emulator, and its keys and certificates. */
  readonly directory: string;
}

/** A web page that shows a hub. */
export interface RunningPage {
  readonly address: string;
  close(): Promise<void>;
}

/**
 * Runs an emulator, with the service that `kind` needs, until `signal` aborts. Prints a line for each request to the
 * service, the REST API and the proxy, each connection, message and report.
 *
 * Symmetric keys of an earlier run are reused; certificates are created at each start.
 *
 * @throws StartError if a port, a file or the directory can't be used
 */
export async function runEmulator(
  options: RunOptions,
  out: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { port, restPort, webSocketPort, controlPort, servicePort, proxyPort, record } = options;
  try {
    await run(options, out, signal);
  } catch (error) {
    throw startErrorOf(error, {
      ports: {
        '--port': port,
        '--rest-port': restPort,
        '--websocket-port': webSocketPort,
        '--control-port': controlPort,
        '--service-port': servicePort,
        '--proxy-port': proxyPort,
      },
      directory: resolve(options.directory),
      record,
    });
  }
}

async function run(options: RunOptions, out: (line: string) => void, signal: AbortSignal): Promise<void> {
  const { servicePort, deviceId, moduleId, kind, printConfig } = options;
  const files = new KeptFiles(options.directory);
  // The key is kept as the agent's is; the other policies are for tests.
  const keyOf = (policy: string) =>
    policy === 'iothubowner' ? files.key(`${policy}.key`).key : randomBytes(32).toString('base64');
  const hub = await HubEmulator.start({ ...hubOptions(options), policies: standardPolicies(keyOf) });
  let proxy: ProxyEmulator | undefined;
  let service: RunningService | undefined;
  let page: RunningPage | undefined;
  try {
    if (options.record !== undefined) recordMessages(hub, options.record);
    const caFile = files.open('ca.pem', hub.caPem);
    const tokenFile = files.secret('control.token', `${hub.controlToken}\n`);
    addSimulatedDevices(hub, options.simulated ?? 0);
    const gateway = `GatewayHostName=localhost:${hub.restPort}`;
    const serviceFile = files.secret('service.connection-string', `${hub.serviceConnectionString()};${gateway}\n`);
    proxy = await startProxy(options, hub, files);
    const prepare: Prepare = AGENT_KINDS[kind];
    const prepared = await prepare({ hub, files, deviceId, moduleId, servicePort });
    service = prepared.service;
    const config = JSON.stringify(agentConfig(kind, prepared, files), null, 2);
    const configFile = files.secret('agent.json', `${config}\n`);
    const variables = Object.entries(prepared.environment ?? {}).map(([name, value]) => `${name}=${value}`);
    if (variables.length > 0) files.open('agent.env', `${variables.join('\n')}\n`);
    out(`The hub ${hub.hostName} listens on localhost:${hub.port} (MQTT over TLS).`);
    out(`MQTT over WebSocket, and the REST API: localhost:${hub.webSocketPort}, path /$iothub/websocket.`);
    out(`REST API: https://localhost:${hub.restPort}/devices/{deviceId}/modules/{moduleId}, /twins, /devices/query.`);
    if (proxy !== undefined)
      out(`HTTP proxy: http://127.0.0.1:${proxy.port}, for ${hub.hostName}:8883 and ${hub.hostName}:443.`);
    if (service !== undefined) out(service.about);
    out(`Control API: http://127.0.0.1:${hub.controlPort}/ (GET / lists its routes), with the token in ${tokenFile}.`);
    page = await options.openPage?.(hub);
    if (page !== undefined) out(`Open ${page.address} to watch the agent.`);
    if (printConfig) for (const line of config.split('\n')) out(line);
    const command = `vakt run --config ${shellWord(configFile)}`;
    const start = variables.length === 0 ? command : `env ${variables.map(shellWord).join(' ')} ${command}`;
    out(`Start an agent for ${deviceId}/${moduleId} with: ${start}`);
    const credential = `--connection-string-file ${shellWord(serviceFile)} --trusted-ca-file ${shellWord(caFile)}`;
    out(`Look at the fleet with: vakt fleet status ${credential}`);
    printEvents(hub, proxy, out);
    service?.onRequest((record) => out(requestLine(service?.name ?? '', record)));
    if (!signal.aborted) await once(signal, 'abort');
  } finally {
    await page?.close();
    await service?.stop();
    await proxy?.stop();
    await hub.stop();
  }
}

const hubOptions = ({ port, restPort = 0, webSocketPort = 0, controlPort, address = '127.0.0.1' }: RunOptions) => ({
  port,
  restPort,
  webSocketPort,
  controlPort,
  address,
});

/** @throws the file system's error if the file can't be written */
function recordMessages(hub: HubEmulator, file: string): void {
  appendFileSync(file, '', { mode: 0o600 });
  hub.on('message', (message: ReceivedMessage) => appendFileSync(file, `${recordOf(message)}\n`));
}

/** Starts the proxy if one is configured. */
async function startProxy(
  { proxyPort, proxyUser }: RunOptions,
  hub: HubEmulator,
  files: KeptFiles,
): Promise<ProxyEmulator | undefined> {
  if (proxyPort === undefined) return undefined;
  const user =
    proxyUser === undefined ? {} : { user: { name: proxyUser, password: files.password('proxy.password').key } };
  const proxy = await ProxyEmulator.start({ port: proxyPort, ...user });
  proxy.routeTo(hub);
  return proxy;
}

const agentConfig = (kind: AgentKind, { config }: PreparedKind, files: KeptFiles) => ({
  ...config,
  identity: { kind, ...config.identity },
  stateDirectory: files.path('state'),
  controlSocket: files.path('control.sock'),
});

/** One line about a request to a service and its answer. */
export function requestLine(service: string, { at, operation, subject, status, reason, fault }: RequestRecord): string {
  const request = subject === undefined ? operation : `${operation} for ${subject}`;
  const answer = status === undefined ? 'not answered' : status;
  const why = reason ?? (fault === undefined ? undefined : `by the fault ${fault}`);
  return `${timeOf(at)} ${service}: ${request}: ${answer}${why === undefined ? '' : `, ${why}`}.`;
}

/** Prints a line for each event of the hub and the proxy. */
function printEvents(hub: HubEmulator, proxy: ProxyEmulator | undefined, out: (line: string) => void): void {
  hub.on('connection', ({ connectedAt, clientId, admitted, reason }: ConnectionRecord) => {
    out(`${timeOf(connectedAt)} ${clientId} ${admitted ? 'connected.' : `was refused: ${reason}.`}`);
  });
  hub.on('disconnection', ({ closedAt, clientId, closedBecause }: ConnectionRecord) => {
    out(`${timeOf(closedAt)} ${clientId} disconnected: ${closedBecause}.`);
  });
  hub.on('message', (message: ReceivedMessage) => {
    out(lineOf(message));
  });
  hub.on('reported', ({ at, deviceId, moduleId, reported }: ReportedChange) => {
    out(`${timeOf(at)} ${deviceId}/${moduleId} reported, version ${reported.$version}.`);
  });
  hub.on('restRequest', ({ at, method, path, status, reason }: RestRequest) => {
    out(`${timeOf(at)} ${method} ${path}: ${status ?? 'not answered'}${reason === undefined ? '' : `, ${reason}`}`);
  });
  proxy?.on('request', ({ at, target, status }: ProxyRequest) => {
    out(`${timeOf(at)} Proxy: CONNECT ${target}: ${status ?? 'not answered'}`);
  });
}

/** One line about a received message. */
export function lineOf(message: ReceivedMessage): string {
  const { enqueuedAt, sequence, deviceId, moduleId, sizeBytes, duplicate } = message;
  const names = eventsIn([message]).map(nameOf);
  const summary = `message ${sequence}${duplicate ? ' (a duplicate)' : ''}, ${sizeBytes} bytes`;
  return `${timeOf(enqueuedAt)} ${deviceId}/${moduleId} sent ${summary}: ${tally(names)}`;
}

const timeOf = (time: Date | undefined) => (time === undefined ? '        ' : time.toISOString().slice(11, 19));

/** `ProcessCreate`, or `ListeningPorts (part 2 of 3)` for a snapshot that is sent as several events. */
function nameOf({ Name, Payload: elements }: Record<string, unknown>): string {
  const [first] = Array.isArray(elements) ? elements : [];
  const { Part, Parts, SnapshotId } = first?.ExtraDetails ?? {};
  return SnapshotId === undefined ? String(Name) : `${Name} (part ${Part} of ${Parts})`;
}

/** `ProcessCreate ×12, ListeningPorts` */
function tally(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  const parts = [...counts].map(([name, count]) => (count === 1 ? name : `${name} ×${count}`));
  return parts.join(', ') || 'no security events';
}
