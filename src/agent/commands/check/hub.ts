import { systemClock } from '../../../core/base/clock.ts';
import { seconds } from '../../../core/base/duration.ts';
import { AgentError } from '../../../core/base/errors.ts';
import { createLog } from '../../../core/base/log.ts';
import { VERSION } from '../../../core/base/version.ts';
import { HubFailure, type Transport } from '../../../core/contract/hub.ts';
import type { Network } from '../../../core/network/network.ts';
import { twinDialect } from '../../../core/twin/published-object.ts';
import { readTwin } from '../../../core/twin/twin.ts';
import { AzureHubClient } from '../../hub/azure-client.ts';
import { type Finding, failed, note, notTried, ok, seen, wrong } from './finding.ts';
import { instead, NETWORK_PATH, walkOther } from './network-path.ts';
import { type Check, type Presented, type Situation, step, type Walk } from './situation.ts';

const NAME = 'hub';
const TWIN = 'module twin';

/** The connection of a running agent, from its status. */
export const agentsHub: Check = {
  name: NAME,
  run({ agent: { status, statusByThisFile, statusError }, configFile }, failedChecks) {
    if (statusError !== undefined) return [notTried(NAME, 'the hub would close its connection for a second one')];
    if (status === undefined) return [];
    const isExplained = ['clock', 'identity', 'secrets', NETWORK_PATH].some((name) => failedChecks.has(name));
    const findings = fromRunningAgent(status, isExplained);
    return statusByThisFile === undefined ? findings.map((found) => notOf(configFile, found)) : findings;
  },
};

/** Without a running agent: whether the hub accepts the identity, and the twin can be read. */
export const hub: Check = {
  name: NAME,
  needs: ['clock', 'identity', NETWORK_PATH],
  async run(situation) {
    const { mayRun, identity, network } = situation;
    if (mayRun || 'id' in network || 'id' in identity || identity.presentation === undefined) return [];
    const taken = (await situation.networkPath())?.taken;
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
    return [(isExplained ? note : wrong)(NAME, problem, hub.remedy ?? 'Wait a moment, then run the check again.')];
  }
  const { renewalError, renewalRemedy } = hub;
  const connected = seen(
    renewalError === undefined
      ? ok(NAME, 'the running agent is connected')
      : note(NAME, `the running agent is connected, but can't renew its connection: ${renewalError}`, renewalRemedy),
    describe(credential),
  );
  const faults = Object.entries(configuration?.errors ?? {}).map(([name, message]) => `${name} ${message}`);
  return faults.length === 0 ? [connected] : [connected, refused(faults)];
}

const describe = (credential: NonNullable<Situation['agent']['status']>['credential'] | undefined): string[] =>
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
  if (other === undefined || other.failure !== undefined) return [failed(NAME, first)];
  const second = await connectBy(other.transport, { identity, network, situation });
  return second instanceof AgentError ? [failed(NAME, first)] : [instead(taken, failure, other), ...second];
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
        ? ok(NAME, 'the identity is accepted')
        : note(
            NAME,
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
