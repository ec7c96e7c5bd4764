import { systemClock } from '../../base/clock.ts';
import { askControlSocket, isNoAgentListening } from '../../base/control-socket.ts';
import { seconds } from '../../base/duration.ts';
import { type AgentError, toAgentError } from '../../base/errors.ts';
import { DEFAULT_CONFIG_FILE, type LocalSettings } from '../../config/local.ts';
import { loadIdentity } from '../../hub/identity/index.ts';
import type { ModuleIdentity } from '../../hub/identity/module-identity.ts';
import { askServiceUnit, type ServiceUnit } from '../../linux/self/service-unit.ts';
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
  /** The agent's identity, or why it can't be loaded. */
  readonly identity: ModuleIdentity | AgentError;
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

/** The hub, or the gateway to it. */
export interface Peer {
  readonly host: string;
  readonly port: number;
}

const MQTT_OVER_TLS = 8883;

export async function gatherSituation(
  configFile: string,
  local: LocalSettings,
  signal: AbortSignal,
): Promise<Situation> {
  const identity = identityOf(local);
  return {
    configFile,
    local,
    agent: await findAgent(configFile, local, signal),
    identity,
    peer: peerOf(local, identity),
    signal,
  };
}

function identityOf({ identity, hub }: LocalSettings): ModuleIdentity | AgentError {
  try {
    return loadIdentity(identity, hub);
  } catch (error) {
    return toAgentError(error);
  }
}

function peerOf({ hub }: LocalSettings, identity: ModuleIdentity | AgentError): Peer | undefined {
  const told = 'hostName' in identity ? (identity.gatewayHostName ?? identity.hostName) : hub.hostName;
  const address = hub.gatewayHostName ?? told;
  if (address === undefined) return undefined;
  const [, host = address, port] = /^(.*?)(?::(\d{1,5}))?$/.exec(address) ?? [];
  return { host, port: port === undefined ? MQTT_OVER_TLS : Number(port) };
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
