import { isIP } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { systemClock } from '../../../core/base/clock.ts';
import { seconds } from '../../../core/base/duration.ts';
import { AgentError } from '../../../core/base/errors.ts';
import { createLog } from '../../../core/base/log.ts';
import { VERSION } from '../../../core/base/version.ts';
import { HubFailure, type Transport } from '../../../core/contract/hub.ts';
import { hostAndPort } from '../../../core/network/address.ts';
import type { Network, Target, Waypoint } from '../../../core/network/network.ts';
import { ProxyError } from '../../../core/network/tunnel.ts';
import { twinDialect } from '../../../core/twin/published-object.ts';
import { readTwin } from '../../../core/twin/twin.ts';
import { AzureHubClient } from '../../hub/azure-client.ts';
import { classifyError } from '../../hub/classify-error.ts';
import { hostOf, isUnreachable, nameOf, otherThan, targetOf } from '../../hub/transport.ts';
import { type Finding, failed, note, notTried, ok, seen, wrong } from './finding.ts';
import { isFileError } from './secrets.ts';
import { type Check, type Presented, type Situation, step } from './situation.ts';
import { validateCertificate } from './tls.ts';

/*
 * From the identity to the module twin, in the order in which the agent connects:
 * `identity` → `networkPath` (name, TCP or proxy, TLS) → `hub`; `agentsHub` replaces it if an agent is running.
 */

const IDENTITY = 'identity';

/** Settings and files of the agent's identity, then each step from the identity to the connection. */
export const identity: Check = {
  name: IDENTITY,
  run({ identity: who, network, agent }, failedChecks) {
    if ('id' in network) return isFileError(network) ? [] : [failed(IDENTITY, network)]; // by the check of the secrets
    if ('id' in who) return [failed(IDENTITY, who)];
    if (failedChecks.has('clock')) return []; // services refuse what depends on the time
    return who.isLeftToAgent === true ? [leftTo(agent, who)] : stepsOf(who);
  },
};

function stepsOf({ steps, failure }: Presented): Finding[] {
  const findings = steps.map(({ name, text, details, remedy }) =>
    seen(remedy === undefined ? ok(name, text) : note(name, text, remedy), details),
  );
  // Only the registry step reports that the agent will create a missing module.
  const last = steps.at(-1);
  const willBeCreated =
    failure?.error.id === 'MODULE_UNKNOWN' && last?.name === 'registry' && last.remedy !== undefined;
  return failure === undefined || willBeCreated ? findings : [...findings, failed(IDENTITY, failure.error)];
}

function leftTo({ statusByThisFile }: Situation['agent'], { identity: { kind } }: Presented): Finding {
  const { hub, source } = statusByThisFile?.credential ?? {};
  const where = hub === undefined ? '' : ` for ${hub}`;
  const details = source === undefined ? [] : [`in use: ${source}`];
  return seen(ok(IDENTITY, `${kind}${where}; only the running agent asks services for credentials`), details);
}

const NETWORK_PATH = 'way';

/** The connection to the hub as the agent makes it: name, TCP and TLS, or a proxy and TLS. */
export const networkPath: Check = {
  name: NETWORK_PATH,
  needs: ['clock', 'identity', 'secrets'],
  async run(situation) {
    const findings = (await pathOf(situation))?.findings ?? [];
    if (situation.agent.statusByThisFile?.hub.state !== 'connected') return findings;
    return findings.map((found) =>
      found.state === 'wrong' ? { ...found, state: 'note', finding: connected(found) } : found,
    );
  },
};

/** The agent may have another proxy in its environment, or another name server in its container. */
const connected = ({ finding }: Finding) => `${finding}; the running agent is connected anyway`;

/** Findings about the connection to the hub by one transport, up to TLS. */
export interface Walk {
  readonly transport: Transport;
  readonly target: Target;
  readonly findings: readonly Finding[];
  /** Why the hub can't be reached by it. */
  readonly failure?: HubFailure;
}

/** The connection that the agent uses. */
export interface NetworkPath {
  readonly taken: Walk;
  readonly findings: readonly Finding[];
}

/** Two checks report on the path, which is tested once. */
const paths = new WeakMap<Situation, Promise<NetworkPath | undefined>>();

function pathOf(situation: Situation): Promise<NetworkPath | undefined> {
  const found = paths.get(situation) ?? findNetworkPath(situation);
  paths.set(situation, found);
  return found;
}

/**
 * Tests the connection to the hub, up to TLS. With `hub.transport` `auto`, the other port is tried if the hub can't be reached by
 * the one that the agent tries first.
 *
 * @returns `undefined` if the hub is unknown
 */
async function findNetworkPath(situation: Situation): Promise<NetworkPath | undefined> {
  const first = await walk(situation.transport, situation);
  if (first === undefined) return undefined;
  if (first.failure === undefined) return { taken: first, findings: [...first.findings, ...chosen(first, situation)] };
  const second = await walkOther(first, first.failure, situation);
  return second === undefined || second.failure !== undefined
    ? { taken: first, findings: first.findings }
    : { taken: second, findings: [...second.findings, instead(first, first.failure, second)] };
}

/** @returns `undefined` unless the agent would try the other transport after this failure */
async function walkOther(first: Walk, failure: HubFailure, situation: Situation): Promise<Walk | undefined> {
  if (situation.local.hub.transport !== 'auto' || first.transport !== situation.transport || !isUnreachable(failure)) {
    return undefined;
  }
  return walk(otherThan(first.transport), situation);
}

/** Works, but not by the transport that the agent tries first. */
const instead = (first: Walk, { error }: HubFailure, second: Walk): Finding =>
  note(
    'transport',
    `not by ${transportAndPort(first)}: ${error.message} (${error.id}); the agent uses ${transportAndPort(second)}, after three attempts`,
    `No action is needed. To avoid these attempts, set hub.transport to "${second.transport}". For ${first.transport}: ${error.remedy}`,
  );

function chosen(walked: Walk, { local }: Situation): Finding[] {
  if (local.hub.transport !== 'auto') return [];
  const why = walked.transport === 'mqtt' ? '' : ', which has worked before; mqtt is tried again once a day';
  return [ok('transport', `the agent uses ${transportAndPort(walked)}${why}`)];
}

const transportAndPort = ({ transport, target }: Walk) => `${transport} (port ${target.port})`;

async function walk(transport: Transport, situation: Situation): Promise<Walk | undefined> {
  const { network, signal, local } = situation;
  const target = targetBy(transport, situation);
  if (target === undefined || 'id' in network) return undefined;
  const reached: Waypoint[] = [];
  let socket: TLSSocket;
  try {
    socket = await network.inspect(target, signal, (point) => reached.push(point));
  } catch (thrown) {
    signal.throwIfAborted();
    const failure = explain(thrown, target, situation);
    const name = thrown instanceof ProxyError ? 'proxy' : nextOf(reached);
    const finding = seen(failed(name, failure.error), name === 'proxy' ? detailsOf(reached) : []);
    return { transport, target, findings: [...passed(reached, target, network), finding], failure };
  }
  socket.on('error', () => {});
  const { finding, failure } = validateCertificate(socket, target, local.hub.trustedCaFile);
  socket.destroy();
  const findings = [...passed(reached, target, network), finding];
  return { transport, target, findings, ...(failure === undefined ? {} : { failure }) };
}

function targetBy(
  transport: Transport,
  { identity, local: { hub }, mayRun, transports }: Situation,
): Target | undefined {
  const who = 'identity' in identity ? identity : undefined;
  if (who?.presentation !== undefined) {
    return targetOf(who.presentation, transports.addressOf(hostOf(who.presentation.module), transport));
  }
  if (who !== undefined && mayRun) return undefined; // only the running agent knows
  const name = hub.gatewayHostName ?? hub.hostName;
  return name === undefined ? undefined : transports.addressOf(name, transport);
}

/** The error that the agent would report. */
function explain(thrown: unknown, target: Target, { identity }: Situation): HubFailure {
  const who = 'identity' in identity ? identity : undefined;
  const module = who?.presentation?.module;
  const failure = classifyError(thrown, {
    address: nameOf(target),
    namedBy: who?.identity.namedBy,
    module: module === undefined ? 'this module' : `${module.deviceId}/${module.moduleId}`,
    now: systemClock.now(),
  });
  if (failure.error.id !== 'TLS_FAILED') return failure;
  // Certificates are validated later: these connections failed earlier.
  const remedy = `Find out which server answers at ${hostAndPort(target)}: it must support TLS 1.2 or newer. A proxy may intercept.`;
  return new HubFailure(new AgentError('TLS_FAILED', failure.error.message, remedy), failure.retryCause);
}

/** The step after those that succeeded, on a way without a proxy; with one, only TLS comes after the proxy. */
function nextOf(reached: readonly Waypoint[]): string {
  const last = reached.at(-1)?.at;
  if (last === undefined) return 'name';
  return last === 'addresses' ? 'TCP' : 'TLS';
}

function passed(reached: readonly Waypoint[], target: Target, network: Network): Finding[] {
  const proxy = network.proxyOf(target.host, target.port);
  if (proxy !== undefined) {
    if (reached.at(-1)?.at !== 'tunnel') return [];
    return [seen(ok('proxy', `${proxy} opens connections to ${hostAndPort(target)}`), detailsOf(reached))];
  }
  return reached.flatMap((point) => {
    if (point.at === 'connection') {
      return [seen(ok('TCP', `${hostAndPort(target)} accepts connections`), [`connected to ${point.address}`])];
    }
    if (point.at !== 'addresses' || isIP(target.host) !== 0) return [];
    return [ok('name', `${target.host} resolves to ${point.addresses.slice(0, MAX_ADDRESSES).join(', ')}`)];
  });
}

/** More are of no use to a reader. */
const MAX_ADDRESSES = 8;

const detailsOf = (reached: readonly Waypoint[]): string[] =>
  reached.flatMap((point) => {
    if (point.at === 'connection') return [`connected to ${hostAndPort({ ...point.to, host: point.address })}`];
    if (point.at !== 'addresses' || isIP(point.of.host) !== 0) return [];
    return [`${point.of.host} resolves to ${point.addresses.join(', ')}`];
  });

const HUB = 'hub';
const TWIN = 'module twin';

/** The connection of a running agent, from its status. */
export const agentsHub: Check = {
  name: HUB,
  run({ agent: { status, statusByThisFile, statusError }, configFile }, failedChecks) {
    if (statusError !== undefined) return [notTried(HUB, 'the hub would close its connection for a second one')];
    if (status === undefined) return [];
    const isExplained = ['clock', 'identity', 'secrets', NETWORK_PATH].some((name) => failedChecks.has(name));
    const findings = fromRunningAgent(status, isExplained);
    return statusByThisFile === undefined ? findings.map((found) => notOf(configFile, found)) : findings;
  },
};

/** Without a running agent: whether the hub accepts the identity, and the twin can be read. */
export const hub: Check = {
  name: HUB,
  needs: ['clock', 'identity', NETWORK_PATH],
  async run(situation) {
    const { mayRun, identity, network } = situation;
    if (mayRun || 'id' in network || 'id' in identity || identity.presentation === undefined) return [];
    const taken = (await pathOf(situation))?.taken;
    return taken === undefined ? [] : connect({ identity, network, situation, taken });
  },
};

/** The status of an agent with another configuration does not indicate a fault of this file. */
const notOf = (configFile: string, { state, finding, ...rest }: Finding): Finding => ({
  ...rest,
  state: state === 'wrong' ? 'note' : state,
  finding: `${finding} (by the configuration that the agent was started with, not by ${configFile})`,
});

function fromRunningAgent(
  { hub, credential, configuration }: NonNullable<Situation['agent']['status']>,
  isExplained: boolean,
): Finding[] {
  if (hub.state !== 'connected') {
    const id = hub.id === undefined ? '' : ` (${hub.id})`;
    const problem = `the running agent is not connected: ${hub.error ?? hub.state}${id}`;
    return [(isExplained ? note : wrong)(HUB, problem, hub.remedy ?? 'Wait a moment, then run the check again.')];
  }
  const { renewalError, renewalRemedy } = hub;
  const connected = seen(
    renewalError === undefined
      ? ok(HUB, 'the running agent is connected')
      : note(HUB, `the running agent is connected, but can't renew its connection: ${renewalError}`, renewalRemedy),
    credentialDetails(credential),
  );
  const faults = Object.entries(configuration?.errors ?? {}).map(([name, message]) => `${name} ${message}`);
  return faults.length === 0 ? [connected] : [connected, refused(faults)];
}

const credentialDetails = (credential: NonNullable<Situation['agent']['status']>['credential'] | undefined): string[] =>
  Object.entries({ ...credential }).flatMap(([name, value]) =>
    typeof value === 'string' ? [`${name}: ${value}`] : [],
  );

interface Attempt {
  readonly identity: Presented;
  readonly network: Network;
  readonly situation: Situation;
  readonly taken: Walk;
}

async function connect({ identity, network, situation, taken }: Attempt): Promise<readonly Finding[]> {
  const first = await connectBy(taken.transport, { identity, network, situation });
  if (!(first instanceof AgentError)) return first;
  const failure = new HubFailure(first, 'network');
  const other = await walkOther(taken, failure, situation);
  if (other === undefined || other.failure !== undefined) return [failed(HUB, first)];
  const second = await connectBy(other.transport, { identity, network, situation });
  return second instanceof AgentError ? [failed(HUB, first)] : [instead(taken, failure, other), ...second];
}

/** @returns why it can't */
async function connectBy(
  transport: Transport,
  { identity: { identity, presentation }, network, situation }: Omit<Attempt, 'taken'>,
): Promise<readonly Finding[] | AgentError> {
  const { local, signal } = situation;
  const client = new AzureHubClient({
    identity,
    network,
    transport: local.hub.transport,
    firstTransport: transport,
    productInfo: `vakt/${VERSION}`,
    clock: systemClock,
    log: createLog({ level: 'silent' }),
  });
  try {
    await client.start();
    await settled(client, signal);
    const { state, error, credential } = client.status();
    if (state !== 'connected') return error ?? SILENT;
    const source = presentation?.source;
    const accepted =
      credential.source === undefined || credential.source === source
        ? ok(HUB, 'the identity is accepted')
        : note(
            HUB,
            `the identity is accepted by its ${credential.source} credential; the ${source} one is refused`,
            `Replace the ${source} one by the one that the hub has now.`,
          );
    return [accepted, await twin(client, local.twinObjectName, signal)];
  } finally {
    await client.stop();
  }
}

/** Longer than the client's own limits for a connection with its subscriptions, whose errors say more. */
const LIMIT = seconds(60);

const SILENT = new AgentError(
  'HUB_SILENT',
  'the hub did not answer in time',
  'Run the check again; if that does not help, see the findings above.',
);

/** Resolves when the client is connected, or says why not. */
async function settled(client: AzureHubClient, signal: AbortSignal): Promise<void> {
  const news = new AbortController();
  const look = () => {
    const { state, error } = client.status();
    if (state === 'connected' || error !== undefined) news.abort();
  };
  client.on('status', look);
  client.on('connected', look);
  look();
  await systemClock.sleep(LIMIT, AbortSignal.any([signal, news.signal]));
  signal.throwIfAborted();
}

async function twin(client: AzureHubClient, objectName: string, signal: AbortSignal): Promise<Finding> {
  const answer = await step('the module twin', client.readTwin(), signal);
  if (answer.status !== 'accepted') return failed(TWIN, answer.error);
  const { desired } = answer.value;
  const dialect = twinDialect(objectName);
  const document = dialect.documentIn(desired);
  const reading = readTwin(document, dialect);
  if (!reading.ok) return refused(reading.faults.map(({ name, message }) => `${name} ${message}`));
  const suffix = document === null ? `, without ${objectName}: all settings have their defaults` : '';
  return ok(TWIN, `readable, desired version ${desired.$version}${suffix}`);
}

const refused = (faults: readonly string[]): Finding =>
  wrong(
    TWIN,
    `the desired configuration is invalid and not applied: ${faults.join('; ')}`,
    'Correct the desired properties of the module twin.',
  );
