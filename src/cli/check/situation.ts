import { systemClock } from '../../base/clock.ts';
import { askControlSocket, isNobodyThere } from '../../base/control-socket.ts';
import { seconds } from '../../base/duration.ts';
import { type AgentError, toAgentError } from '../../base/errors.ts';
import { DEFAULT_CONFIG_FILE, type LocalSettings } from '../../config/local.ts';
import { loadIdentity } from '../../hub/identity/index.ts';
import type { ModuleIdentity } from '../../hub/identity/module-identity.ts';
import { askServiceUnit, type ServiceUnit } from '../../linux/self/service-unit.ts';
import type { LocalStatus } from '../../status/schema.ts';
import type { Finding } from './finding.ts';

/** One thing that is looked at. To add one: a file that exports it, and a line in index.ts. */
export interface Check {
  /** What its findings are called. */
  readonly name: string;
  /** Checks that must be in order for this one to make sense; else it is passed over, and says nothing. */
  readonly needs?: readonly string[];
  /** May find nothing worth a word. What it throws becomes a finding. */
  run(situation: Situation): readonly Finding[] | Promise<readonly Finding[]>;
}

/** What all checks are told. */
export interface Situation {
  readonly configFile: string;
  readonly local: LocalSettings;
  readonly agent: RunningAgent;
  /** Who connects; or why that isn't known. */
  readonly identity: ModuleIdentity | AgentError;
  /** Where to; `undefined` when not even that is known. */
  readonly peer: Peer | undefined;
  /** Ctrl-C. */
  readonly signal: AbortSignal;
}

/**
 * An agent that runs, and is asked; or one that may run, and isn't disturbed: a second connection would throw the first
 * one out of the hub. With neither, none runs.
 */
export interface RunningAgent {
  readonly status?: LocalStatus;
  /** Why one can't be asked. */
  readonly doubt?: AgentError;
  /** Of one that isn't there, where systemd knows its service. */
  readonly unit?: ServiceUnit;
}

/** The hub, or the gateway to it. */
export interface Peer {
  readonly host: string;
  readonly port: number;
}

const MQTT_OVER_TLS = 8883;

export async function lookAround(configFile: string, local: LocalSettings, signal: AbortSignal): Promise<Situation> {
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
    if (!isNobodyThere(error)) return { doubt: toAgentError(error) };
    const unit = configFile === DEFAULT_CONFIG_FILE ? await askServiceUnit(signal) : undefined;
    return unit === undefined ? {} : { unit };
  }
}

/** No single step may keep the operator waiting longer. */
const LIMIT = seconds(10);

/** Waits for one step, for as long as an operator likes to: neither too long nor beyond Ctrl-C. */
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
