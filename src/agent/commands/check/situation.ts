import { systemClock } from '../../../core/base/clock.ts';
import { askControlSocket, isNoAgentListening } from '../../../core/base/control-socket.ts';
import { agentUsesCopies } from '../../../core/base/credential-copies.ts';
import { seconds } from '../../../core/base/duration.ts';
import { type AgentError, toAgentError } from '../../../core/base/errors.ts';
import { createLog } from '../../../core/base/log.ts';
import { HubFailure, type Transport } from '../../../core/contract/hub.ts';
import { Network } from '../../../core/network/network.ts';
import { credentialFilesOf, DEFAULT_CONFIG_FILE, hashOfLocalFile, type LocalSettings } from '../../config/local.ts';
import { TransportChoice } from '../../hub/transport.ts';
import type { Identity, Presentation, Step } from '../../identity/identity.ts';
import { createIdentity } from '../../identity/kinds.ts';
import { askServiceUnit, type ServiceUnit } from '../../linux/self/service-unit.ts';
import type { StateFiles } from '../../state/state-files.ts';
import { StateFolder } from '../../state/state-folder.ts';
import type { LocalStatus } from '../../status/schema.ts';
import type { Finding } from './finding.ts';

/** One check of `vakt check`. To add one: export it from the file of its subject, and add a line to index.ts. */
export interface Check {
  /** The heading of its findings. */
  readonly name: string;
  /** Names of checks that it depends on: if one of them fails or is skipped, this one is skipped, without a finding. */
  readonly needs?: readonly string[];
  /** Whether it also runs when the configuration is invalid, with the default settings. */
  readonly worksWithoutConfiguration?: true;
  /**
   * May return no findings. An error that it throws becomes a finding.
   *
   * @param failed names of the checks that failed or were skipped so far
   */
  run(situation: Situation, failed: ReadonlySet<string>): readonly Finding[] | Promise<readonly Finding[]>;
}

/** The input of all checks. */
export interface Situation {
  readonly configFile: string;
  readonly local: LocalSettings;
  readonly agent: RunningAgent;
  /** The folder in which systemd's copies of secrets are. */
  readonly credentials: string;
  /** Whether an agent is running, or may be. */
  readonly mayRun: boolean;
  /** How the agent proves who it is, or why it can't. */
  readonly identity: Presented | AgentError;
  readonly network: Network | AgentError;
  readonly transports: TransportChoice;
  /** What the agent uses now, or first. */
  readonly transport: Transport;
  /** Aborts at Ctrl-C. */
  readonly signal: AbortSignal;
}

/**
 * A running agent has a `status`. With a `statusError`, an agent may be running, and must not be disturbed: the hub would
 * close its connection for a second one. With neither, no agent is running.
 */
export interface RunningAgent {
  readonly status?: LocalStatus;
  /** The same, unless the agent was started by another local file: then its connection says nothing about the checked one. */
  readonly statusByThisFile?: LocalStatus;
  /** Why it is unknown whether an agent is running. */
  readonly statusError?: AgentError;
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
  /** It was not tried: it would ask services for credentials, and an agent that may be running has done so. */
  readonly isLeftToAgent?: true;
}

/** Where systemd makes the copies, in a folder for each service. Only root can write there. */
export const CREDENTIALS = '/run/credentials';

export async function gatherSituation(
  configFile: string,
  local: LocalSettings,
  signal: AbortSignal,
  credentials = CREDENTIALS,
): Promise<Situation> {
  const network = networkOf(local);
  const agent = await findAgent(configFile, local, signal);
  agentUsesCopies(copiesUsedBy(agent.status, local).keys()); // for the remedies of the steps below
  const mayRun = agent.status !== undefined || agent.statusError !== undefined;
  const identity = 'id' in network ? network : await present({ local, network, mayRun, signal });
  const transports = transportsOf(local);
  const transport = agent.statusByThisFile?.credential?.transport ?? transports.next();
  return { configFile, local, agent, credentials, mayRun, identity, network, transports, transport, signal };
}

function networkOf({ hub }: LocalSettings): Network | AgentError {
  try {
    return new Network({ ...hub, environment: process.env, clock: systemClock });
  } catch (error) {
    return toAgentError(error);
  }
}

/** With `auto`, the agent begins with what it remembers. */
function transportsOf({ hub, stateDirectory }: LocalSettings): TransportChoice {
  const state = new StateFolder(stateDirectory, READ_ONLY);
  return new TransportChoice({ setting: hub.transport, state, clock: systemClock });
}

const READ_ONLY: StateFiles = { replace: () => {}, remove: () => {}, settled: async () => {} };

async function present({
  local,
  network,
  mayRun,
  signal,
}: {
  local: LocalSettings;
  network: Network;
  mayRun: boolean;
  signal: AbortSignal;
}): Promise<Presented | AgentError> {
  let identity: Identity;
  try {
    identity = createIdentity(local.identity, {
      hub: local.hub,
      network,
      clock: systemClock,
      log: createLog({ level: 'silent' }),
      environment: process.env,
      state: new StateFolder(local.stateDirectory, READ_ONLY),
      mayCreate: false,
    });
  } catch (error) {
    return toAgentError(error);
  }
  const steps: Step[] = [];
  if (mayRun && identity.isLocal !== true) return { identity, steps, isLeftToAgent: true };
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

async function findAgent(
  configFile: string,
  { controlSocket }: LocalSettings,
  signal: AbortSignal,
): Promise<RunningAgent> {
  try {
    const status = (await askControlSocket(controlSocket, '/status', { signal })) as LocalStatus;
    const { localFileHash } = status; // none: the agent is older than this member
    const isByAnother = localFileHash !== undefined && localFileHash !== hashOfLocalFile(configFile);
    return isByAnother ? { status } : { status, statusByThisFile: status };
  } catch (error) {
    signal.throwIfAborted();
    if (!isNoAgentListening(error)) return { statusError: toAgentError(error) };
    const unit = configFile === DEFAULT_CONFIG_FILE ? await askServiceUnit(signal) : undefined;
    return unit === undefined ? {} : { unit };
  }
}

/** By file, the copies that a running agent uses of the configuration's secrets and certificates. */
export function copiesUsedBy(status: LocalStatus | undefined, local: LocalSettings): ReadonlyMap<string, string> {
  const files = credentialFilesOf(local);
  return new Map(Object.entries(status?.hub?.copies ?? {}).filter(([file]) => files.includes(file)));
}

/** For one step of a check. */
const LIMIT = seconds(10);

/** Waits for one step of a check. @throws TimeLimitError after 10 s, or the signal's reason */
export async function step<T>(label: string, work: Promise<T>, signal: AbortSignal): Promise<T> {
  const done = new AbortController();
  const aborted = new Promise<never>((_, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true, signal: done.signal });
  });
  try {
    return await Promise.race([systemClock.within(LIMIT, label, work), aborted]);
  } finally {
    done.abort();
  }
}
