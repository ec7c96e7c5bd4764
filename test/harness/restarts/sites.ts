import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type IssuedCertificate, selfSigned } from '../../../src/emulator/certificates.ts';
import { EdgeEmulator } from '../../../src/emulator/edge/workload.ts';
import type { HubEmulator } from '../../../src/emulator/hub.ts';
import { IdentityServiceEmulator } from '../../../src/emulator/identity-service/service.ts';
import { ProvisioningEmulator } from '../../../src/emulator/provisioning/service.ts';
import type { RestRequest } from '../../../src/emulator/rest-api.ts';
import { DEVICE, type Launch, MODULE } from '../../integration/test-bed.ts';
import { away, injected } from '../scenario/runner.ts';
import {
  hubFaults,
  momentary,
  type Operations,
  proxyFaults,
  type Site,
  type SiteFault,
  Surroundings,
  serviceFaults,
} from './site.ts';

const PROVISIONING = 'global.azure-devices-provisioning.net:443';
const ID_SCOPE = '0ne00000001';
const OTHER_HUB = 'other.azure-devices.net';
const PASSWORD_FILE = 'proxy.password';

const newKey = (): string => randomBytes(32).toString('base64');
const module = { deviceId: DEVICE, moduleId: MODULE };

interface Parts {
  readonly surroundings: Surroundings;
  readonly operations: Operations;
  readonly identity: object;
  readonly hub?: object;
  readonly faults?: readonly SiteFault[];
  readonly launch?: Launch;
  readonly touch?: () => void;
  readonly registrations?: Site['registrations'];
}

/** All connections go through a proxy with a password, under the real host names. */
async function behindProxy(desired: object): Promise<Surroundings> {
  const surroundings = await Surroundings.open(desired);
  const password = newKey();
  await surroundings.addProxy({ name: 'vakt', password });
  surroundings.secret(PASSWORD_FILE, `${password}\n`);
  return surroundings;
}

const hubByProxy = ({ proxy, hub }: Surroundings) => ({
  hostName: hub.hostName,
  trustedCaFile: 'ca.pem',
  proxy: `http://vakt@localhost:${proxy.port}`,
  proxyPasswordFile: PASSWORD_FILE,
  transport: 'mqtt',
});

/** Includes a proxy that requires a new password, which the device gets later. */
function faultsOfProxy(surroundings: Surroundings): SiteFault[] {
  let password = readFileSync(join(surroundings.bed.directory, PASSWORD_FILE), 'utf8').trim();
  const write = () => surroundings.secret(PASSWORD_FILE, `${password}\n`);
  const changed: SiteFault = {
    name: 'proxy password changed',
    lasts: [0.5, 20],
    begin() {
      password = newKey();
      surroundings.proxy.setUser({ name: 'vakt', password });
      surroundings.proxy.closeTunnels();
    },
    end: write,
    writes: true,
  };
  return [...proxyFaults(surroundings, write), changed];
}

function finish({
  surroundings,
  operations,
  identity,
  hub,
  faults = [],
  launch = {},
  touch,
  registrations,
}: Parts): Site {
  const configuration = { ...(hub === undefined ? {} : { hub }), identity };
  surroundings.bed.writeConfiguration(configuration);
  const { renew, move, spoil, lose } = operations;
  const own: SiteFault[] = [
    ...(spoil === undefined ? [] : [spoil]),
    ...(lose === undefined ? [] : [lose]),
    ...(renew === undefined ? [] : [momentary('credential renewed', renew)]),
    ...(move === undefined ? [] : [momentary('moved to another hub', move)]),
  ];
  return Object.assign(surroundings, {
    operations,
    launch,
    configuration,
    registrations: registrations ?? (() => []),
    faults: [...hubFaults(surroundings, { touch }), ...own, ...faults],
  });
}

/** An agent that uses the registry reads the module, and may create it. Reading counts as an attempt. */
function countRegistry(surroundings: Surroundings): void {
  for (const hub of surroundings.hubs) {
    surroundings.countRequests(`${hub.hostName}:443`, (add) => {
      hub.on('restRequest', ({ at, method }: RestRequest) => {
        if (method === 'GET') add(at);
      });
    });
  }
}

/** Invalidates the module's keys that the agent has read, so that it must read them again as the device. */
function regenerateModule(hub: HubEmulator): void {
  if (hub.getModule(DEVICE, MODULE)?.credential.type === 'sas') hub.regenerateKeys(module);
}

/** The hub's REST interface is unavailable, and the keys that were read there are no longer valid. */
const registryAway = (surroundings: Surroundings): SiteFault => ({
  name: 'registry restarted',
  async begin() {
    // The proxy forwards port 443 of the hub's name to this server, which also has the REST API.
    for (const hub of surroundings.hubs) await hub.offline('mqttWebSocket');
    regenerateModule(surroundings.hub);
  },
  async end() {
    for (const hub of surroundings.hubs) await hub.online();
  },
});

/** Faults of the hub's REST interface while the module's keys are renewed, which the agent must then read. */
function registryFaults({ hub }: Surroundings): SiteFault[] {
  const regenerate = () => regenerateModule(hub);
  const fault = (problem: string, fault: Parameters<typeof injected>[2][number]): SiteFault =>
    injected(`registry ${problem}`, [hub], [fault], regenerate);
  return [
    momentary('module keys regenerated', regenerate),
    fault('silent', { kind: 'restSilence' }),
    fault('busy', { kind: 'restStatus', status: 503, retryAfter: 3 }),
    fault('throttles', { kind: 'restStatus', status: 429, retryAfter: 5 }),
    fault('answers garbage', { kind: 'restGarbage' }),
    fault('slow', { kind: 'restDelay', ms: 2_000 }),
  ];
}

const removed = (hub: () => HubEmulator): SiteFault =>
  momentary('module removed', () => hub().removeModule(DEVICE, MODULE));

const recreated = (hub: () => HubEmulator, recreate: () => unknown): SiteFault => ({
  name: 'module removed and recreated',
  lasts: [0.5, 5],
  begin: () => hub().removeModule(DEVICE, MODULE),
  end: recreate,
});

/** Operations for a module with its own key, over any transport. */
function moduleKeyOperations(surroundings: Surroundings): {
  operations: Operations;
  identity: object;
  touch: () => void;
} {
  const { hub, bed } = surroundings;
  let primaryKey = bed.key;
  let secondaryKey = newKey();
  const write = () => {
    surroundings.secret('module.key', `${primaryKey}\n`);
    surroundings.secret('secondary.key', `${secondaryKey}\n`);
  };
  const register = () => hub.addModule({ ...module, primaryKey, secondaryKey });
  register();
  write();
  return {
    identity: { kind: 'moduleKey', ...module, keyFile: 'module.key', secondaryKeyFile: 'secondary.key' },
    touch: write,
    operations: {
      away: away('hub away', surroundings.hubs),
      renew() {
        ({ primaryKey } = hub.regenerateKeys(module, 'primary')); // the secondary key is used until the file is written
        write();
      },
      spoil: {
        name: 'both keys regenerated',
        lasts: [2, 40],
        begin() {
          ({ primaryKey, secondaryKey } = hub.regenerateKeys(module));
        },
        end: write,
        writes: true,
      },
      lose: recreated(
        () => hub,
        () => {
          register();
          write();
        },
      ),
    },
  };
}

async function moduleKey(desired: object): Promise<Site> {
  const surroundings = await behindProxy(desired);
  const faults = [...faultsOfProxy(surroundings)];
  const hub = { ...hubByProxy(surroundings), transport: 'auto' };
  return finish({ surroundings, hub, faults, ...moduleKeyOperations(surroundings) });
}

async function moduleKeyWebSocket(desired: object): Promise<Site> {
  const surroundings = await Surroundings.open(desired);
  const { hub } = surroundings;
  surroundings.name(hub.webSocketPort, 'the hub');
  const gatewayHostName = `localhost:${hub.webSocketPort}`;
  return finish({
    surroundings,
    hub: { hostName: hub.hostName, gatewayHostName, trustedCaFile: 'ca.pem', transport: 'mqttWebSocket' },
    ...moduleKeyOperations(surroundings),
  });
}

async function connectionString(desired: object): Promise<Site> {
  const surroundings = await Surroundings.open(desired);
  const other = await surroundings.addHub(OTHER_HUB);
  let hub = surroundings.hub;
  surroundings.name(hub.port, 'the hub');
  surroundings.name(other.port, 'the other hub');
  const touch = () => surroundings.secret('module.connection-string', hub.connectionString(DEVICE, MODULE));
  hub.addModule(module);
  touch();
  return finish({
    surroundings,
    hub: { trustedCaFile: 'ca.pem', transport: 'mqtt' },
    identity: { kind: 'connectionString', file: 'module.connection-string' },
    touch,
    operations: {
      away: away('hub away', surroundings.hubs),
      renew() {
        hub.regenerateKeys(module);
        touch();
      },
      spoil: {
        name: 'keys regenerated',
        lasts: [2, 40],
        begin: () => void hub.regenerateKeys(module),
        end: touch,
      },
      lose: recreated(
        () => hub,
        () => {
          hub.addModule(module);
          touch();
        },
      ),
      move() {
        hub.removeModule(DEVICE, MODULE);
        hub = hub === other ? surroundings.hub : other;
        hub.addModule(module);
        touch();
      },
    },
  });
}

async function deviceKey(desired: object): Promise<Site> {
  const surroundings = await behindProxy(desired);
  const { hub } = surroundings;
  countRegistry(surroundings);
  hub.removeModule(DEVICE, MODULE);
  let key = newKey();
  const write = () => surroundings.secret('device.key', `${key}\n`);
  const register = () =>
    hub.addDevice({ deviceId: DEVICE, credential: { type: 'sas', primaryKey: key, secondaryKey: key } });
  register();
  write();
  return finish({
    surroundings,
    hub: hubByProxy(surroundings),
    identity: { kind: 'deviceKey', ...module, keyFile: 'device.key' },
    touch: write,
    faults: [...registryFaults(surroundings), registryAway(surroundings), ...faultsOfProxy(surroundings)],
    operations: {
      away: registryAway(surroundings),
      renew() {
        key = newKey();
        register();
        write();
      },
      spoil: {
        name: 'device key regenerated',
        lasts: [2, 40],
        begin() {
          key = newKey();
          register();
          regenerateModule(hub);
        },
        end: write,
        writes: true,
      },
      lose: removed(() => hub),
    },
  });
}

/** A certificate of the device or the module, as the files that the agent reads. */
class CertificateFiles {
  readonly #surroundings: Surroundings;
  readonly #commonName: string;
  readonly #register: (thumbprint: string) => void;
  #current: IssuedCertificate | undefined;

  constructor(surroundings: Surroundings, commonName: string, register: (thumbprint: string) => void) {
    this.#surroundings = surroundings;
    this.#commonName = commonName;
    this.#register = register;
  }

  readonly identity = { certificateFile: 'client.pem', keyFile: 'client.key' };

  /** Applies the change in the cloud only. */
  async issue(): Promise<void> {
    this.#current = await selfSigned({ commonName: this.#commonName });
    this.#register(this.#current.thumbprint);
  }

  readonly write = (): void => {
    if (this.#current === undefined) return;
    this.#surroundings.secret('client.key', this.#current.keyPem);
    this.#surroundings.secret('client.pem', this.#current.chainPem);
  };

  async renew(): Promise<void> {
    await this.issue();
    this.write();
  }

  get registered(): string {
    return this.#current?.thumbprint ?? '';
  }
}

async function moduleCertificate(desired: object): Promise<Site> {
  const surroundings = await behindProxy(desired);
  const { hub } = surroundings;
  const register = (primaryThumbprint: string) =>
    void hub.addModule({ ...module, credential: { type: 'selfSigned', primaryThumbprint } });
  const files = new CertificateFiles(surroundings, `${DEVICE}/${MODULE}`, register);
  await files.renew();
  return finish({
    surroundings,
    hub: hubByProxy(surroundings),
    identity: { kind: 'moduleCertificate', ...module, ...files.identity },
    touch: files.write,
    faults: [...faultsOfProxy(surroundings)],
    operations: {
      away: away('hub away', surroundings.hubs),
      renew: () => files.renew(),
      spoil: {
        name: 'certificate replaced at the hub',
        lasts: [2, 40],
        async begin() {
          await files.issue();
          surroundings.disconnect();
        },
        end: files.write,
      },
      lose: recreated(
        () => hub,
        () => {
          register(files.registered);
          files.write();
        },
      ),
    },
  });
}

async function deviceCertificate(desired: object): Promise<Site> {
  const surroundings = await behindProxy(desired);
  const { hub } = surroundings;
  countRegistry(surroundings);
  hub.removeModule(DEVICE, MODULE);
  const register = (primaryThumbprint: string) =>
    void hub.addDevice({ deviceId: DEVICE, credential: { type: 'selfSigned', primaryThumbprint } });
  const files = new CertificateFiles(surroundings, DEVICE, register);
  await files.renew();
  return finish({
    surroundings,
    hub: hubByProxy(surroundings),
    identity: { kind: 'deviceCertificate', ...module, ...files.identity },
    touch: files.write,
    faults: [...registryFaults(surroundings), registryAway(surroundings), ...faultsOfProxy(surroundings)],
    operations: {
      away: registryAway(surroundings),
      renew: () => files.renew(),
      spoil: {
        name: 'certificate replaced at the hub',
        lasts: [2, 40],
        async begin() {
          await files.issue();
          regenerateModule(hub);
        },
        end: files.write,
      },
      lose: removed(() => hub),
    },
  });
}

type Attested = 'key' | 'groupKey' | 'certificate';

const provisioned =
  (attested: Attested) =>
  async (desired: object): Promise<Site> => {
    const surroundings = await Surroundings.open(desired);
    const { hub } = surroundings;
    hub.removeDevice(DEVICE);
    const other = await surroundings.addHub(OTHER_HUB);
    const password = newKey();
    const proxy = await surroundings.addProxy({ name: 'vakt', password });
    surroundings.secret(PASSWORD_FILE, `${password}\n`);
    const service = await ProvisioningEmulator.start({
      hubs: [hub, other],
      idScope: ID_SCOPE,
      certificateAuthority: hub.certificateAuthority,
    });
    surroundings.stopLater(service);
    proxy.route(PROVISIONING, service.port);
    countRegistry(surroundings);
    surroundings.countRequests(PROVISIONING, (add) => {
      service.onRequest(({ at, operation }) => {
        if (operation === 'register') add(at);
      });
    });
    let at: HubEmulator = hub;
    let key = newKey();
    const files = new CertificateFiles(surroundings, DEVICE, (thumbprint) =>
      service.enroll({ registrationId: DEVICE, thumbprint, hub: at }),
    );
    const enroll = () => {
      if (attested === 'key') service.enroll({ registrationId: DEVICE, primaryKey: key, hub: at });
      else if (attested === 'groupKey') service.enrollGroup({ name: 'fleet', primaryKey: key, hub: at });
    };
    const write = () =>
      attested === 'certificate' ? files.write() : surroundings.secret('registration.key', `${key}\n`);
    const makeAnew = async () => {
      if (attested === 'certificate') return files.issue();
      key = newKey();
      enroll();
    };
    await makeAnew();
    write();
    /** The device has no hub until the service is called. */
    const unassign = () => {
      for (const one of surroundings.hubs) one.removeDevice(DEVICE);
    };
    const move = () => {
      at = at === hub ? other : hub;
      service.reassign(DEVICE, at);
    };
    const { hostName: _assigned, ...hubSettings } = hubByProxy(surroundings);
    const ways = {
      key: { keyFile: 'registration.key' },
      groupKey: { groupKeyFile: 'registration.key' },
      certificate: files.identity,
    };
    return finish({
      surroundings,
      hub: hubSettings,
      identity: { kind: 'provisioning', idScope: ID_SCOPE, registrationId: DEVICE, ...ways[attested] },
      touch: write,
      registrations: () => service.requests.filter(({ operation }) => operation === 'register'),
      faults: [...serviceFaults('DPS', service, move), ...faultsOfProxy(surroundings)],
      operations: {
        away: away('DPS away', [service], unassign),
        absent: away('DPS away', [service]),
        async renew() {
          await makeAnew();
          write();
        },
        spoil: {
          name: 'enrolment has another credential',
          lasts: [2, 40],
          async begin() {
            await makeAnew();
            unassign();
          },
          end: write,
          writes: true,
        },
        lose: removed(() => at),
        move,
      },
    });
  };

async function edge(desired: object): Promise<Site> {
  const surroundings = await Surroundings.open(desired);
  const { hub, bed } = surroundings;
  surroundings.name(hub.port, 'the hub');
  const socketPath = join(bed.directory, 'workload.sock');
  const service = await EdgeEmulator.start({ hub, deviceId: DEVICE, address: { socketPath } });
  surroundings.stopLater(service);
  const regenerate = () => void hub.regenerateKeys(module);
  return finish({
    surroundings,
    hub: { transport: 'mqtt' },
    identity: { kind: 'edge' },
    launch: { environment: service.environmentOf(MODULE) },
    faults: [
      momentary('module keys regenerated', regenerate),
      ...serviceFaults('workload API', service, () => surroundings.disconnect()),
    ],
    operations: {
      away: away('workload API away', [service], () => surroundings.disconnect()),
      renew: regenerate,
      remake: {
        ...recreated(
          () => hub,
          () => hub.addModule(module),
        ),
        launch: () => ({ environment: service.environmentOf(MODULE) }),
      },
    },
  });
}

async function identityService(desired: object): Promise<Site> {
  const surroundings = await Surroundings.open(desired);
  const { hub, bed } = surroundings;
  const other = await surroundings.addHub(OTHER_HUB);
  surroundings.name(hub.port, hub.hostName);
  surroundings.name(other.port, other.hostName);
  const directory = join(bed.directory, 'aziot');
  mkdirSync(directory, { mode: 0o700 });
  const service = await IdentityServiceEmulator.start({ directory, hub, ...module });
  surroundings.stopLater(service);
  let at: HubEmulator = hub;
  const daemonRestarted = (daemon: 'identityd' | 'keyd'): SiteFault => ({
    name: `${daemon} restarted`,
    async begin() {
      await service.offline(daemon);
      surroundings.disconnect();
    },
    end: () => service.online(daemon),
  });
  return finish({
    surroundings,
    hub: { trustedCaFile: 'ca.pem', transport: 'mqtt' },
    identity: { kind: 'identityService', socketDirectory: directory },
    faults: [
      daemonRestarted('identityd'),
      daemonRestarted('keyd'),
      ...serviceFaults('identity service', service, () => surroundings.disconnect()),
    ],
    operations: {
      away: away('identity service away', [service], () => surroundings.disconnect()),
      renew: () => service.renewKey(),
      lose: recreated(
        () => at,
        () => at.addModule(module),
      ),
      async move() {
        at.removeModule(DEVICE, MODULE);
        at = at === hub ? other : hub;
        await service.moveTo(at);
      },
    },
  });
}

/** Every way in which an agent connects to a hub here. Most are named after their kind of identity. */
export const SITES = {
  moduleKey,
  moduleKeyWebSocket,
  connectionString,
  moduleCertificate,
  deviceKey,
  deviceCertificate,
  provisioning: provisioned('key'),
  provisioningGroup: provisioned('groupKey'),
  provisioningCertificate: provisioned('certificate'),
  edge,
  identityService,
} satisfies Record<string, (desired: object) => Promise<Site>>;

export type SiteName = keyof typeof SITES;
export const SITE_NAMES = Object.keys(SITES) as SiteName[];
