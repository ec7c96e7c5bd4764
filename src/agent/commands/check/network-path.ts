import { isIP } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { systemClock } from '../../../core/base/clock.ts';
import { AgentError } from '../../../core/base/errors.ts';
import { HubFailure, type Transport } from '../../../core/contract/hub.ts';
import { hostAndPort } from '../../../core/network/address.ts';
import type { Network, Target, Waypoint } from '../../../core/network/network.ts';
import { ProxyError } from '../../../core/network/tunnel.ts';
import { classifyError } from '../../hub/classify-error.ts';
import { hostOf, nameOf, targetOf } from '../../hub/network-path.ts';
import { isUnreachable, otherThan } from '../../hub/transport.ts';
import { type Finding, failed, note, ok, seen } from './finding.ts';
import type { Check, NetworkPath, Situation, Walk } from './situation.ts';
import { validateCertificate } from './tls.ts';

export const NETWORK_PATH = 'way';

/** The connection to the hub as the agent makes it: name, TCP and TLS, or a proxy and TLS. */
export const networkPath: Check = {
  name: NETWORK_PATH,
  needs: ['clock', 'identity', 'secrets'],
  async run(situation) {
    const findings = (await situation.networkPath())?.findings ?? [];
    if (situation.agent.statusByThisFile?.hub.state !== 'connected') return findings;
    return findings.map((found) =>
      found.state === 'wrong' ? { ...found, state: 'note', finding: connected(found) } : found,
    );
  },
};

/** The agent may have another proxy in its environment, or another name server in its container. */
const connected = ({ finding }: Finding) => `${finding}; the running agent is connected anyway`;

type Input = Omit<Situation, 'networkPath'>;

/**
 * Tests the connection to the hub, up to TLS. With `hub.transport` `auto`, the other port is tried if the hub can't be reached by
 * the one that the agent tries first.
 *
 * @returns `undefined` if the hub is unknown
 */
export async function findNetworkPath(input: Input): Promise<NetworkPath | undefined> {
  const first = await walk(input.transport, input);
  if (first === undefined) return undefined;
  if (first.failure === undefined) return { taken: first, findings: [...first.findings, ...chosen(first, input)] };
  const second = await walkOther(first, first.failure, input);
  return second === undefined || second.failure !== undefined
    ? { taken: first, findings: first.findings }
    : { taken: second, findings: [...second.findings, instead(first, first.failure, second)] };
}

/** @returns `undefined` unless the agent would try the other transport after this failure */
export async function walkOther(first: Walk, failure: HubFailure, input: Input): Promise<Walk | undefined> {
  if (input.local.hub.transport !== 'auto' || first.transport !== input.transport || !isUnreachable(failure)) {
    return undefined;
  }
  return walk(otherThan(first.transport), input);
}

/** Works, but not by the transport that the agent tries first. */
export const instead = (first: Walk, { error }: HubFailure, second: Walk): Finding =>
  note(
    'transport',
    `not by ${describe(first)}: ${error.message} (${error.id}); the agent uses ${describe(second)}, after three attempts`,
    `No action is needed. To avoid these attempts, set hub.transport to "${second.transport}". For ${first.transport}: ${error.remedy}`,
  );

function chosen(walked: Walk, { local }: Input): Finding[] {
  if (local.hub.transport !== 'auto') return [];
  const why = walked.transport === 'mqtt' ? '' : ', which has worked before; mqtt is tried again once a day';
  return [ok('transport', `the agent uses ${describe(walked)}${why}`)];
}

const describe = ({ transport, target }: Walk) => `${transport} (port ${target.port})`;

async function walk(transport: Transport, input: Input): Promise<Walk | undefined> {
  const { network, signal, local } = input;
  const target = targetBy(transport, input);
  if (target === undefined || 'id' in network) return undefined;
  const reached: Waypoint[] = [];
  let socket: TLSSocket;
  try {
    socket = await network.inspect(target, signal, (point) => reached.push(point));
  } catch (thrown) {
    signal.throwIfAborted();
    const failure = explain(thrown, target, input);
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

function targetBy(transport: Transport, { identity, local: { hub }, mayRun, transports }: Input): Target | undefined {
  const who = 'identity' in identity ? identity : undefined;
  if (who?.presentation !== undefined) {
    return targetOf(who.presentation, transports.addressOf(hostOf(who.presentation.module), transport));
  }
  if (who !== undefined && mayRun) return undefined; // only the running agent knows
  const name = hub.gatewayHostName ?? hub.hostName;
  return name === undefined ? undefined : transports.addressOf(name, transport);
}

/** The error that the agent would report. */
function explain(thrown: unknown, target: Target, { identity }: Input): HubFailure {
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
  return new HubFailure(new AgentError('TLS_FAILED', failure.error.message, remedy), failure.because);
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
