import { systemClock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { createLog } from '../../base/log.ts';
import { VERSION } from '../../base/version.ts';
import { readTwin } from '../../config/twin.ts';
import { AzureHubClient } from '../../hub/azure-client.ts';
import type { Identity } from '../../identity/identity.ts';
import type { Network } from '../../network/network.ts';
import { twinDialect } from '../twin-dialect.ts';
import { type Finding, failed, notTried, ok, wrong } from './finding.ts';
import { type Check, type Situation, step } from './situation.ts';

const NAME = 'hub';
const TWIN = 'module twin';

/** The connection of a running agent, from its status. */
export const agentsHub: Check = {
  name: NAME,
  run({ agent: { status, doubt } }) {
    if (doubt !== undefined) return [notTried(NAME, 'the hub would close its connection for a second one')];
    return status === undefined ? [] : fromRunningAgent(status);
  },
};

/** Without a running agent: whether the hub accepts the identity, and the twin can be read. */
export const hub: Check = {
  name: NAME,
  needs: ['identity', 'TLS'],
  async run(situation) {
    const { agent, identity, network } = situation;
    const mayRun = agent.status !== undefined || agent.doubt !== undefined;
    if (mayRun || 'id' in network || 'id' in identity || identity.presentation === undefined) return [];
    return connect(identity.identity, network, situation);
  },
};

function fromRunningAgent({ hub, configuration }: NonNullable<Situation['agent']['status']>): Finding[] {
  if (hub.state !== 'connected') {
    const what = `the running agent is not connected: ${hub.error ?? hub.state}`;
    return [wrong(NAME, what, hub.remedy ?? 'Wait a moment, then run the check again.')];
  }
  const connected = ok(NAME, 'the running agent is connected');
  const faults = Object.entries(configuration?.errors ?? {}).map(([name, message]) => `${name} ${message}`);
  return faults.length === 0 ? [connected] : [connected, refused(faults)];
}

async function connect(identity: Identity, network: Network, { local, signal }: Situation): Promise<Finding[]> {
  const client = new AzureHubClient({
    identity,
    network,
    transport: local.hub.transport,
    productInfo: `vakt/${VERSION}`,
    clock: systemClock,
    log: createLog({ level: 'silent' }),
  });
  try {
    await client.start();
    await settled(client, signal);
    signal.throwIfAborted();
    const { state, error } = client.status();
    if (state !== 'connected') return [failed(NAME, error ?? SILENT)];
    return [ok(NAME, 'the identity is accepted'), await twin(client, local.twinObjectName, signal)];
  } finally {
    await client.stop();
  }
}

const SILENT = new AgentError(
  'HUB_SILENT',
  'the hub did not answer in time',
  'Run the check again; if that does not help, see the findings above.',
);

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

async function twin(client: AzureHubClient, objectName: string, signal: AbortSignal): Promise<Finding> {
  const answer = await step('the module twin', client.readTwin(), signal);
  if (answer.status !== 'accepted') return failed(TWIN, answer.error);
  const { desired } = answer.value;
  const dialect = twinDialect(objectName);
  const document = dialect.documentIn(desired);
  const reading = readTwin(document, dialect);
  if (!reading.ok) return refused(reading.faults.map(({ name, message }) => `${name} ${message}`));
  const what = document === null ? `, without ${objectName}: all settings have their defaults` : '';
  return ok(TWIN, `readable, desired version ${desired.$version}${what}`);
}

const refused = (faults: readonly string[]): Finding =>
  wrong(
    TWIN,
    `the desired configuration is invalid and not applied: ${faults.join('; ')}`,
    'Correct the desired properties of the module twin.',
  );
