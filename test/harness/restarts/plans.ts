import { type Duration, seconds } from '../../../src/core/base/duration.ts';
import type { FailureId } from '../../../src/core/base/errors.ts';
import { DEVICE, type Launch, MODULE } from '../../integration/test-bed.ts';
import { once } from '../scenario/runner.ts';
import type { Site, SiteFault } from './site.ts';
import type { Changes } from './site-agent.ts';
import type { SiteName } from './sites.ts';

/** The columns of the table, in their order. */
export const SITUATIONS = [
  'first connect',
  'renewal without restart',
  'wrong secret',
  'missing module',
  'missing module that the agent may not create',
  'service away at start',
  'service away while running',
  'service away at a restart',
  'move to another hub',
  'port 8883 silent',
] as const;
export type Situation = (typeof SITUATIONS)[number];

/** Faults of one situation, and the expected behaviour of the agent. */
export interface Plan {
  /** `start`: before the agent is started for the first time; `restart`: between two runs. */
  readonly when: 'start' | 'restart' | 'running';
  readonly fault: SiteFault;
  /** Ids of errors that the agent must have logged before the fault ends. */
  readonly must: readonly FailureId[];
  /** Ids of errors, of which it must log at least one. */
  readonly reason?: RegExp;
  /** Ids of errors that it may log in addition. */
  readonly may?: readonly FailureId[];
  /** A line that the agent must log in the end. */
  readonly says?: string;
  /**
   * Time limit from the end of the fault until a hub has admitted the agent; from its start if the fault has no end.
   */
  readonly limit: Duration;
  /** Whether the agent recovers without an operator and before the fault ends. */
  readonly byItself?: boolean;
  /** How the agent is restarted after the fault. If omitted, it keeps running. */
  readonly relaunch?: () => Launch;
  readonly changes?: Changes;
}

/** The limits of contract §1; the first one is for starts. */
const LIMITS = {
  /** The start of a process, and a registration, on a busy machine. */
  start: seconds(25),
  changedFile: seconds(25),
  regeneratedKey: seconds(45),
  localSocket: seconds(15),
  missingModule: seconds(30),
  silentPort: seconds(95),
  /** At most six attempts a minute, and connecting. */
  network: seconds(65),
};

type Group = 'moduleKey' | 'moduleCertificate' | 'device' | 'provisioning' | 'edge' | 'identityService';

const GROUPS: Readonly<Record<SiteName, Group>> = {
  moduleKey: 'moduleKey',
  moduleKeyWebSocket: 'moduleKey',
  connectionString: 'moduleKey',
  moduleCertificate: 'moduleCertificate',
  deviceKey: 'device',
  deviceCertificate: 'device',
  provisioning: 'provisioning',
  provisioningGroup: 'provisioning',
  provisioningCertificate: 'provisioning',
  edge: 'edge',
  identityService: 'identityService',
};

/** Errors that the agent logs while the service that provides the credential, or otherwise the hub, is unavailable. */
const AWAY: Readonly<Record<Group, FailureId>> = {
  moduleKey: 'HUB_UNREACHABLE',
  moduleCertificate: 'HUB_UNREACHABLE',
  device: 'HUB_UNREACHABLE',
  provisioning: 'PROVISIONING_UNREACHABLE',
  edge: 'EDGE_UNREACHABLE',
  identityService: 'IDENTITY_SERVICE_UNREACHABLE',
};

/** The hub closes the connection whose key it no longer knows, and the agent logs it. */
const CLOSED: readonly FailureId[] = ['HUB_UNREACHABLE'];
export const CREATED = 'Created the module at the hub, which did not have it.';
export const ASSIGNED = 'The provisioning service assigned the device to a hub.';

const NOTHING = once('nothing');

/** @returns why the situation does not exist; `undefined` if it exists */
export function planOf(name: SiteName, situation: Situation, site: Site): Plan | string {
  const group = GROUPS[name];
  const asksRegistry = group === 'device' || group === 'provisioning';
  const isLocal = group === 'edge' || group === 'identityService';
  const { operations } = site;
  const away = {
    fault: operations.away,
    must: [AWAY[group]],
    reason: /can't be reached|can't be used|does not exist/, // not only that the connection was lost
    limit: isLocal ? LIMITS.localSocket : LIMITS.network,
  };
  switch (situation) {
    case 'first connect':
      return {
        ...{ when: 'start', fault: NOTHING, byItself: true, must: [], limit: LIMITS.start },
        ...(asksRegistry ? { says: group === 'device' ? CREATED : ASSIGNED } : {}),
      };
    case 'renewal without restart': {
      if (operations.renew === undefined) return 'the agent renews it by itself';
      const closes = group === 'moduleKey' || isLocal;
      const limit = isLocal ? LIMITS.regeneratedKey : LIMITS.changedFile;
      const fault = once('renewed', operations.renew);
      return { when: 'running', fault, byItself: true, must: [], may: closes ? CLOSED : [], limit };
    }
    case 'wrong secret':
      return wrongSecret(group, site);
    case 'missing module':
      return missingModule(group, site);
    case 'missing module that the agent may not create':
      if (!asksRegistry) return 'it never creates one';
      return {
        when: 'start',
        changes: { identity: { createModule: false } },
        fault: { name: 'no module', begin: () => {}, end: () => void site.hubs[0]?.addModule(MODULE_ID) },
        must: ['MODULE_UNKNOWN'],
        limit: LIMITS.missingModule,
      };
    case 'service away at start':
      return { when: 'start', ...away };
    case 'service away while running':
      // The hub has closed the connection, and refuses keys or a device that it no longer knows.
      return { when: 'running', ...away, may: [...CLOSED, ...(asksRegistry ? (['CREDENTIAL_REFUSED'] as const) : [])] };
    case 'service away at a restart':
      if (group !== 'provisioning') return 'nothing of what the service said is kept over restarts';
      return { when: 'restart', fault: operations.absent ?? NOTHING, byItself: true, must: [], limit: LIMITS.start };
    case 'move to another hub':
      if (operations.move === undefined)
        return "the hub is in the agent's configuration, or in its container's variables";
      return {
        when: 'running',
        fault: once('moved', operations.move),
        byItself: true,
        must: [],
        may: [...CLOSED, 'CREDENTIAL_REFUSED'],
        limit: name === 'connectionString' ? LIMITS.changedFile : LIMITS.regeneratedKey,
        ...(group === 'provisioning' ? { says: ASSIGNED } : {}),
      };
    case 'port 8883 silent':
      if (!site.hasProxy) return 'its ports have other numbers here, and the agent tries 443 after 8883 only';
      return {
        when: 'start',
        changes: { hub: { transport: 'auto' } },
        fault: {
          name: 'silent',
          begin: () => site.hubs.forEach((hub) => void hub.faults.inject({ kind: 'mqttSilence' })),
          end: () => site.hubs.forEach((hub) => void hub.faults.clear()),
        },
        must: ['HUB_SILENT'],
        byItself: true,
        limit: LIMITS.silentPort,
      };
  }
}

const MODULE_ID = { deviceId: DEVICE, moduleId: MODULE };

function wrongSecret(group: Group, { operations, hubs }: Site): Plan {
  if (operations.spoil === undefined) {
    const fault: SiteFault = {
      name: 'two tokens refused',
      begin() {
        for (const hub of hubs) hub.faults.inject({ kind: 'refuseConnections', count: 2 });
        for (const hub of hubs) hub.disconnect(DEVICE, MODULE);
      },
      end: () => {},
    };
    const must: FailureId[] = ['CREDENTIAL_REFUSED'];
    return { when: 'running', fault, byItself: true, must, may: CLOSED, limit: LIMITS.localSocket };
  }
  const must: FailureId[] = [group === 'provisioning' ? 'PROVISIONING_REFUSED' : 'CREDENTIAL_REFUSED'];
  return {
    when: 'running',
    fault: operations.spoil,
    must,
    may: [...CLOSED, 'CREDENTIAL_REFUSED'],
    limit: LIMITS.changedFile,
  };
}

function missingModule(group: Group, { operations }: Site): Plan | string {
  if (operations.remake !== undefined) {
    const { launch } = operations.remake;
    return {
      when: 'running',
      fault: operations.remake,
      must: ['EDGE_REFUSED'],
      may: CLOSED,
      limit: LIMITS.start,
      relaunch: () => launch(),
    };
  }
  if (operations.lose === undefined) return 'nothing can lose it';
  if (group === 'identityService') {
    const must: FailureId[] = ['IDENTITY_SERVICE_REFUSED'];
    return { when: 'running', fault: operations.lose, must, may: CLOSED, limit: LIMITS.localSocket };
  }
  const may: FailureId[] = [...CLOSED, 'CREDENTIAL_REFUSED'];
  if (group === 'device' || group === 'provisioning') {
    const { regeneratedKey: limit } = LIMITS;
    return { when: 'running', fault: operations.lose, byItself: true, must: [], may, says: CREATED, limit };
  }
  return { when: 'running', fault: operations.lose, must: ['CREDENTIAL_REFUSED'], may, limit: LIMITS.changedFile };
}
