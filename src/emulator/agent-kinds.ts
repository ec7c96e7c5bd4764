import { join } from 'node:path';
import { makeFolder } from '../core/base/paths.ts';
import { selfSigned } from './certificates.ts';
import { EdgeEmulator } from './edge/workload.ts';
import type { HubEmulator } from './hub.ts';
import { IdentityServiceEmulator } from './identity-service/service.ts';
import type { KeptFiles } from './kept-files.ts';
import { isRegistrationId } from './provisioning/enrollments.ts';
import { ProvisioningEmulator } from './provisioning/service.ts';
import type { RequestRecord } from './service/request-log.ts';
import { StartError } from './start-error.ts';

/** The environment in which a kind of identity is prepared. */
export interface Surroundings {
  readonly hub: HubEmulator;
  readonly files: KeptFiles;
  readonly deviceId: string;
  readonly moduleId: string;
  /** Port of the kind's additional service, if it has one. 0 selects a free one. */
  readonly servicePort: number;
}

/** A service that runs next to the hub, as the command shows and stops it. */
export interface RunningService {
  readonly name: string;
  /** A sentence with the address on which it listens. */
  readonly about: string;
  onRequest(listener: (record: RequestRecord) => void): void;
  stop(): Promise<void>;
}

/** The configuration that an agent needs for one kind of identity. */
export interface PreparedKind {
  /** The members `hub` and `identity` of its configuration. */
  readonly config: {
    readonly hub?: Readonly<Record<string, string>>;
    readonly identity: Readonly<Record<string, string>>;
  };
  /** Its environment variables. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly service?: RunningService;
}

/** Prepares the emulators, and writes the files that an agent needs. */
export type Prepare = (surroundings: Surroundings) => Promise<PreparedKind>;

/** The kinds of identity of an agent. With the device's credential, the agent itself adds its module to the hub. */
export const AGENT_KINDS = {
  moduleKey: async ({ hub, files, deviceId, moduleId }) => {
    const { path, key } = files.key('module.key');
    hub.addModule({ deviceId, moduleId, primaryKey: key });
    return { config: { hub: hubOf(hub, files), identity: { deviceId, moduleId, keyFile: path } } };
  },
  connectionString: async ({ hub, files, deviceId, moduleId }) => {
    hub.addModule({ deviceId, moduleId, primaryKey: files.key('module.key').key });
    const file = files.secret('module.connection-string', hub.connectionString(deviceId, moduleId));
    return { config: { hub: { trustedCaFile: files.path('ca.pem') }, identity: { file } } };
  },
  moduleCertificate: async ({ hub, files, deviceId, moduleId }) => {
    const { thumbprint, paths } = await certificate(files, 'module', `${deviceId}/${moduleId}`);
    hub.addModule({ deviceId, moduleId, credential: { type: 'selfSigned', primaryThumbprint: thumbprint } });
    return { config: { hub: hubOf(hub, files), identity: { deviceId, moduleId, ...paths } } };
  },
  deviceKey: async ({ hub, files, deviceId, moduleId }) => {
    const { path, key } = files.key('device.key');
    hub.addDevice({ deviceId, credential: { type: 'sas', primaryKey: key, secondaryKey: key } });
    return { config: { hub: withRest(hub, files), identity: { deviceId, moduleId, keyFile: path } } };
  },
  deviceCertificate: async ({ hub, files, deviceId, moduleId }) => {
    const { thumbprint, paths } = await certificate(files, 'device', deviceId);
    hub.addDevice({ deviceId, credential: { type: 'selfSigned', primaryThumbprint: thumbprint } });
    return { config: { hub: withRest(hub, files), identity: { deviceId, moduleId, ...paths } } };
  },
  provisioning: async ({ hub, files, deviceId, moduleId, servicePort }) => {
    if (!isRegistrationId(deviceId)) throw new StartError(`--device ${deviceId} can't be a registration id`);
    const { path, key } = files.key('registration.key');
    const service = await ProvisioningEmulator.start({
      hubs: [hub],
      port: servicePort,
      certificateAuthority: hub.certificateAuthority,
      individuals: [{ registrationId: deviceId, primaryKey: key }],
    });
    const { idScope, endpoint } = service;
    const { hostName: _assigned, ...rest } = withRest(hub, files);
    const identity = { idScope, registrationId: deviceId, keyFile: path, endpoint };
    const about = `The Device Provisioning Service, ID scope ${idScope}, listens on ${endpoint} (HTTPS, MQTT, WebSocket).`;
    return {
      config: { hub: rest, identity: moduleId === DEFAULT_MODULE ? identity : { ...identity, moduleId } },
      service: running('provisioning', about, service),
    };
  },
  edge: async ({ hub, files, deviceId, moduleId, servicePort }) => {
    hub.addModule({ deviceId, moduleId, primaryKey: files.key('module.key').key });
    const address =
      servicePort === 0 ? { socketPath: files.path('workload.sock'), mode: 0o600 } : { port: servicePort };
    const service = await EdgeEmulator.start({ hub, deviceId, address });
    const about = `The workload API of IoT Edge listens on ${service.workloadUri}.`;
    const environment = service.environmentOf(moduleId);
    return { config: { identity: {} }, environment, service: running('edge', about, service) };
  },
  identityService: async ({ hub, files, deviceId, moduleId }) => {
    const directory = files.path('aziot');
    makeFolder(directory, 0o700);
    hub.addModule({ deviceId, moduleId, primaryKey: files.key('module.key').key });
    const service = await IdentityServiceEmulator.start({ directory, hub, deviceId, moduleId });
    const about = `The IoT Identity Service listens on ${join(directory, '{identityd,keyd,certd}.sock')}.`;
    return {
      config: { hub: { trustedCaFile: files.path('ca.pem') }, identity: { socketDirectory: directory } },
      service: running('identity service', about, service),
    };
  },
} as const satisfies Record<string, Prepare>;

export type AgentKind = keyof typeof AGENT_KINDS;

/** The module id that an agent has by default (contract §1). */
const DEFAULT_MODULE = 'azureiotsecurity';

/** An agent's `hub`, without resolving the hub's name. */
const hubOf = (hub: HubEmulator, files: KeptFiles) => ({
  hostName: hub.hostName,
  gatewayHostName: `localhost:${hub.port}`,
  trustedCaFile: files.path('ca.pem'),
});

const withRest = (hub: HubEmulator, files: KeptFiles) => ({
  ...hubOf(hub, files),
  restEndpoint: `localhost:${hub.restPort}`,
});

/** Makes a self-signed certificate with its key. */
async function certificate(files: KeptFiles, name: string, commonName: string) {
  const { chainPem, keyPem, thumbprint } = await selfSigned({ commonName });
  const certificateFile = files.open(`${name}-certificate.pem`, chainPem);
  const keyFile = files.secret(`${name}-certificate.key`, keyPem);
  return { thumbprint, paths: { certificateFile, keyFile } };
}

const running = (name: string, about: string, service: Pick<RunningService, 'onRequest' | 'stop'>): RunningService => ({
  name,
  about,
  onRequest: (listener) => service.onRequest(listener),
  stop: () => service.stop(),
});
