import { lookup } from 'node:dns/promises';
import { accessSync, constants, existsSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { isPlausible, systemClock } from '../base/clock.ts';
import { askControlSocket, isNobodyThere } from '../base/control-socket.ts';
import { seconds } from '../base/duration.ts';
import { AgentError, errnoOf, messageOf, toAgentError } from '../base/errors.ts';
import { createLog } from '../base/log.ts';
import { printableJson } from '../base/printable.ts';
import { collectors } from '../collectors/index.ts';
import { DEFAULT_CONFIG_FILE, type LocalSettings, readLocalSettings } from '../config/local.ts';
import { readTwin, twinProperties } from '../config/twin.ts';
import type { PeriodicCollector, TriggeredCollector } from '../contract/collector.ts';
import type { SourceStatus, Sources, Streams } from '../contract/sources.ts';
import { AzureHubClient } from '../hub/azure-client.ts';
import { loadIdentity, type ModuleIdentity } from '../hub/identity/index.ts';
import { LinuxEvents } from '../linux/events.ts';
import { linuxSources } from '../linux/sources.ts';
import type { LocalStatus } from '../status.ts';
import { VERSION } from '../version.ts';
import { readArguments, table, type World } from './command.ts';

export const summary = 'Check everything the agent needs, and say how to mend what is wrong.';
export const usage = `vakt check [--config FILE] [--json]

  --config FILE   local configuration; ${DEFAULT_CONFIG_FILE} when not given
  --json          one JSON object a finding

Exit status: 0 nothing to do, 1 something must be done.`;

/** `ok`: as it should be. `note`: works, but worth knowing. `wrong`: must be mended. */
export interface Finding {
  readonly check: string;
  readonly state: 'ok' | 'note' | 'wrong';
  readonly finding: string;
  readonly remedy?: string;
}

/** No single step may keep the operator waiting longer. */
const LIMIT = seconds(10);

export async function run(args: readonly string[], { stdout, environment, signal }: World): Promise<number> {
  const { values } = readArguments(args, { config: { type: 'string' }, json: { type: 'boolean' } });
  const findings = await check(values.config, environment, signal);
  if (values.json) for (const finding of findings) stdout(printableJson(JSON.stringify(finding)));
  else for (const line of describe(findings)) stdout(line);
  return findings.some(({ state }) => state === 'wrong') ? 1 : 0;
}

function describe(findings: readonly Finding[]): string[] {
  const rows = findings.flatMap(({ check, state, finding, remedy }) => [
    [state.toUpperCase(), check, finding],
    ...(remedy === undefined ? [] : [['', '', `-> ${remedy}`]]),
  ]);
  const wrong = findings.filter(({ state }) => state === 'wrong').length;
  return [
    ...table(rows),
    '',
    wrong === 0 ? 'Nothing must be done.' : `${wrong} of ${findings.length} findings must be mended.`,
  ];
}

async function check(
  file: string | undefined,
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<Finding[]> {
  let local: LocalSettings;
  try {
    local = readLocalSettings(file, environment);
  } catch (error) {
    return [wrong('configuration', error)];
  }
  const findings: Finding[] = [
    { check: 'configuration', state: 'ok', finding: `${file ?? DEFAULT_CONFIG_FILE} is valid` },
  ];
  const agent = await findAgent(local, signal);
  if (agent.doubt !== undefined) findings.push(agent.doubt);
  findings.push(stateDirectory(local.stateDirectory), clock(systemClock.now()), routing(local));
  try {
    const identity = loadIdentity(local.identity, local.hub);
    const { hostName, deviceId, moduleId } = identity;
    findings.push({
      check: 'identity',
      state: 'ok',
      finding: `${deviceId}/${moduleId} at ${hostName}, by ${identity.kind}`,
    });
    findings.push(...(await network(identity, local, signal)), ...(await hub(identity, local, agent, signal)));
  } catch (error) {
    signal.throwIfAborted();
    findings.push(wrong('identity', error));
  }
  findings.push(...(await collecting(local, agent, signal)));
  return findings;
}

/** Waits for one step, for as long as an operator likes to: neither too long nor beyond Ctrl-C. */
async function step<T>(what: string, work: Promise<T>, signal: AbortSignal): Promise<T> {
  const done = new AbortController();
  const aborted = new Promise<never>((_, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true, signal: done.signal });
  });
  try {
    return await Promise.race([systemClock.within(LIMIT, what, work), aborted]);
  } finally {
    done.abort();
  }
}

const wrong = (check: string, error: unknown): Finding => {
  const { message, remedy, id } = toAgentError(error);
  return { check, state: 'wrong', finding: `${message} (${id})`, remedy };
};

/** An agent that runs, and is asked; or one that may run, and isn't disturbed. With neither, none runs. */
interface Agent {
  readonly status?: LocalStatus;
  readonly doubt?: Finding;
}

/** An agent that runs is asked, not disturbed: a second connection would throw the first one out of the hub. */
async function findAgent({ controlSocket }: LocalSettings, signal: AbortSignal): Promise<Agent> {
  const check = 'running agent';
  try {
    return { status: (await askControlSocket(controlSocket, '/status', { signal })) as LocalStatus };
  } catch (error) {
    signal.throwIfAborted();
    if (isNobodyThere(error)) return {};
    const { id, message, remedy } = toAgentError(error);
    if (id === 'CONFIG_INVALID') return { doubt: wrong(check, error) };
    return { doubt: { check, state: 'note', finding: `can't be asked: ${message}`, remedy } };
  }
}

const untried = (check: string, why: string): Finding => ({
  check,
  state: 'note',
  finding: `not tried, since an agent may run: ${why}`,
});

function stateDirectory(directory: string): Finding {
  const check = 'state directory';
  const unusable = (finding: string, remedy: string): Finding => ({ check, state: 'wrong', finding, remedy });
  let existing = directory;
  while (!existsSync(existing)) existing = dirname(existing);
  try {
    const found = statSync(existing);
    if (!found.isDirectory()) return unusable(`${existing} is no directory`, 'Set stateDirectory to another path.');
    if (existing === directory && (found.mode & 0o022) !== 0) {
      return unusable(`others can write to ${directory}`, `Take that from them: chmod go-w ${directory}`);
    }
    accessSync(existing, constants.W_OK | constants.X_OK);
    const { bavail, bsize } = statfsSync(existing);
    const freeMB = Math.floor((bavail * bsize) / 1_000_000);
    if (freeMB < 10) return unusable(`only ${freeMB} MB free at ${existing}`, 'Free at least 10 MB there.');
    const finding =
      existing === directory ? `${directory} is writable, ${freeMB} MB free` : `${directory} will be made`;
    return { check, state: 'ok', finding };
  } catch (error) {
    const remedy = `Make ${directory} writable for the user that the agent runs as.`;
    return unusable(`${existing} is not writable: ${errnoOf(error) ?? messageOf(error)}`, remedy);
  }
}

function clock(now: Date): Finding {
  const check = 'clock';
  if (isPlausible(now)) return { check, state: 'ok', finding: `it is ${now.toISOString()}` };
  return {
    check,
    state: 'wrong',
    finding: `the clock is not set: it says ${now.toISOString()}`,
    remedy: 'Set it, for instance by NTP (timedatectl set-ntp true): until then the hub refuses what the agent signs.',
  };
}

function routing({ messageRouting }: LocalSettings): Finding {
  const check = 'message routing';
  if (messageRouting !== 'security')
    return { check, state: 'ok', finding: `messages go to your own routes (${messageRouting})` };
  return {
    check,
    state: 'note',
    finding:
      'messages are marked for the security consumer: the hub keeps them from your own routes, and Microsoft announced the end of that consumer for 2025-08-01',
    remedy:
      'Set messageRouting to "telemetry" (or "both") and add a route with the condition messageType = \'SecurityEvents\'.',
  };
}

async function network(identity: ModuleIdentity, local: LocalSettings, signal: AbortSignal): Promise<Finding[]> {
  const target = local.hub.gatewayHostName ?? identity.gatewayHostName ?? identity.hostName;
  const [host = target, port = '8883'] = target.split(':');
  const findings: Finding[] = [];
  try {
    const { address } = await step('the name look-up', lookup(host), signal);
    findings.push({ check: 'name', state: 'ok', finding: `${host} is ${address}` });
  } catch (error) {
    signal.throwIfAborted();
    const remedy = `Correct hub.hostName or hub.gatewayHostName, or the device's name servers (/etc/resolv.conf).`;
    return [
      {
        check: 'name',
        state: 'wrong',
        finding: `${host} has no address: ${errnoOf(error) ?? messageOf(error)}`,
        remedy,
      },
    ];
  }
  try {
    await step('the connection', reached(connect(Number(port), host), 'connect'), signal);
    findings.push({ check: 'TCP', state: 'ok', finding: `${host}:${port} answers` });
  } catch (error) {
    signal.throwIfAborted();
    const remedy = `Let the device reach ${host} on TCP port ${port} (firewall, proxy, route).`;
    return [
      ...findings,
      {
        check: 'TCP',
        state: 'wrong',
        finding: `${host}:${port} does not answer: ${errnoOf(error) ?? messageOf(error)}`,
        remedy,
      },
    ];
  }
  findings.push(await tls(host, Number(port), local.hub.trustedCaFile, signal));
  return findings;
}

async function tls(host: string, port: number, caFile: string | undefined, signal: AbortSignal): Promise<Finding> {
  try {
    const ca = caFile === undefined ? {} : { ca: readFileSync(caFile) };
    const socket = connectTls({ host, port, servername: host, minVersion: 'TLSv1.2', ...ca });
    await step('the TLS handshake', reached(socket, 'secureConnect'), signal);
    return { check: 'TLS', state: 'ok', finding: `the chain of ${host} is trusted` };
  } catch (error) {
    signal.throwIfAborted();
    const remedy = `Set hub.trustedCaFile to the CA that signed ${host}; check the device's clock, now ${systemClock.now().toISOString()}.`;
    return {
      check: 'TLS',
      state: 'wrong',
      finding: `${host} is not trusted: ${errnoOf(error) ?? messageOf(error)}`,
      remedy,
    };
  }
}

/** Resolves at `event`, closing the socket again. */
const reached = (socket: ReturnType<typeof connect>, event: 'connect' | 'secureConnect') =>
  new Promise<void>((resolve, reject) => {
    socket.once(event, () => {
      socket.destroy();
      resolve();
    });
    socket.once('error', reject);
  });

async function hub(
  identity: ModuleIdentity,
  local: LocalSettings,
  agent: Agent,
  signal: AbortSignal,
): Promise<Finding[]> {
  if (agent.doubt !== undefined) return [untried('hub', 'a second connection would throw it out of the hub')];
  if (agent.status !== undefined) {
    const { state, error, remedy } = agent.status.hub;
    if (state === 'connected') return [{ check: 'hub', state: 'ok', finding: 'the running agent is connected' }];
    const finding = `the running agent is not connected: ${error ?? state}`;
    return [{ check: 'hub', state: 'wrong', finding, remedy: remedy ?? 'Wait a moment, then check again.' }];
  }
  const client = new AzureHubClient({
    identity,
    ...local.hub,
    productInfo: `vakt/${VERSION}`,
    clock: systemClock,
    log: createLog({ level: 'silent' }),
  });
  try {
    await client.start();
    await settled(client, signal);
    signal.throwIfAborted();
    const { state, error } = client.status();
    if (state !== 'connected') {
      return [
        wrong(
          'hub',
          error ??
            new AgentError('HUB_SILENT', 'the hub did not answer in time', 'Check again; then see the findings above.'),
        ),
      ];
    }
    const finding: Finding = { check: 'hub', state: 'ok', finding: 'the identity is accepted' };
    return [finding, ...(await twin(client, local.twinObjectName, signal))];
  } finally {
    await client.stop();
  }
}

const settled = (client: AzureHubClient, signal: AbortSignal) =>
  step(
    'the hub',
    new Promise<void>((resolve) => {
      const look = () => {
        const { state, error } = client.status();
        if (state === 'connected' || error !== undefined) resolve();
      };
      client.on('status', look);
      client.on('connected', look);
      look();
    }),
    signal,
  ).catch(() => {});

async function twin(client: AzureHubClient, objectName: string, signal: AbortSignal): Promise<Finding[]> {
  const answer = await step('the module twin', client.readTwin(), signal);
  if (answer.status !== 'accepted') return [wrong('module twin', answer.error)];
  const reading = readTwin(answer.value.desired[objectName], twinProperties(collectors));
  if (reading.ok)
    return [
      { check: 'module twin', state: 'ok', finding: `readable, desired version ${answer.value.desired.$version}` },
    ];
  const faults = reading.faults.map(({ name, message }) => `${name} ${message}`).join('; ');
  return [
    {
      check: 'module twin',
      state: 'wrong',
      finding: `the desired configuration is not valid: ${faults}`,
      remedy: 'Correct the desired properties of the module twin.',
    },
  ];
}

async function collecting(local: LocalSettings, agent: Agent, signal: AbortSignal): Promise<Finding[]> {
  if (agent.status !== undefined) {
    return Object.entries(agent.status.collectors).map(([name, status]) => standing(name, status));
  }
  const sources = {
    ...linuxSources({ hostRoot: local.hostRoot, clock: systemClock }).snapshots,
    statistics: NO_AGENT,
  };
  const findings: Finding[] = [];
  for (const collector of collectors) {
    if (collector.category !== 'Periodic' || collector.type !== 'Security') continue;
    findings.push(await snapshot(collector, sources, signal));
  }
  const events =
    agent.doubt === undefined
      ? await happening(local, signal)
      : [untried('Triggered events', "only one process can have the kernel's audit")];
  return [...findings, ...events];
}

/** How a source stands, for an operator: one that isn't the best is worth knowing, with what would mend it. */
function standing(check: string, { state, source, reason }: SourceStatus, more = ''): Finding {
  return {
    check,
    state: state === 'on' || state === 'off' ? 'ok' : 'note',
    finding: `${more}${state}${source === undefined ? '' : `, from ${source}`}`,
    ...(reason === undefined ? {} : { remedy: reason }),
  };
}

/** Statistics are the running agent's; none is running here, and no Security collector asks for them. */
const NO_AGENT: Sources['statistics'] = {
  queues: () => Promise.reject(new AgentError('AGENT_NOT_RUNNING', 'no agent runs', 'Start it with "vakt run".')),
  messages: () => Promise.reject(new AgentError('AGENT_NOT_RUNNING', 'no agent runs', 'Start it with "vakt run".')),
};

/** Takes one snapshot, as the agent would. */
export async function snapshot(collector: PeriodicCollector, sources: Sources, signal: AbortSignal): Promise<Finding> {
  const { name } = collector;
  const began = systemClock.monotonic();
  try {
    const rows = await step(name, collector.collect(sources, signal), signal);
    const tookMs = Math.round(systemClock.monotonic() - began);
    const result = `${rows.length} elements in ${tookMs} ms`;
    const status = collector.sourceStatus?.(sources);
    return status === undefined ? { check: name, state: 'ok', finding: result } : standing(name, status, `${result}, `);
  } catch (error) {
    signal.throwIfAborted();
    return wrong(name, error);
  }
}

/** Opens every source for an instant, as the agent would, and closes it again. */
async function happening({ hostRoot, collectors: options }: LocalSettings, signal: AbortSignal): Promise<Finding[]> {
  const followed = collectors.filter(
    (c): c is TriggeredCollector => c.category === 'Triggered' && c.type === 'Security',
  );
  const streamsOf = ({ from }: TriggeredCollector) => Object.keys(from) as (keyof Streams)[];
  const source = new LinuxEvents({
    streams: () => new Set(followed.flatMap(streamsOf)),
    rules: () => followed.flatMap(({ auditRules = [] }) => auditRules),
    sink: { accept: () => {}, drop: () => {} },
    hostRoot,
    loopback: options.loopbackConnections,
    clock: systemClock,
    log: createLog({ level: 'silent' }),
  });
  try {
    await step('the sources of events', source.start(), signal);
    return followed.map((collector) => standing(collector.name, source.status(streamsOf(collector))));
  } catch (error) {
    signal.throwIfAborted();
    return [wrong('Triggered events', error)];
  } finally {
    await source.stop();
  }
}
