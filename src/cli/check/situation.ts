import { systemClock } from '../../base/clock.ts';
import { askControlSocket, isNoAgentListening } from '../../base/control-socket.ts';
import { seconds } from '../../base/duration.ts';
import { type AgentError, toAgentError } from '../../base/errors.ts';
import { createLog } from '../../base/log.ts';
import { DEFAULT_CONFIG_FILE, type LocalSettings } from '../../config/local.ts';
import { HubFailure } from '../../contract/hub-failure.ts';
import { PORTS } from '../../hub/transport.ts';
import type { Identity, Presentation, Step } from '../../identity/identity.ts';
import { createIdentity } from '../../identity/kinds.ts';
import { askServiceUnit, type ServiceUnit } from '../../linux/self/service-unit.ts';
import { addressOf } from '../../network/address.ts';
import { Network } from '../../network/network.ts';
import type { LocalStatus } from '../../status/schema.ts';
import type { Finding } from './finding.ts';

/** One check of `vakt check`. To add one: a file that exports it, and a line in index.ts. */
export interface Check {
  /** The heading of its findings. */
  readonly name: string;
  /** Names of checks that it depends on: if one of them fails or is skipped, this one is skipped, without a finding. */
  readonly needs?: readonly string[];
  /** May return no findings. An error that it throws becomes a finding. */
  run(situation: Situation): readonly Finding[] | Promise<readonly Finding[]>;
}

/** The input of all checks. */
export interface Situation {
  readonly configFile: string;
  readonly local: LocalSettings;
  readonly agent: RunningAgent;
  /** How the agent proves who it is, or why it can't. */
  readonly identity: Presented | AgentError;
  readonly network: Network | AgentError;
  /** Where the agent connects to; `undefined` if unknown. */
  readonly peer: Peer | undefined;
  /** Aborts at Ctrl-C. */
  readonly signal: AbortSignal;
}

/**
 * A running agent has a `status`. With a `doubt`, an agent may be running, and must not be disturbed: the hub would
 * close its connection for a second one. With neither, no agent is running.
 */
export interface RunningAgent {
  readonly status?: LocalStatus;
  /** Why it is unknown whether an agent is running. */
  readonly doubt?: AgentError;
  /** If no agent is running: its systemd service, if there is one. */
  readonly unit?: ServiceUnit;
}

/** An identity that has made what a connection needs, by all steps but the connection. */
export interface Presented {
  readonly identity: Identity;
  readonly steps: readonly Step[];
  /** `undefined`: it could not be made, and `failure` says why. */
  readonly presentation?: Presentation;
  readonly failure?: HubFailure;
}

/** The hub, or the gateway to it. */
export interface Peer {
  readonly host: string;
  readonly port: number;
}

export async function gatherSituation(
  configFile: string,
  local: LocalSettings,
  signal: AbortSignal,
): Promise<Situation> {
  const network = networkOf(local);
  const identity = 'id' in network ? network : await present(local, network, signal);
  return {
    configFile,
    local,
    agent: await findAgent(configFile, local, signal),
    identity,
    network,
    peer: peerOf(local, identity),
    signal,
  };
}

function networkOf({ hub }: LocalSettings): Network | AgentError {
  try {
    return new Network({ ...hub, environment: process.env, clock: systemClock });
  } catch (error) {
    return toAgentError(error);
  }
}

async function present(local: LocalSettings, network: Network, signal: AbortSignal): Promise<Presented | AgentError> {
  let identity: Identity;
  try {
    identity = createIdentity(local.identity, {
      hub: local.hub,
      network,
      clock: systemClock,
      log: createLog({ level: 'silent' }),
      environment: process.env,
      state: undefined,
      mayCreate: false,
    });
  } catch (error) {
    return toAgentError(error);
  }
  const steps: Step[] = [];
  try {
    const presentation = await identity.present({ signal, onStep: (made) => steps.push(made) });
    return { identity, steps, presentation };
  } catch (thrown) {
    signal.throwIfAborted();
    return {
      identity,
      steps,
      failure: thrown instanceof HubFailure ? thrown : new HubFailure(toAgentError(thrown), undefined),
    };
  }
}

function peerOf({ hub }: LocalSettings, identity: Presented | AgentError): Peer | undefined {
  const module = 'identity' in identity ? identity.presentation?.module : undefined;
  const address = module?.connectTo ?? module?.hostName ?? hub.gatewayHostName ?? hub.hostName;
  return address === undefined
    ? undefined
    : addressOf(address, PORTS[hub.transport === 'auto' ? 'mqtt' : hub.transport]);
}

async function findAgent(
  configFile: string,
  { controlSocket }: LocalSettings,
  signal: AbortSignal,
): Promise<RunningAgent> {
  try {
    return { status: (await askControlSocket(controlSocket, '/status', { signal })) as LocalStatus };
  } catch (error) {
    signal.throwIfAborted();
    if (!isNoAgentListening(error)) return { doubt: toAgentError(error) };
    const unit = configFile === DEFAULT_CONFIG_FILE ? await askServiceUnit(signal) : undefined;
    return unit === undefined ? {} : { unit };
  }
}

/** For one step of a check. */
const LIMIT = seconds(10);

/** Waits for one step of a check. @throws TimeLimitError after 10 s, or the signal's reason */
export async function step<T>(what: string, work: Promise<T>, signal: AbortSignal): Promise<T> {
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
