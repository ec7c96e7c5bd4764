import { join } from 'node:path';
import { writeFileAtomic } from '../../../src/core/base/atomic-file.ts';
import type { ConnectionRecord } from '../../../src/emulator/connection-log.ts';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import { ProxyEmulator, type ProxyRequest } from '../../../src/emulator/proxy.ts';
import { DEVICE, type Launch, MODULE, OBJECT, TestBed } from '../../integration/test-bed.ts';
import type { Attempt } from '../scenario/launch.ts';
import { away, type Fault, injected, once } from '../scenario/runner.ts';
import { Attempts } from './attempts.ts';

/** A fault of something that the agent depends on. */
export interface SiteFault extends Fault {
  /** Seconds that it may last. Default: half a second to 8 s. */
  readonly lasts?: readonly [least: number, most: number];
  /** Its end writes a file: the agent notices that within seconds and retries with the new content. */
  readonly writes?: true;
}

/** Actions of an operator in the cloud and on the device, and their faults, for one kind of identity. */
export interface Operations {
  /** Renews the credential, in the cloud and on the device; `undefined` if the agent does that itself. */
  renew?(): Promise<void> | void;
  /** Makes the credential wrong, and makes the agent need it. */
  spoil?: SiteFault;
  /** Removes the module; `end` restores it if the agent doesn't. */
  lose?: SiteFault;
  /** Makes the service that provides the credential, or otherwise the hub, unreachable, and makes the agent need it. */
  away: SiteFault;
  /** Makes the service unreachable without any other change. Absent if `away` does the same. */
  absent?: SiteFault;
  /** Moves the device to the other hub. */
  move?(): Promise<void> | void;
  /**
   * Removes the module, and creates it again in a way that a running agent can't follow, so that it must be restarted.
   * Absent if a running agent can follow.
   */
  remake?: SiteFault & { launch(): Launch };
}

/** The part of an agent's configuration that depends on its site. */
export interface Settings {
  readonly hub?: object;
  readonly identity: object;
  readonly hostRoot?: string;
}

/** An agent's surroundings: hubs, services, and files on the device. */
export interface Site extends Surroundings {
  /** The faults that can occur at this site. */
  readonly faults: readonly SiteFault[];
  readonly operations: Operations;
  readonly configuration: Settings;
  /** Registrations at the provisioning service, oldest first. */
  readonly registrations: () => readonly { readonly at: Date; readonly status?: number }[];
  /** How the agent is started. */
  readonly launch: Launch;
}

/** Parts that all sites share. */
export class Surroundings {
  readonly bed: TestBed;
  /** Attempts at each hub and service so far. */
  readonly attempts = new Attempts();
  /** The hubs that the device may be at. */
  readonly hubs: HubEmulator[];
  readonly #desired: object;
  #proxy: ProxyEmulator | undefined;
  readonly #toStop: { stop(): Promise<void> }[] = [];
  readonly #named = new Map<number, string>();
  readonly #countedBehindProxy = new Set<string>();
  readonly #modes = new Map<string, number>();

  private constructor(bed: TestBed, desired: object) {
    this.bed = bed;
    this.#desired = desired;
    this.hubs = [bed.hub];
    this.#watch(bed.hub);
  }

  static async open(desired: object): Promise<Surroundings> {
    return new Surroundings(await TestBed.open({ desired }), desired);
  }

  get hub(): HubEmulator {
    return this.bed.hub;
  }

  get proxy(): ProxyEmulator {
    if (this.#proxy === undefined) throw new Error('this site has no proxy');
    return this.#proxy;
  }

  get hasProxy(): boolean {
    return this.#proxy !== undefined;
  }

  /** A hub with a certificate from the same authority. */
  async addHub(hostName: string): Promise<HubEmulator> {
    const hub = await HubEmulator.start({ hostName, certificateAuthority: this.hub.certificateAuthority });
    this.hubs.push(hub);
    this.bed.otherHubs.push(hub);
    this.#toStop.push(hub);
    this.#watch(hub);
    return hub;
  }

  async addProxy(user?: { name: string; password: string }): Promise<ProxyEmulator> {
    const proxy = await ProxyEmulator.start(user === undefined ? {} : { user });
    for (const hub of this.hubs) proxy.routeTo(hub);
    proxy.on('request', ({ at, target, status }: ProxyRequest) => {
      if (status !== 200 || !this.#countedBehindProxy.has(target)) this.attempts.add(target, at.getTime());
    });
    this.#proxy = proxy;
    this.#toStop.push(proxy);
    this.name(proxy.port, 'the proxy');
    return proxy;
  }

  /** A service whose requests are counted, because one attempt makes several: tunnels to it count only when they fail. */
  countRequests(target: string, countAll: (add: (at: Date) => void) => void): void {
    this.#countedBehindProxy.add(target);
    this.#named.delete(this.proxy.port); // the limit is each service's, and all are reached through the proxy
    countAll((at) => this.attempts.add(target, at.getTime()));
  }

  /** Counts attempts at this port of the loopback interface under a name. */
  name(port: number, name: string): void {
    this.#named.set(port, name);
  }

  stopLater(service: { stop(): Promise<void> }): void {
    this.#toStop.push(service);
  }

  /** Called for each connection that the agent attempts. */
  heard(attempt: Attempt): void {
    const name = this.#named.get(attempt.port);
    // "localhost" has two addresses, and nothing listens on the other one: that is the same attempt.
    if (name !== undefined && attempt.address !== '::1') this.attempts.add(name, attempt.at);
  }

  /** Replaces a secret file, as a careful operator does. Its mode changes each time, so that the agent sees a change. */
  secret(name: string, contents: string): void {
    const mode = this.#modes.get(name) === 0o600 ? 0o400 : 0o600;
    this.#modes.set(name, mode);
    writeFileAtomic(join(this.bed.directory, name), contents, mode);
  }

  /** Closes the agent's connection, so that it must reconnect. */
  disconnect(): void {
    for (const hub of this.hubs) hub.disconnect(DEVICE, MODULE);
  }

  /** @param keep leave the files of agent and site */
  async stop(keep: boolean): Promise<void> {
    // The test bed reads the module's twin, and the device may have moved.
    if (!this.hub.hasModule(DEVICE, MODULE)) this.hub.addModule({ deviceId: DEVICE, moduleId: MODULE });
    try {
      await this.bed.close({ keep });
    } finally {
      for (const service of this.#toStop.reverse()) await service.stop();
    }
  }

  /** A module that was created again has an empty twin. */
  #watch(hub: HubEmulator): void {
    hub.on('connection', ({ admitted }: ConnectionRecord) => {
      if (!admitted || hub.getModule(DEVICE, MODULE) === undefined) return;
      if (OBJECT in hub.twin(DEVICE, MODULE).desired) return;
      hub.patchDesired(DEVICE, MODULE, { [OBJECT]: this.#desired });
    });
  }
}

/** Faults of the hubs. */
export function hubFaults(surroundings: Surroundings, { touch }: { touch: (() => void) | undefined }): SiteFault[] {
  const { hubs } = surroundings;
  const disconnect = () => surroundings.disconnect();
  const fault = (name: string, ...faults: Parameters<typeof injected>[2]): SiteFault =>
    injected(name, hubs, faults, disconnect);
  const refuses = fault('hub refuses', { kind: 'refuseConnections' });
  return [
    away('hub restarted', hubs),
    momentary('connection closed', disconnect),
    { ...fault('hub silent', { kind: 'mqttSilence' }, { kind: 'webSocketSilence' }), lasts: [2, 20] },
    fault('hub busy', { kind: 'serverUnavailable' }),
    fault('hub resets connections', { kind: 'resetOnConnect' }),
    { ...fault('hub resets at messages', { kind: 'resetOnPublish', count: 2 }), lasts: [2, 6] },
    fault('hub slow', { kind: 'delayAcknowledgements', ms: 1_500 }),
    fault('twin is garbage', { kind: 'twinGarbage' }),
    fault('twin throttled', { kind: 'twinStatus', status: 429 }),
    touch === undefined
      ? fault('hub refuses twice', { kind: 'refuseConnections', count: 2 })
      : {
          ...refuses,
          lasts: [2, 40],
          end() {
            refuses.end();
            touch();
          },
        },
  ];
}

/** A change that needs no end, at once. */
export const momentary = (name: string, begin: Fault['begin']): SiteFault => ({ ...once(name, begin), lasts: [0, 0] });

/** Faults of the proxy. */
export function proxyFaults({ proxy }: Surroundings, touch: () => void): SiteFault[] {
  const behaves = (behaviour: 'refuse' | 'unavailable' | 'silent' | 'close' | 'garbage'): SiteFault => ({
    name: `proxy: ${behaviour}`,
    begin() {
      proxy.behave(behaviour);
      proxy.closeTunnels();
    },
    end() {
      proxy.behave('connect');
      touch(); // after three refusals the agent waits for ten minutes, or for a change of a file
    },
  });
  return [
    away('proxy restarted', [proxy]),
    momentary('tunnels closed', () => proxy.closeTunnels()),
    behaves('refuse'),
    behaves('unavailable'),
    behaves('silent'),
    behaves('close'),
    behaves('garbage'),
  ];
}

interface FaultyService {
  readonly faults: {
    inject(fault: {
      kind: 'silence' | 'status' | 'garbage' | 'slow' | 'reset';
      status?: number;
      ms?: number;
      retryAfterSeconds?: number;
    }): void;
    clear(): void;
  };
  offline(): Promise<void>;
  online(): Promise<void>;
}

/** Faults of a service other than the hub. @param need makes the agent call the service */
export function serviceFaults(name: string, service: FaultyService, need: () => Promise<void> | void): SiteFault[] {
  const { faults } = service;
  type Fault = Parameters<typeof faults.inject>[0];
  const fault = (problem: string, fault: Fault): SiteFault => ({
    name: `${name} ${problem}`,
    async begin() {
      faults.inject(fault);
      await need();
    },
    end: () => faults.clear(),
  });
  return [
    away(`${name} restarted`, [service], need),
    fault('silent', { kind: 'silence' }),
    fault('busy', { kind: 'status', status: 503, retryAfterSeconds: 3 }),
    fault('throttles', { kind: 'status', status: 429, retryAfterSeconds: 5 }),
    fault('answers garbage', { kind: 'garbage' }),
    fault('slow', { kind: 'slow', ms: 2_000 }),
    fault('resets', { kind: 'reset' }),
  ];
}
