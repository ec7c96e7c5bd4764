import { systemClock } from '../../../core/base/clock.ts';
import { askControlSocket, isNoAgentListening } from '../../../core/base/control-socket.ts';
import { agentUsesCopies } from '../../../core/base/credential-copies.ts';
import { type AgentError, toAgentError } from '../../../core/base/errors.ts';
import { createLog } from '../../../core/base/log.ts';
import { HubFailure } from '../../../core/contract/hub.ts';
import { Network } from '../../../core/network/network.ts';
import { DEFAULT_CONFIG_FILE, hashOfLocalFile, type LocalSettings } from '../../config/local.ts';
import { TransportChoice } from '../../hub/transport.ts';
import type { Identity, Step } from '../../identity/identity.ts';
import { createIdentity } from '../../identity/kinds.ts';
import { askServiceUnit } from '../../linux/self/service-unit.ts';
import type { StateFiles } from '../../state/state-files.ts';
import { StateFolder } from '../../state/state-folder.ts';
import type { LocalStatus } from '../../status/schema.ts';
import { CREDENTIALS, copiesUsedBy } from './copies.ts';
import { findNetworkPath } from './network-path.ts';
import type { NetworkPath, Presented, RunningAgent, Situation } from './situation.ts';

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
  const situation = { configFile, local, agent, credentials, mayRun, identity, network, transports, transport, signal };
  let found: Promise<NetworkPath | undefined> | undefined;
  return {
    ...situation,
    networkPath: () => {
      found ??= findNetworkPath(situation);
      return found;
    },
  };
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
