import { randomBytes } from 'node:crypto';
import type { Server as HttpServer } from 'node:http';
import type { Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { type Clock, systemClock } from '../../core/base/clock.ts';
import { CertificateAuthority } from '../certificates.ts';
import { readAuthority } from '../client-certificates.ts';
import { checkIdentity } from '../identity.ts';
import { tlsOptions } from '../listener.ts';
import { randomKeys } from '../registry.ts';
import { Endpoint } from '../service/endpoint.ts';
import { createHttpService } from '../service/http.ts';
import { EmulatedService } from '../service/service.ts';
import { acceptWebSockets } from '../web-socket.ts';
import {
  type Attestation,
  checkKey,
  type EnrollmentGroup,
  type HubRegistry,
  type IndividualEnrollment,
  isRegistrationId,
} from './enrollments.ts';
import { httpErrorBody, provisioningRoutes } from './https.ts';
import { ProvisioningMqtt } from './mqtt.ts';
import { type Failure, type RegistrationSettings, Registrations } from './registrations.ts';

/** The name that devices use for every instance of the service. */
const HOST_NAME = 'global.azure-devices-provisioning.net';

export interface ProvisioningOptions {
  /** Hubs that devices are assigned to; the first is the default of enrolments. */
  readonly hubs: readonly [HubRegistry, ...HubRegistry[]];
  /** Default `0ne00000001`. */
  readonly idScope?: string;
  /** Port on the loopback interface, for HTTPS, MQTT and WebSocket alike. 0, the default, selects a free one. */
  readonly port?: number;
  readonly individuals?: readonly IndividualEnrollment[];
  readonly groups?: readonly EnrollmentGroup[];
  /** See RegistrationSettings. Default 2. */
  readonly polls?: number;
  /** See RegistrationSettings. Default 1. */
  readonly retryAfterSeconds?: number | undefined;
  /** Issues the service's certificate; that of a hub, so that clients must trust only one. Default: a new one. */
  readonly certificateAuthority?: CertificateAuthority;
  readonly clock?: Clock;
}

/** When a reassigned device moves: immediately or, as with the service, at its next registration. */
export type MoveAt = 'now' | 'nextRegistration';

/**
 * A local Device Provisioning Service: HTTPS, MQTT and MQTT over WebSocket on one port. See README.md.
 *
 * The first byte of a connection selects its protocol, so that one `host:port` serves all.
 */
export class ProvisioningEmulator extends EmulatedService {
  readonly idScope: string;
  /** The certificate authority that clients must trust. */
  readonly caPem: string;
  /** Can be changed while the service runs. */
  readonly settings: RegistrationSettings;
  readonly #registrations: Registrations;
  readonly #hubs: readonly [HubRegistry, ...HubRegistry[]];
  #endpoint: Endpoint | undefined;
  #mqtt: ProvisioningMqtt | undefined;

  private constructor(options: ProvisioningOptions, caPem: string) {
    super(options.clock ?? systemClock);
    this.idScope = options.idScope ?? '0ne00000001';
    this.caPem = caPem;
    this.settings = {
      polls: options.polls ?? 2,
      retryAfterSeconds: 'retryAfterSeconds' in options ? options.retryAfterSeconds : 1,
    };
    this.#hubs = options.hubs;
    this.#registrations = new Registrations(this.idScope, this.settings, this.clock);
    for (const individual of options.individuals ?? []) this.enroll(individual);
    for (const group of options.groups ?? []) this.enrollGroup(group);
  }

  static async start(options: ProvisioningOptions): Promise<ProvisioningEmulator> {
    const authority = options.certificateAuthority ?? (await CertificateAuthority.create());
    const certificate = await authority.issueServer([HOST_NAME, 'localhost']);
    const service = new ProvisioningEmulator(options, certificate.caPem);
    const parts = {
      registrations: service.#registrations,
      faults: service.faults,
      requests: service.log,
      clock: service.clock,
    };
    service.#mqtt = await ProvisioningMqtt.open(parts);
    const http = createHttpService({
      ...parts,
      transport: 'https',
      routes: provisioningRoutes(service.#registrations),
      errorBody: httpErrorBody(() => service.clock.now()),
    });
    acceptWebSockets(http, (stream, tls) => service.#mqtt?.accept(stream, tls, 'mqttWebSocket'));
    const server = createServer(tlsOptions(certificate));
    server.on('tlsClientError', () => {}); // a client that does not trust the certificate reports that itself
    server.on('secureConnection', (stream) => service.#accept(stream, http));
    service.#endpoint = await Endpoint.open(server, { port: options.port ?? 0 });
    return service;
  }

  get port(): number {
    return this.#endpoint?.port ?? 0;
  }

  /** For the agent's `identity.endpoint`. */
  get endpoint(): string {
    return `localhost:${this.port}`;
  }

  /** Adds or replaces an individual enrolment. @throws RangeError for an invalid id, key or thumbprint */
  enroll(options: IndividualEnrollment): void {
    const { registrationId: id, deviceId = id } = options;
    if (!isRegistrationId(id)) throw new RangeError(`"${id}" is not a valid registration id`);
    const { thumbprint: primaryThumbprint, secondaryThumbprint } = options;
    const secondary = secondaryThumbprint === undefined ? {} : { secondaryThumbprint };
    const attestation: Attestation =
      primaryThumbprint === undefined
        ? { type: 'keys', ...keysOf(options) }
        : { type: 'thumbprint', credential: { type: 'selfSigned', primaryThumbprint, ...secondary } };
    checkIdentity({ deviceId }, attestation.type === 'thumbprint' ? attestation.credential : randomKeys());
    this.#registrations.addIndividual({ id, deviceId, attestation, ...this.#commonOf(options) });
  }

  /** Adds or replaces an enrolment group. @throws RangeError for an invalid key or certificate */
  enrollGroup(options: EnrollmentGroup): void {
    const { name: id, caPem } = options;
    const attestation: Attestation =
      caPem === undefined
        ? { type: 'groupKeys', ...keysOf(options) }
        : { type: 'certificateAuthority', authority: readAuthority(caPem) };
    this.#registrations.addGroup({ id, attestation, ...this.#commonOf(options) });
  }

  /** Removes an individual enrolment or a group. Devices stay in their hubs. @returns whether it existed */
  removeEnrollment(id: string): boolean {
    return this.#registrations.remove(id);
  }

  /** Enables or disables an individual enrolment or a group. @throws RangeError if it does not exist */
  setStatus(id: string, status: 'enabled' | 'disabled'): void {
    this.#registrations.setStatus(id, status);
  }

  /** Makes registrations of this device end with the status `failed`, or, without a failure, succeed again. */
  setFailure(registrationId: string, failure?: Failure): void {
    this.#registrations.setFailure(registrationId, failure);
  }

  /** The hub that a device was assigned to. */
  hubOf(registrationId: string): HubRegistry | undefined {
    return this.#registrations.hubOf(registrationId);
  }

  /**
   * Assigns a device to another hub. With `now`, it is removed from its hub, whose connections to it are closed, so that
   * it must register again; then it is added to the other hub. Its modules are not moved.
   */
  reassign(registrationId: string, hub: HubRegistry, at: MoveAt = 'now'): void {
    const from = this.#registrations.hubOf(registrationId);
    const deviceId = this.#registrations.assignTo(registrationId, hub);
    if (at === 'now' && deviceId !== undefined && from !== hub) from?.removeDevice(deviceId);
  }

  get isOnline(): boolean {
    return this.#endpoint?.isOpen ?? false;
  }

  override async stop(): Promise<void> {
    await super.stop();
    await this.#mqtt?.close();
  }

  protected get endpoints(): readonly Endpoint[] {
    return this.#endpoint === undefined ? [] : [this.#endpoint];
  }

  #commonOf({ hub, status, reprovisioning }: IndividualEnrollment | EnrollmentGroup) {
    return {
      hub: hub ?? this.#hubs[0],
      status: status ?? 'enabled',
      reprovisioning: reprovisioning ?? 'migrate',
    } as const;
  }

  /** A CONNECT packet starts with 0x10 (MQTT 3.1.1, 3.1.1), an HTTP request with a letter. */
  #accept(stream: TLSSocket, http: HttpServer): void {
    stream.on('error', () => {}); // the client has disconnected
    stream.once('readable', () => {
      const first: Buffer | null = stream.read(1);
      if (first === null) return; // the client has closed the connection
      stream.unshift(first);
      // A stream registers the removal of this listener in the next tick; only then does it notify another one of data.
      process.nextTick(() => {
        if (first[0] === 0x10) this.#mqtt?.accept(stream, stream, 'mqtt');
        else http.emit('connection', stream as Socket);
      });
    });
  }
}

function keysOf({ primaryKey, secondaryKey }: { readonly primaryKey?: string; readonly secondaryKey?: string }) {
  const random = () => randomBytes(64).toString('base64'); // as the service makes them
  const keys = { primaryKey: primaryKey ?? random(), secondaryKey: secondaryKey ?? random() };
  checkKey(keys.primaryKey);
  checkKey(keys.secondaryKey);
  return keys;
}
